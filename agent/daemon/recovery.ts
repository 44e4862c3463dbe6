/**
 * Group ids when the state directory lost them, or is older than the kernel: the routes in the kernel know. Each desired
 * route votes for the id that its observed twin points at, and a group takes the id with most votes; an id goes to one
 * group only. Ids in the kernel that nobody claims are never given out: what still points at them would change its meaning.
 */
import { nexthopId } from '../model/kernel-number.ts'
import { keyOf } from '../model/kernel-object.ts'
import type { KernelObject } from '../model/kernel-object.ts'
import { isOurs } from '../diff/ownership.ts'
import { GroupIds } from '../plan/group-id.ts'
import type { PlanInput } from '../plan/input.ts'
import { plan } from '../plan/share.ts'

/** The ids to go on with: `known` itself where the kernel holds no group that it does not know. Yields on the way. */
export function* recoverGroupIds(
  known: GroupIds,
  input: PlanInput,
  observed: Iterable<KernelObject>,
): Generator<void, GroupIds> {
  const { ids } = known.toJSON()
  const listed = new Set(Object.values(ids))
  let next: number = nexthopId.firstGroup
  let strange = false
  const pointedAt = new Map<string, number>()
  for (const object of observed) {
    if (object.kind === 'group' && isGroupId(object.id) && isOurs(object)) {
      next = Math.max(next, object.id + 1)
      strange ||= !listed.has(object.id)
    } else if (object.kind === 'route' && object.nexthop !== undefined && isGroupId(object.nexthop)) {
      pointedAt.set(keyOf(object), object.nexthop)
    }
  }
  if (!strange) return known
  yield

  const draft = new GroupIds()
  /** Draft id -> observed id -> votes. */
  const votes = new Map<number, Map<number, number>>()
  for (const { objects } of plan({ ...input, ids: draft })) {
    for (const object of objects) count(object, pointedAt, votes)
    yield
  }
  const taken = new Set(listed)
  const recovered: Record<string, number> = { ...ids }
  for (const [key, draftId] of Object.entries(draft.toJSON().ids)) {
    if (known.has(key)) continue
    const ranked = [...(votes.get(draftId) ?? [])].sort((a, b) => b[1] - a[1] || a[0] - b[0])
    const winner = ranked.find(([id]) => !taken.has(id))
    if (winner === undefined) continue
    taken.add(winner[0])
    recovered[key] = winner[0]
  }
  const result = new GroupIds({ next: Math.max(next, known.toJSON().next), ids: recovered })
  result.dirty = true
  return result
}

function count(
  object: KernelObject,
  pointedAt: ReadonlyMap<string, number>,
  votes: Map<number, Map<number, number>>,
): void {
  if (object.kind !== 'route' || object.nexthop === undefined) return
  const found = pointedAt.get(keyOf(object))
  if (found === undefined) return
  const counts = votes.get(object.nexthop) ?? new Map<number, number>()
  counts.set(found, (counts.get(found) ?? 0) + 1)
  votes.set(object.nexthop, counts)
}

function isGroupId(id: number): boolean {
  return id >= nexthopId.firstGroup && id <= nexthopId.last
}
