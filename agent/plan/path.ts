/**
 * Paths: (we, a remote gateway, an underlay) wherever both ends list an endpoint of one family, IPv4 if both do. Both
 * ends come to the same paths from the same documents, so each lists the other as a peer. While keys rotate there is one for
 * each lane: a generation of ours with one of theirs (lane.ts).
 */
import { deviceIndex, laneOf } from '../model/device.ts'
import type { Numbered } from '../model/device.ts'
import type { Endpoint, Name } from '../model/fabric.ts'
import { generationsOf } from '../model/gateway.ts'
import type { Gateway } from '../model/gateway.ts'
import type { PublicKey } from '../model/key.ts'
import { familyOf } from '../model/prefix.ts'
import type { PathState } from '../model/path-state.ts'
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
  /** Bytes of the largest packet inside the tunnel, by documents. */
  readonly mtu: number
}

export interface Paths {
  /** The preferred underlay first, and within one the newest lane. */
  readonly paths: readonly Path[]
  /** Why there is none over each other underlay that one of us has an endpoint on. */
  readonly missing: readonly { readonly underlay: Name; readonly reason: string }[]
}

/** What the path carries: what documents say, or less where less was found (probe/mtu.ts). */
export function mtuOf({ mtu, underlay, device }: Path, gateway: Name, state: PathState): number {
  return Math.min(mtu, state.mtuOf(gateway, underlay, laneOf(device)) ?? mtu)
}

/** Shares of site, gateway and host ask for the same paths, and the next plan for those of all other gateways. */
const known = new WeakMap<Local['ground'], WeakMap<Gateway, Paths>>()

/** All paths to a gateway, whatever their state. */
export function pathsTo(local: Local, gateway: Gateway): Paths {
  let ofGround = known.get(local.ground)
  if (ofGround === undefined) known.set(local.ground, (ofGround = new WeakMap()))
  let paths = ofGround.get(gateway)
  if (paths === undefined) ofGround.set(gateway, (paths = findPaths(local, gateway)))
  return paths
}

function findPaths(local: Local, gateway: Gateway): Paths {
  const paths: Path[] = []
  const missing: { underlay: Name; reason: string }[] = []
  const ours = generationsOf(local.self)
  const theirs = generationsOf(gateway)
  for (const side of local.sides) {
    // Their generation goes first: nobody may go back to keys that the far end is about to retire.
    const lanes = theirs.flatMap((their) => ours.map((own) => pathOver(local, side, gateway, own, their)))
    const found = lanes.filter((lane) => typeof lane !== 'string')
    const [reason] = lanes
    if (found.length === 0 && typeof reason === 'string') missing.push({ underlay: side.name, reason })
    paths.push(...found)
  }
  for (const { underlay } of gateway.endpoints) {
    const listed = missing.some((one) => one.underlay === underlay)
    if (listed || local.sides.some(({ name }) => name === underlay)) continue
    missing.push({ underlay, reason: 'we have no endpoint there' })
  }
  return { paths, missing }
}

function pathOver(local: Local, side: Side, gateway: Gateway, own: Numbered, their: Numbered): Path | string {
  const endpoints = gateway.endpoints.filter(({ underlay }) => underlay === side.name)
  if (endpoints.length === 0) return 'it has no endpoint there'
  const family = commonFamily(side, endpoints)
  if (typeof family === 'string') return family
  const endpoint = endpoints.find(({ address }) => address !== undefined && familyOf(address) === family)
  const device = deviceIndex(own, side.u, their)
  const theirs = deviceIndex(their, side.u, own)
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
