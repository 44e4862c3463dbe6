/**
 * Paths: (we, a remote gateway, an underlay) wherever both ends list an endpoint of one family, IPv4 if both do. Both
 * ends come to the same paths from the same documents, so each lists the other as a peer.
 */
import { deviceIndex } from '../model/device.ts'
import type { Endpoint, Name } from '../model/fabric.ts'
import type { Gateway } from '../model/gateway.ts'
import type { PublicKey } from '../model/key.ts'
import { standings } from '../model/path-state.ts'
import type { PathState, Standing } from '../model/path-state.ts'
import { familyOf } from '../model/prefix.ts'
import type { Address, Family } from '../model/prefix.ts'
import type { Local } from './local.ts'
import type { Side } from './underlay.ts'

/** Bytes WireGuard adds: outer header, UDP, and 32 of its own. */
const overhead = { 4: 60, 6: 80 } as const

export interface Path {
  readonly u: number
  readonly underlay: Name
  /** Place in the fabric's order; underlays that it does not name share the last. */
  readonly order: number
  readonly family: Family
  /** Our device that holds the peer: 0-63. */
  readonly device: number
  /** The peer's key on its device for us. */
  readonly publicKey: PublicKey
  /** Where we call it; absent: behind NAT, it calls us. */
  readonly endpoint?: { readonly address: Address; readonly port: number }
  /** Bytes of the largest packet inside the tunnel. */
  readonly mtu: number
}

export interface Paths {
  /** The preferred first. */
  readonly paths: readonly Path[]
  /** Why there is none over each other underlay that one of us has an endpoint on. */
  readonly missing: readonly { readonly underlay: Name; readonly reason: string }[]
}

/** Shares of site, gateway and host ask for the same paths. */
const known = new WeakMap<Local['ground'], Map<Gateway, Paths>>()

/** All paths to a gateway, whatever their state. */
export function pathsTo(local: Local, gateway: Gateway): Paths {
  const ofLocal = known.get(local.ground) ?? new Map<Gateway, Paths>()
  known.set(local.ground, ofLocal)
  const paths = ofLocal.get(gateway) ?? findPaths(local, gateway)
  ofLocal.set(gateway, paths)
  return paths
}

function findPaths(local: Local, gateway: Gateway): Paths {
  const paths: Path[] = []
  const missing: { underlay: Name; reason: string }[] = []
  for (const side of local.sides) {
    const found = pathOver(local, side, gateway)
    if (typeof found === 'string') missing.push({ underlay: side.name, reason: found })
    else paths.push(found)
  }
  for (const { underlay } of gateway.endpoints) {
    const listed = missing.some((one) => one.underlay === underlay)
    if (listed || local.sides.some(({ name }) => name === underlay)) continue
    missing.push({ underlay, reason: 'we have no endpoint there' })
  }
  return { paths, missing }
}

/** A path that a gateway is used by. */
export interface Way {
  readonly path: Path
  readonly standing: Standing
}

/**
 * The best path that is not down: by standing, then in the fabric's order, then by rank. A gateway whose record says that it
 * drains does so on all of them.
 */
export function choose(paths: readonly Path[], gateway: Gateway, state: PathState): Way | undefined {
  let best: (Way & { readonly rank: number }) | undefined
  for (const path of paths) {
    const standing = state.standingOf(gateway.name, path.underlay)
    if (standing === 'down') continue
    const rank = state.rankOf(gateway.name, path.underlay)
    const order = best === undefined ? -1 : compare(standing, best.standing)
    const isSame = best !== undefined && order === 0 && path.order === best.path.order
    if (order < 0 || (isSame && rank < (best?.rank ?? 0))) best = { path, standing, rank }
  }
  if (best === undefined) return undefined
  const { path, standing } = best
  const drains = gateway.state === 'draining' && compare(standing, 'draining') < 0
  return { path, standing: drains ? 'draining' : standing }
}

/** Below 0: the first is better. */
export function compare(one: Standing, other: Standing): number {
  return standings.indexOf(one) - standings.indexOf(other)
}

function pathOver(local: Local, side: Side, gateway: Gateway): Path | string {
  const endpoints = gateway.endpoints.filter(({ underlay }) => underlay === side.name)
  if (endpoints.length === 0) return 'it has no endpoint there'
  const family = commonFamily(side, endpoints)
  if (typeof family === 'string') return family
  const endpoint = endpoints.find(({ address }) => address !== undefined && familyOf(address) === family)
  const device = deviceIndex(local.self, side.u, gateway)
  const theirs = deviceIndex(gateway, side.u, local.self)
  const publicKey = gateway.tunnelKeys[String(theirs)]
  if (publicKey === undefined) return `its record has no tunnel key for its device ${theirs}`
  if (local.self.tunnelKeys[String(device)] === undefined)
    return `our record has no tunnel key for device ${device}`
  const limits = endpoints.flatMap(({ mtu }) => mtu ?? [])
  const mtu = Math.min(side.mtu, ...limits) - overhead[family]
  const path: Path = { u: side.u, underlay: side.name, order: side.order, family, device, publicKey, mtu }
  if (endpoint?.address === undefined) return path
  return { ...path, endpoint: { address: endpoint.address, port: endpoint.port + theirs } }
}

/** Both list an address of it; else, behind NAT, whatever the other end can be called in. */
function commonFamily(side: Side, endpoints: readonly Endpoint[]): Family | string {
  const theirs = endpoints.flatMap(({ address }) => (address === undefined ? [] : [familyOf(address)]))
  const natted = endpoints.some(({ address }) => address === undefined)
  const both = side.families.find((family) => theirs.includes(family))
  if (both !== undefined) return both
  for (const family of [4, 6] as const) {
    if (natted && side.families.includes(family)) return family
    if (side.natted && theirs.includes(family)) return family
  }
  if (side.natted && natted) return 'both ends are behind NAT: one must list an address'
  return `no common family: we have ${names(side.families)}, it has ${names(theirs)}`
}

function names(families: readonly Family[]): string {
  return families.length === 0 ? 'no address' : families.map((family) => `IPv${family}`).join(' and ')
}
