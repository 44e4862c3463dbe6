/**
 * The snapshot: what the fabric looks like at one moment, after every document passed trust/verify.
 *
 * A Gateway object is immutable and replaced whole when anything about it changes, so that "did this gateway change?" is
 * a comparison of references. Everything plan needs is here, already reduced to what is allowed: `prefixes` are those the
 * gateway is certified for, advertises, and no other site owns.
 */
import { deviceIndex, laneOf } from './device.ts'
import type { Numbered } from './device.ts'
import type { Attachment, Endpoint, Fabric, GatewayState, Name, Network, Site } from './fabric.ts'
import type { PublicKey } from './key.ts'
import { addressBytes, formatAddress, lengthOf, networkOf } from './prefix.ts'
import type { Address, Family, Prefix } from './prefix.ts'

export interface Gateway {
  readonly name: Name
  readonly number: number
  readonly site: Site
  readonly plane: number
  readonly generation: number
  readonly tunnelKeys: Readonly<Record<string, PublicKey>>
  readonly endpoints: readonly Endpoint[]
  /** Effective prefixes of the default network, in comparePrefixes order. */
  readonly prefixes: readonly Prefix[]
  /** Those of `prefixes` that gateways of other sites have as well, in the same order; absent: none. One site at a time is used. */
  readonly shared?: readonly Prefix[]
  /** What the certificate allows (for guards), whether advertised or not. */
  readonly certified: readonly Prefix[]
  readonly networks: readonly Attachment[]
  readonly weight: number
  readonly state: GatewayState
  /**
   * Ourselves, where our certificate ended: expired, revoked, or the gateway removed. Then we have no peers, and what led to
   * them is black-holed: fail closed. Another gateway that ended is not in the snapshot at all.
   */
  readonly barred?: true
}

export interface Snapshot {
  readonly fabric: Fabric
  /** By name, in order of name. */
  readonly gateways: ReadonlyMap<Name, Gateway>
  /** Gateways by site name, in order of number. */
  readonly sites: ReadonlyMap<Name, readonly Gateway[]>
}

/** A gateway's own overlay address: the fabric's range plus its number. Absent where the fabric has no such family. */
export function overlayAddress(fabric: Fabric, number: number, family: Family): Address | undefined {
  const range = family === 4 ? fabric.overlay.ipv4 : fabric.overlay.ipv6
  if (range === undefined) return undefined
  const bytes = new Uint8Array(addressBytes(networkOf(range)))
  const low = bytes.length - 2
  // The range is at least a /16 or /112 (checked by parse), so the number fits into the last two bytes.
  if (lengthOf(range) > low * 8) return undefined
  bytes[low] = number >> 8
  bytes[low + 1] = number & 255
  return formatAddress(bytes)
}

/** fe80::<number>: the address probes go to, on every device of the gateway. */
export function linkLocalAddress(number: number): Address {
  return `fe80::${number.toString(16)}` as Address
}

export function networkByName(fabric: Fabric, name: Name): Network | undefined {
  return fabric.networks.find((network) => network.name === name)
}

const generations = new WeakMap<Gateway, readonly Numbered[]>()

/**
 * A gateway as its key generations number it, the newest first: one, and while its keys rotate the one before. The record
 * tells by the devices that it lists keys for.
 */
export function generationsOf(gateway: Gateway): readonly Numbered[] {
  let known = generations.get(gateway)
  if (known === undefined) {
    const { generation, plane, tunnelKeys } = gateway
    const newest = { generation, plane }
    const older = (generation & 1) ^ 1
    const isListed = Object.keys(tunnelKeys).some((index) => Number(index) >> 5 === older)
    known = isListed ? [newest, { generation: older, plane }] : [newest]
    generations.set(gateway, known)
  }
  return known
}

/** The lanes there are between two gateways, the newest first. */
export function lanesBetween(own: Gateway, peer: Gateway): readonly number[] {
  const theirs = generationsOf(peer)
  return generationsOf(own).flatMap((our) => theirs.map((their) => laneOf(deviceIndex(our, 0, their))))
}
