/**
 * The routes that a table is to have. Tables of clouds hold fifty to a thousand, fabrics more prefixes. What can be said in
 * fewer prefixes without saying more is; the rest is for the operator to say (`routes:`), who knows what else lies in between.
 */
import { LinkspanError } from '../errors.ts'
import { comparePrefixes, contains, lengthOf, widen } from '../model/prefix.ts'
import type { Prefix } from '../model/prefix.ts'

export interface RouteConfig {
  readonly routes?: readonly Prefix[] | undefined
  readonly limit: number
}

/** Exactly the same addresses in the fewest prefixes, in order. */
export function merged(prefixes: Iterable<Prefix>): readonly Prefix[] {
  const found: Prefix[] = []
  for (let next of [...prefixes].sort(comparePrefixes)) {
    const last = found.at(-1)
    if (last !== undefined && contains(last, next)) continue
    // The two halves of a prefix are that prefix; and it may be the second half of another.
    for (let before = found.at(-1); before !== undefined && areHalves(before, next); before = found.at(-1)) {
      found.pop()
      next = widen(before, lengthOf(before) - 1)
    }
    found.push(next)
  }
  return found
}

function areHalves(one: Prefix, other: Prefix): boolean {
  const length = lengthOf(one)
  if (length < 1 || length !== lengthOf(other) || one.includes(':') !== other.includes(':')) return false
  return one !== other && widen(one, length - 1) === widen(other, length - 1)
}

/** What the table must hold. Throws `usage` where it is more than it can. `say`: for what is left out. */
export function wantedRoutes(
  prefixes: readonly Prefix[],
  { routes, limit }: RouteConfig,
  say: (line: string) => void,
): readonly Prefix[] {
  const wanted = routes === undefined ? merged(prefixes) : [...routes].sort(comparePrefixes)
  if (wanted.length > limit) {
    throw new LinkspanError({
      code: 'usage',
      object: 'routes',
      reason: `${wanted.length} routes are more than a table's limit of ${limit}`,
      next: 'give `routes:` a few prefixes that hold all remote ones, or raise `limit:` and the quota of the table',
    })
  }
  if (routes !== undefined) {
    const left = merged(prefixes).filter((prefix) => !wanted.some((route) => contains(route, prefix)))
    if (left.length > 0)
      say(`no route holds ${left.length} remote prefixes, ${left[0] ?? ''} for one: see \`routes:\``)
  }
  return wanted
}
