/**
 * Address space that no gateway may originate, and prefixes as numbers where many are compared or sorted.
 */
import { addressBytes, familyOf, lengthOf, networkOf, overlaps, prefix } from '../model/prefix.ts'
import type { Prefix } from '../model/prefix.ts'

/** Ranges that mean something to every host by themselves. */
const reserved: readonly (readonly [Prefix, string])[] = [
  [prefix('0.0.0.0/8'), 'this network (RFC 1122)'],
  [prefix('127.0.0.0/8'), 'loopback'],
  [prefix('168.63.129.16/32'), "Azure's host service"],
  [prefix('169.254.0.0/16'), 'link-local, where clouds serve metadata'],
  [prefix('224.0.0.0/4'), 'multicast'],
  [prefix('240.0.0.0/4'), 'reserved and broadcast'],
  [prefix('::/96'), 'unspecified and loopback'],
  [prefix('::ffff:0:0/96'), 'IPv4-mapped'],
  [prefix('fd00:ec2::254/128'), 'the metadata service of AWS'],
  [prefix('fd20:ce::254/128'), 'the metadata service of Google Cloud'],
  [prefix('fe80::/10'), 'link-local'],
  [prefix('ff00::/8'), 'multicast'],
]

/** What of `reserved` the prefix shares an address with. */
export function reservedRange(wanted: Prefix): string | undefined {
  const first = head(wanted)
  // Nearly every prefix is decided by its first octet or word; a certificate may hold thousands.
  if (familyOf(wanted) === 4) {
    if (lengthOf(wanted) >= 8 && Number(first) < 224 && !['0', '127', '168', '169'].includes(first))
      return undefined
  } else if (lengthOf(wanted) >= 16 && !/^(|0|fd00|fd20|fe..|ff..)$/.test(first)) return undefined
  for (const [range, meaning] of reserved) {
    if (overlaps(range, wanted)) return `${range}, ${meaning}`
  }
  return undefined
}

/** overlaps(), quick where the first octet or word differs. */
export function sharesSpace(a: Prefix, b: Prefix): boolean {
  if (familyOf(a) !== familyOf(b)) return false
  if (head(a) !== head(b) && Math.min(lengthOf(a), lengthOf(b)) >= (familyOf(a) === 4 ? 8 : 16)) return false
  return overlaps(a, b)
}

/** Text of the first octet or word. */
function head(of: Prefix): string {
  return of.slice(0, of.indexOf(familyOf(of) === 4 ? '.' : ':'))
}

/** In the order of comparePrefixes; one pass where they are in order already, as gateways publish them. */
export function sortedPrefixes(prefixes: readonly Prefix[]): readonly Prefix[] {
  const keys = prefixes.map(sortKey)
  if (keys.every((key, i) => i === 0 || (keys[i - 1] ?? '') <= key)) return prefixes
  const order = keys
    .map((key, i) => ({ key, i }))
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
  return order.flatMap(({ i }) => prefixes[i] ?? [])
}

/** Compares as text like comparePrefixes: family, address bytes, length. */
function sortKey(of: Prefix): string {
  return String.fromCharCode(familyOf(of), ...addressBytes(networkOf(of)), lengthOf(of))
}
