/**
 * The cheap half of an audit: is all as desired? Nearly always it is, and then nothing of what is observed is kept. What stands
 * around and is not ours is no news as long as it is what stood there when diff last judged it, or this last looked.
 */
import type { DiffContext } from '../diff/diff.ts'
import { Match } from '../diff/match.ts'
import type { KernelObject } from '../model/kernel-object.ts'
import { inTurns } from './breath.ts'

/** Of a diff at this moment, in Unix ms. */
export function contextAt(nowMs: number): DiffContext {
  return { nowSeconds: Math.floor(nowMs / 1000) }
}

export class Calm {
  /** Undefined since diff judged it. */
  #strangers: string | undefined
  readonly #now: () => number

  /** `now`: Unix ms. */
  constructor(now: () => number) {
    this.#now = now
  }

  /** Diff has judged what stands around. */
  judged(): void {
    this.#strangers = undefined
  }

  async isAsDesired(
    desired: Iterable<KernelObject>,
    observed: AsyncIterable<readonly KernelObject[]>,
    signal: AbortSignal,
  ): Promise<boolean> {
    const match = new Match(contextAt(this.#now()))
    await inTurns(match.want(desired), signal)
    for await (const part of observed) await inTurns(match.see(part), signal)
    const { strangers } = match
    const isKnown = this.#strangers === undefined || strangers === this.#strangers
    this.#strangers = strangers
    return isKnown && !match.isDrifted
  }
}
