/**
 * diff: desired and observed kernel state -> the ops that turn the one into the other, in an order in which every prefix
 * is a valid state (order.ts), and the conflicts with what somebody else owns (conflict.ts).
 *
 * Pure. An audit compares 100,000 routes and normally finds no difference, so the equal case is the one that counts: one
 * map of the desired objects, one pass over the observed ones, no copies, no key strings for the many. diffSteps yields
 * on the way, so that the daemon's event loop never stalls.
 */
import type { Reason } from '../errors.ts'
import { kinds } from '../model/kernel-object.ts'
import type { KernelObject, Peer } from '../model/kernel-object.ts'
import type { Op } from '../model/op.ts'
import { leaveOutConflicts } from './conflict.ts'
import { isEndpointRight, isEqual } from './equal.ts'
import { Found } from './found.ts'
import { KeyedState } from './keyed.ts'
import { Implied, Loss } from './loss.ts'
import { inOrderSteps } from './order.ts'

export interface DiffContext {
  /** Unix time in seconds, to tell fresh handshakes. */
  readonly nowSeconds: number
}

export interface Diff {
  readonly ops: readonly Op[]
  /** Desired objects that are left out because somebody else holds their name, id, priority or route. */
  readonly conflicts: readonly Reason[]
}

/** Objects between two yields: a few hundred microseconds. */
const step = 2000

/** `down` is diff([], observed). */
export function diff(
  desired: Iterable<KernelObject>,
  observed: Iterable<KernelObject>,
  context: DiffContext,
): Diff {
  const steps = diffSteps(desired, observed, context)
  for (;;) {
    const next = steps.next()
    if (next.done) return next.value
  }
}

/** As diff, with a yield about every 2,000 objects. */
export function* diffSteps(
  desired: Iterable<KernelObject>,
  observed: Iterable<KernelObject>,
  { nowSeconds }: DiffContext,
): Generator<void, Diff> {
  let count = 0
  const wanted = new KeyedState()
  for (const object of desired) {
    wanted.set(object)
    if (++count % step === 0) yield
  }
  const found = new Found()
  for (const object of observed) {
    found.add(object)
    if (++count % step === 0) yield
  }
  const conflicts = leaveOutConflicts(wanted, found.foreign, found.byKind.rule)
  const loss = new Loss(wanted, found)
  const implied = new Implied(wanted, found)

  const ops: Op[] = loss.remade.map((object) => ({ verb: 'remove', object }))
  for (const kind of kinds) {
    const rest = wanted.of(kind)
    for (const before of found.of(kind)) {
      if (++count % step === 0) yield
      if (found.isOnForeignLink(before)) continue
      const object = loss.isEmpty ? before : loss.rest(before)
      if (object === undefined) continue
      const successor = rest.take(object)
      if (successor === undefined) {
        if (isRemovable(object) && !implied.covers(object)) ops.push({ verb: 'remove', object })
      } else if (!isEqual(successor, object, nowSeconds)) {
        ops.push({ verb: 'replace', object: keepLearned(successor, object, nowSeconds), before: object })
      }
    }
    for (const object of rest.values()) {
      if (++count % step === 0) yield
      ops.push({ verb: 'add', object })
    }
  }
  return { ops: yield* inOrderSteps(ops), conflicts }
}

/** A sysctl that we never wrote stays as it is. */
function isRemovable(object: KernelObject): boolean {
  return object.kind !== 'sysctl' || object.previous !== undefined
}

/** A peer that changes for another reason keeps the endpoint it has learned. */
function keepLearned(desired: KernelObject, observed: KernelObject, nowSeconds: number): KernelObject {
  if (desired.kind !== 'peer' || observed.kind !== 'peer' || observed.endpoint === undefined) return desired
  if (desired.endpoint === observed.endpoint || !isEndpointRight(desired, observed, nowSeconds))
    return desired
  const kept: Peer = { ...desired, endpoint: observed.endpoint }
  return kept
}
