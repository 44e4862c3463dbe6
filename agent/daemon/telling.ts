/** How the reconciler's work reads as events: one line a change of desired, one for each failure and repair, within reason. */
import { formatReason } from '../errors.ts'
import type { Reason } from '../errors.ts'
import type { Op, OpResult } from '../model/op.ts'
import { formatObject } from '../model/op-text.ts'
import type { ShareKey } from '../plan/input.ts'
import { nameOf } from './desired.ts'
import type { Events } from './event.ts'
import type { Tally } from './tally.ts'

/** More of one kind than this are counted. */
const listed = 10

export function tellPass(
  events: Events,
  event: 'pass' | 'audit' | 'first-audit',
  keys: readonly ShareKey[],
  ops: readonly Op[],
  failed: number,
  ms: number,
): void {
  const quiet = ops.length === 0 && keys.length === 0
  const [first] = ops
  events.emit(quiet ? 'debug' : 'info', event, {
    shares: keys.length,
    ...(keys.length === 0 || keys.length > 4 ? {} : { of: keys.join(', ') }),
    ops: ops.length,
    failures: failed,
    ms: Math.round(ms * 10) / 10,
    ...(first === undefined || ops.length > 1 ? {} : { op: `${first.verb} ${formatObject(first.object)}` }),
  })
}

export function tellFailures(events: Events, tally: Tally, failed: readonly OpResult[]): void {
  const byText = new Map<string, { readonly verb: Op['verb']; readonly error: Reason; ops: number }>()
  for (const { op, error } of failed) {
    if (error === undefined) continue
    const text = formatReason(error)
    const same = byText.get(text)
    if (same === undefined) byText.set(text, { verb: op.verb, error, ops: 1 })
    else same.ops++
  }
  for (const { verb, error, ops } of [...byText.values()].slice(0, listed)) {
    const { code, object, reason, next } = error
    events.emit('error', 'op-failed', { verb, code, object, reason, next, ...(ops > 1 && { ops }) })
  }
  if (byText.size > listed) events.emit('error', 'op-failed', { more: byText.size - listed })
  if (failed.length > 0) tally.error('apply', failed.length)
}

/** Somebody changed what is ours, and it was put right. */
export function tellDrift(
  events: Events,
  tally: Tally,
  ops: readonly Op[],
  failed: readonly OpResult[],
): void {
  const still = new Set(failed.map(({ op }) => nameOf(op.object)))
  const repaired = ops.filter(({ object }) => still.size === 0 || !still.has(nameOf(object)))
  for (const { object } of repaired) tally.drift(object.kind)
  for (const { verb, object } of repaired.slice(0, listed)) {
    events.emit('notice', 'drift-repaired', { verb, object: formatObject(object) })
  }
  if (repaired.length > listed) events.emit('notice', 'drift-repaired', { more: repaired.length - listed })
}

/** New conflicts, and those that are over. */
export function tellConflicts(events: Events, before: readonly Reason[], after: readonly Reason[]): void {
  const known = new Set(before.map(formatReason))
  const now = new Set(after.map(formatReason))
  for (const conflict of after) {
    const { object, reason, next } = conflict
    if (!known.has(formatReason(conflict))) events.emit('error', 'conflict', { object, reason, next })
  }
  for (const conflict of before) {
    if (!now.has(formatReason(conflict))) events.emit('notice', 'conflict-over', { object: conflict.object })
  }
}
