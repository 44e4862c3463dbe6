/**
 * Who originates what: every prefix of a site once, with exactly those of its gateways that originate it. There is one
 * nexthop group for each such set, normally one a site.
 */
import type { Gateway } from '../model/gateway.ts'
import type { Prefix } from '../model/prefix.ts'

/** Equal sets are one array. `gateways`: of one site, at most four. */
export function* originated(
  gateways: readonly Gateway[],
): Generator<readonly [Prefix, readonly Gateway[]], void> {
  if (gateways.length === 1) {
    for (const prefix of gateways[0]?.prefixes ?? []) yield [prefix, gateways]
    return
  }
  // A set of gateways is a bit for each.
  const sets = new Map<Prefix, number>()
  for (const [i, { prefixes }] of gateways.entries()) {
    for (const prefix of prefixes) sets.set(prefix, (sets.get(prefix) ?? 0) | (1 << i))
  }
  const members = new Map<number, readonly Gateway[]>()
  for (const [prefix, set] of sets) {
    let origins = members.get(set)
    if (origins === undefined) {
      origins = gateways.filter((_, i) => (set & (1 << i)) !== 0)
      members.set(set, origins)
    }
    yield [prefix, origins]
  }
}

const known = new WeakMap<readonly Gateway[], readonly (readonly Gateway[])[]>()

/**
 * The sets alone. Remembered, since a failover asks for those of every site at once and must not walk through all
 * prefixes.
 */
export function originSets(gateways: readonly Gateway[]): readonly (readonly Gateway[])[] {
  const before = known.get(gateways)
  if (before !== undefined) return before
  const sets = new Set<readonly Gateway[]>()
  for (const [, origins] of originated(gateways)) sets.add(origins)
  const found = [...sets]
  known.set(gateways, found)
  return found
}
