/**
 * News of prefixes that sites share: which of them is used from now on. One event for all that moves from one site to another
 * for one reason, however many prefixes there are.
 */
import type { Name } from '../model/fabric.ts'
import { overlayTable } from '../model/kernel-number.ts'
import type { Prefix } from '../model/prefix.ts'
import type { Share } from '../plan/input.ts'
import type { Desired } from './desired.ts'
import type { Events } from './event.ts'

/** More than this are counted. */
const listed = 4
const siteKey = 'site '

/** `changes`: shares that are about to take the place of those in `desired`. */
export function tellSwitches(events: Events, desired: Desired, changes: Iterable<Share>): void {
  const after = [...changes].filter(({ key }) => key.startsWith(siteKey))
  const before = after.flatMap(({ key }) => desired.get(key) ?? [])
  const reasons = sharedReasons(after)
  const shared = new Set([...sharedReasons(before).keys(), ...reasons.keys()])
  if (shared.size === 0) return
  const from = sitesOf(before, shared)
  const moves = new Map<
    string,
    { readonly from: Name; readonly to: Name; readonly reason: string; prefixes: Prefix[] }
  >()
  for (const [prefix, to] of sitesOf(after, shared)) {
    const was = from.get(prefix)
    if (was === undefined || was === to) continue
    const reason = reasons.get(prefix) ?? `${was} has it no more`
    const key = `${was} ${to} ${reason}`
    const move = moves.get(key) ?? { from: was, to, reason, prefixes: [] }
    moves.set(key, move)
    move.prefixes.push(prefix)
  }
  for (const { prefixes, ...move } of moves.values()) {
    const more = prefixes.length - listed
    const named = prefixes.slice(0, listed).join(', ')
    events.emit('notice', 'site-switched', {
      ...move,
      prefixes: more > 0 ? `${named} and ${more} more` : named,
    })
  }
}

/** Why each prefix that sites share leads to this site. */
export function sharedReasons(shares: readonly Share[]): ReadonlyMap<Prefix, string> {
  return new Map(
    shares.flatMap(({ notes }) =>
      notes.flatMap(({ kind, prefix, reason }) =>
        kind === 'prefix-shared' && prefix !== undefined ? [[prefix, reason] as const] : [],
      ),
    ),
  )
}

/** Where these prefixes lead. */
function sitesOf(shares: readonly Share[], of: ReadonlySet<Prefix>): ReadonlyMap<Prefix, Name> {
  const sites = new Map<Prefix, Name>()
  for (const { key, objects } of shares) {
    for (const object of objects) {
      if (object.kind !== 'route' || object.table !== overlayTable || !of.has(object.prefix)) continue
      sites.set(object.prefix, key.slice(siteKey.length))
    }
  }
  return sites
}
