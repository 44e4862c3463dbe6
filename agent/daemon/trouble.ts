/** What went wrong last, by object: for `status`, and for how long to wait before the next try. */
import type { Reason } from '../errors.ts'
import { keyOf } from '../model/kernel-object.ts'
import type { KernelObject } from '../model/kernel-object.ts'
import type { OpResult } from '../model/op.ts'

export interface Trouble extends Reason {
  /** Unix ms of the first failure in a row. */
  readonly sinceMs: number
  readonly times: number
}

const firstMs = 250
const lastMs = 30_000
/** Failures kept; beyond that only the count is of interest. */
const kept = 1000

export class Troubles {
  #failed = new Map<string, Trouble>()
  #conflicts: readonly Reason[] = []
  #rounds = 0

  /** Takes in results; answers how many failed. */
  take(results: readonly OpResult[], nowMs: number): number {
    let failures = 0
    for (const { op, error } of results) {
      if (error === undefined) {
        if (this.#failed.size > 0) this.#failed.delete(nameOf(op.object))
        continue
      }
      failures++
      this.#note(op.object, error, nowMs)
    }
    this.#rounds = failures === 0 ? 0 : this.#rounds + 1
    return failures
  }

  /** An audit saw everything: what it did not try again is no trouble any more. */
  settle(results: readonly OpResult[], conflicts: readonly Reason[]): void {
    const still = new Set(results.flatMap(({ op, error }) => (error === undefined ? [] : [nameOf(op.object)])))
    for (const name of this.#failed.keys()) if (!still.has(name)) this.#failed.delete(name)
    this.#conflicts = conflicts
  }

  /** Milliseconds until the next try: 250 doubling to 30,000, with a quarter of jitter. */
  retryMs(random: () => number): number {
    const base = Math.min(lastMs, firstMs * 2 ** Math.max(0, this.#rounds - 1))
    return base * (0.75 + random() / 2)
  }

  get conflicts(): readonly Reason[] {
    return this.#conflicts
  }

  get failures(): readonly Trouble[] {
    return [...this.#failed.values()]
  }

  #note(object: KernelObject, error: Reason, nowMs: number): void {
    const name = nameOf(object)
    const before = this.#failed.get(name)
    if (before === undefined && this.#failed.size >= kept) return
    const { code, object: of, reason, next } = error
    this.#failed.set(name, {
      code,
      object: of,
      reason,
      ...(next === undefined ? {} : { next }),
      sinceMs: before?.sinceMs ?? nowMs,
      times: (before?.times ?? 0) + 1,
    })
  }
}

function nameOf(object: KernelObject): string {
  return `${object.kind} ${keyOf(object)}`
}
