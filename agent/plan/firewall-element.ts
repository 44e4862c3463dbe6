/**
 * Elements of the guards' sets, and the lengths that need a set: what the shares of sites, gateways and networks and the
 * ruleset agree on through names.
 */
import type { Gateway } from '../model/gateway.ts'
import type { SetElement } from '../model/kernel-object.ts'
import { familyOf, lengthOf, networkOf } from '../model/prefix.ts'
import type { Address, Family, Prefix } from '../model/prefix.ts'

/**
 * `remote`: reachable through tunnels only. `local`: exceptions from it by longest match (the throw ranges). `own`: what
 * packets out of tunnels may be forwarded to.
 */
export type PrefixBase = 'remote' | 'local' | 'own'

/** One string for each, since 100,000 elements name theirs. By length, IPv6 from 64. */
const names: Record<PrefixBase, string[]> = { remote: [], local: [], own: [] }

export function prefixSet(base: PrefixBase, family: Family, length: number): string {
  return (names[base][family === 4 ? length : 64 + length] ??= `${base}${family}_${length}`)
}

export function prefixElement(base: PrefixBase, prefix: Prefix): SetElement {
  return {
    kind: 'element',
    set: prefixSet(base, familyOf(prefix), lengthOf(prefix)),
    key: networkOf(prefix),
  }
}

export function guardSet(family: Family, vni: number): string {
  return `vxlan${family}_${vni}`
}

/** VXLAN frames of this VNI may come from this VTEP. */
export function guardElement(outerSource: Address, vni: number): SetElement {
  return { kind: 'element', set: guardSet(familyOf(outerSource), vni), key: outerSource }
}

/** A set of (family, length) pairs: bit `length` for IPv4, bit 64 + `length` for IPv6. */
export type Lengths = bigint

export function lengthsOf(prefixes: Iterable<Prefix>): Lengths {
  let lengths = 0n
  let last = -1
  for (const prefix of prefixes) {
    // Neighbours are mostly of one length, and big integers are slow.
    const next = position(familyOf(prefix), lengthOf(prefix))
    if (next !== last) lengths |= 1n << BigInt(next)
    last = next
  }
  return lengths
}

function position(family: Family, length: number): number {
  return family === 4 ? length : 64 + length
}

function bit(family: Family, length: number): Lengths {
  return 1n << BigInt(position(family, length))
}

export function hasLength(lengths: Lengths, family: Family, length: number): boolean {
  return (lengths & bit(family, length)) !== 0n
}

const byGateway = new WeakMap<Gateway, Lengths>()

/**
 * Lengths of all a gateway is certified for or advertises. Certified ones count before they are advertised, so that a
 * record seldom brings a new length. Remembered per object: a changed record costs only its own prefixes.
 */
export function lengthsOfGateway(gateway: Gateway): Lengths {
  let lengths = byGateway.get(gateway)
  if (lengths === undefined) {
    lengths = lengthsOf(gateway.certified) | lengthsOf(gateway.prefixes)
    byGateway.set(gateway, lengths)
  }
  return lengths
}
