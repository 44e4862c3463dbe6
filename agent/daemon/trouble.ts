/** What went wrong last, by object: for `status`, and for how long to wait before the next try. */
import type { Reason } from '../errors.ts'
import type { OpResult } from '../model/op.ts'
import { nameOf } from './desired.ts'

export interface Trouble extends Reason {
  /** Unix ms of the first failure in a row. */
  readonly sinceMs: number
  readonly times: number
}

const firstMs = 250
const lastMs = 30_000
/** Failures kept; beyond that only the count is of interest. */
const kept = 1000

/** Milliseconds before try number `round` (from 1): 250 doubling to 30,000, with a quarter of jitter either way. */
export function backoffMs(round: number, random: () => number): number {
  const base = Math.min(lastMs, firstMs * 2 ** Math.min(16, Math.max(0, round - 1)))
  return base * (0.75 + random() / 2)
}

export class Troubles {
  readonly #failed = new Map<string, Trouble>()
  #conflicts: readonly Reason[] = []
  #rounds = 0

  /** Takes in results; answers those that failed. */
  take(results: readonly OpResult[], nowMs: number): readonly OpResult[] {
    const failed: OpResult[] = []
    for (const result of results) {
      if (result.error !== undefined) {
        failed.push(result)
        this.#note(result, result.error, nowMs)
      } else if (this.#failed.size > 0) this.#failed.delete(nameOf(result.op.object))
    }
    return failed
  }

  /** An audit saw everything: what did not fail in it again is no trouble any more. */
  settle(failed: readonly OpResult[], conflicts: readonly Reason[]): void {
    const still = new Set(failed.map(({ op }) => nameOf(op.object)))
    for (const name of this.#failed.keys()) if (!still.has(name)) this.#failed.delete(name)
    this.#conflicts = conflicts
    this.#rounds = failed.length === 0 && conflicts.length === 0 ? 0 : this.#rounds + 1
  }

  /** A turn failed as a whole. */
  stumble(): void {
    this.#rounds++
  }

  /** Until the next try. */
  retryMs(random: () => number): number {
    return backoffMs(this.#rounds, random)
  }

  get conflicts(): readonly Reason[] {
    return this.#conflicts
  }

  get failures(): readonly Trouble[] {
    return [...this.#failed.values()]
  }

  get isNone(): boolean {
    return this.#failed.size === 0 && this.#conflicts.length === 0
  }

  #note({ op }: OpResult, { code, object, reason, next }: Reason, nowMs: number): void {
    const name = nameOf(op.object)
    const before = this.#failed.get(name)
    if (before === undefined && this.#failed.size >= kept) return
    this.#failed.set(name, {
      code,
      object,
      reason,
      ...(next === undefined ? {} : { next }),
      sinceMs: before?.sinceMs ?? nowMs,
      times: (before?.times ?? 0) + 1,
    })
  }
}
