/**
 * Group ids when the state directory lost them: the routes in the kernel know. Each desired route votes for the id that
 * its observed twin points at, and a group takes the id with most votes; an id goes to one group only.
 */
import { nexthopId } from '../model/kernel-number.ts'
import { keyOf } from '../model/kernel-object.ts'
import type { KernelObject } from '../model/kernel-object.ts'
import type { GroupIds } from '../plan/group-id.ts'
import type { PlanInput } from '../plan/input.ts'
import { plan } from '../plan/share.ts'
import { GroupIds as Draft } from '../plan/group-id.ts'

/** Fills `ids`, which must be empty, from what was observed. */
export function recoverGroupIds(ids: GroupIds, input: PlanInput, observed: Iterable<KernelObject>): void {
  const inKernel = new Map<string, number>()
  for (const object of observed) {
    if (object.kind === 'route' && object.nexthop !== undefined) inKernel.set(keyOf(object), object.nexthop)
  }
  if (inKernel.size === 0) return
  const draft = new Draft()
  /** Draft id -> observed id -> votes. */
  const votes = new Map<number, Map<number, number>>()
  for (const { objects } of plan({ ...input, ids: draft })) {
    for (const object of objects) {
      const found = object.kind === 'route' ? inKernel.get(keyOf(object)) : undefined
      if (object.kind !== 'route' || object.nexthop === undefined || found === undefined) continue
      if (found < nexthopId.firstGroup || found > nexthopId.last) continue
      const counts = votes.get(object.nexthop) ?? new Map<number, number>()
      counts.set(found, (counts.get(found) ?? 0) + 1)
      votes.set(object.nexthop, counts)
    }
  }
  const taken = new Set<number>()
  for (const [key, draftId] of Object.entries(draft.toJSON().ids)) {
    const ranked = [...(votes.get(draftId) ?? [])].sort((a, b) => b[1] - a[1] || a[0] - b[0])
    const winner = ranked.find(([id]) => !taken.has(id))
    if (winner === undefined) continue
    taken.add(winner[0])
    ids.set(key, winner[0])
  }
}
