/**
 * What went wrong last, by object: for `status`, and for how long to wait before the next try. Ops that failed with the same
 * words are one failure: a WireGuard process that hangs is no news a second time because it holds a thousand prefixes.
 */
import { formatReason } from '../errors.ts'
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
/** Failures kept, and as many again of other words; beyond that only the count is of interest. */
const kept = 1000

/** Milliseconds before try number `round` (from 1): 250 doubling to 30,000, with a quarter of jitter either way. */
export function backoffMs(round: number, random: () => number): number {
  const base = Math.min(lastMs, firstMs * 2 ** Math.min(16, Math.max(0, round - 1)))
  return base * (0.75 + random() / 2)
}

export class Troubles {
  readonly #failed = new Map<string, Trouble>()
  /** Words of failures that may be kept. */
  #told = new Set<string>()
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
    this.#told = new Set([...this.#failed.values()].map(formatReason))
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
    const byText = new Map<string, Trouble>()
    for (const trouble of this.#failed.values()) {
      const text = formatReason(trouble)
      if (!byText.has(text)) byText.set(text, trouble)
    }
    return [...byText.values()]
  }

  get isNone(): boolean {
    return this.#failed.size === 0 && this.#conflicts.length === 0
  }

  #note({ op }: OpResult, error: Reason, nowMs: number): void {
    const { code, object, reason, next } = error
    const name = nameOf(op.object)
    const before = this.#failed.get(name)
    const text = formatReason(error)
    // Many of one text leave room for others.
    const most = this.#told.has(text) ? kept : 2 * kept
    if (before === undefined && this.#failed.size >= most) return
    this.#told.add(text)
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
