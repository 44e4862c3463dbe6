/**
 * WireGuard: one device per underlay and remote slot (DESIGN "Planes"), one peer per remote gateway and underlay.
 *
 * A device exists only while it holds a peer, so devices follow from all gateways and belong to the host's share; peers
 * and AllowedIPs belong to the share of their gateway. AllowedIPs are what the far end may send from and what cryptokey
 * routing sends to it: its own addresses and the prefixes that are routed to it, nothing else.
 */
import { deviceName, underlayOf } from '../model/device.ts'
import type { Name } from '../model/fabric.ts'
import { linkLocalAddress } from '../model/gateway.ts'
import type { Gateway } from '../model/gateway.ts'
import { linkGroup, underlayMark } from '../model/kernel-number.ts'
import type { AllowedIP, KernelObject, Peer } from '../model/kernel-object.ts'
import { familyOf, prefixOf } from '../model/prefix.ts'
import type { Address, Prefix } from '../model/prefix.ts'
import { idlePaths } from './lane.ts'
import { isSiteMate, overlayAddresses } from './local.ts'
import type { Local } from './local.ts'
import { mayReach } from './mesh.ts'
import { pathsTo } from './path.ts'
import type { Path } from './path.ts'
import { isUsedAt } from './shared.ts'

/** Seconds. Handshakes then need no traffic, and NAT keeps its mapping. An idle lane has none, so that it falls silent. */
const keepalive = { inUse: 25, idle: 0 } as const

/** A device that holds a peer. */
export interface HeldDevice {
  readonly index: number
  /** The greatest of its peers': each route carries its own. */
  readonly mtu: number
}

/** True where we may have the gateway as a peer: in the mesh, not withdrawn, not ourselves. */
export function isPeer({ fabric, self }: Local, gateway: Gateway): boolean {
  return gateway.name !== self.name && gateway.state !== 'withdrawn' && mayReach(fabric, self, gateway)
}

/** Devices that hold a peer, in order of index. */
export function heldDevices(local: Local): readonly HeldDevice[] {
  const mtus = new Map<number, number>()
  if (local.self.barred === true) return []
  for (const gateway of local.input.snapshot.gateways.values()) {
    if (!isPeer(local, gateway)) continue
    for (const { device, mtu } of pathsTo(local, gateway).paths) {
      mtus.set(device, Math.max(mtu, mtus.get(device) ?? 0))
    }
  }
  return [...mtus].map(([index, mtu]) => ({ index, mtu })).sort((a, b) => a.index - b.index)
}

/** Link, device and addresses of each. */
export function deviceObjects(local: Local, held: readonly HeldDevice[]): readonly KernelObject[] {
  return held.flatMap((device) => oneDevice(local, device))
}

function oneDevice(local: Local, { index, mtu }: HeldDevice): readonly KernelObject[] {
  const { fabric, self, sides, families, input } = local
  const name = deviceName(index)
  const u = underlayOf(index)
  const side = sides.find((one) => one.u === u)
  const publicKey = self.tunnelKeys[String(index)]
  if (side === undefined || publicKey === undefined) return []
  const slot = index & 7
  const generation = slot < 4 ? '' : ', odd key generation'
  const addresses = [
    ...overlayAddresses(local, self).map(prefixOfHost),
    ...(families.includes(6) ? [`${linkLocalAddress(self.number)}/64`] : []),
  ]
  return [
    {
      kind: 'link',
      name,
      type: input.facts.features.wireguard ? 'wireguard' : 'tun',
      mtu,
      up: true,
      group: linkGroup,
      alias: `linkspan ${fabric.fabric}: gateways of plane ${slot & 3} over ${side.name}${generation}`,
    },
    { kind: 'device', name, publicKey, listenPort: side.port + index, fwmark: underlayMark(u) },
    ...addresses.map((address): KernelObject => ({ kind: 'address', link: name, address })),
  ]
}

function prefixOfHost(address: Address): Prefix {
  return prefixOf(address)
}

/** Peers and AllowedIPs of a gateway, over every common underlay. */
export function peerObjects(local: Local, gateway: Gateway, paths: readonly Path[]): readonly KernelObject[] {
  const prefixes = allowedPrefixes(local, gateway)
  const idle = idlePaths(paths, gateway.name, local.input.paths)
  return paths.flatMap((path): readonly KernelObject[] => {
    const device = deviceName(path.device)
    return [
      peer(local, device, gateway, path, idle.has(path) ? keepalive.idle : keepalive.inUse),
      ...prefixes.map((prefix): AllowedIP => ({
        kind: 'allowed-ip',
        device,
        prefix,
        publicKey: path.publicKey,
      })),
    ]
  })
}

function peer(
  { self }: Local,
  device: string,
  gateway: Gateway,
  { publicKey, endpoint, underlay, family }: Path,
  everySeconds: number,
): Peer {
  const object: Peer = {
    kind: 'peer',
    device,
    publicKey,
    keepalive: everySeconds,
    gateway: gateway.name,
  }
  const elsewhere = addressesElsewhere(gateway, underlay)
  const from = self.endpoints.find(
    (one) => one.underlay === underlay && one.address !== undefined && familyOf(one.address) === family,
  )?.address
  return {
    ...object,
    ...(endpoint === undefined ? {} : { endpoint: formatEndpoint(endpoint.address, endpoint.port) }),
    ...(from === undefined ? {} : { from }),
    ...(elsewhere.length === 0 ? {} : { elsewhere }),
  }
}

function formatEndpoint(address: Address, port: number): string {
  return familyOf(address) === 4 ? `${address}:${port}` : `[${address}]:${port}`
}

/** A learned endpoint among these belongs to another underlay. */
function addressesElsewhere(gateway: Gateway, underlay: Name): readonly Address[] {
  const here = gateway.endpoints.flatMap((one) => (one.underlay === underlay ? (one.address ?? []) : []))
  return gateway.endpoints.flatMap((one) =>
    one.address === undefined || here.includes(one.address) ? [] : one.address,
  )
}

/** Gateways of one site reach each other's prefixes directly, so between them only overlay addresses pass. */
function allowedPrefixes(local: Local, gateway: Gateway): readonly Prefix[] {
  const own = overlayAddresses(local, gateway).map(prefixOfHost)
  if (local.families.includes(6)) own.push(prefixOf(linkLocalAddress(gateway.number)))
  if (isSiteMate(local, gateway)) return own
  return [...own, ...gateway.prefixes.filter((prefix) => isRouted(local, gateway, prefix))]
}

/** True where a remote prefix gets a route here, and to the gateway's site. */
function isRouted(local: Local, { site }: Gateway, prefix: Prefix): boolean {
  const isOurs = local.families.includes(familyOf(prefix)) && local.refusal(prefix) === undefined
  return isOurs && isUsedAt(local, site.name, prefix)
}
