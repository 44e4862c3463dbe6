/**
 * An event for each refusal that is new. A hostile registry makes thousands of them: of many the first are told one by one,
 * of the others how many there were. `status` has them all.
 */
import type { Refusal } from '../trust/refusal.ts'
import { Allowance } from './allowance.ts'
import type { Events } from './event.ts'
import type { Tally } from './tally.ts'

/** Told one by one. */
const rate = { burst: 100, perSecond: 1 }
/** Between two events about the others, in ms. */
const sumEveryMs = 60_000
const next = 'linkspan status has them all; who writes them?'

export class RefusalTelling {
  readonly #events: Events
  readonly #tally: Tally
  readonly #now: () => number
  readonly #allowance: Allowance
  #untold = 0
  #sumAt = -Infinity

  /** `now`: ms that never go back. */
  constructor(events: Events, tally: Tally, now: () => number) {
    this.#events = events
    this.#tally = tally
    this.#now = now
    this.#allowance = new Allowance(rate, now)
  }

  /** What is refused now, and was not before. */
  tell(before: readonly Refusal[], refusals: readonly Refusal[]): void {
    for (const { origin, rule, gateway, object, reason, next: remedy } of freshOf(before, refusals)) {
      this.#tally.error('verify')
      if (this.#allowance.take())
        this.#events.emit('warning', 'document-refused', {
          origin,
          rule,
          gateway,
          object,
          reason,
          next: remedy,
        })
      else this.#untold++
    }
    const now = this.#now()
    if (this.#untold === 0 || now - this.#sumAt < sumEveryMs) return
    this.#sumAt = now
    this.#events.emit('warning', 'documents-refused', { more: this.#untold, next })
    this.#untold = 0
  }
}

/** By what they say: the same refusal may be another object, and most are the same. */
function freshOf(before: readonly Refusal[], refusals: readonly Refusal[]): readonly Refusal[] {
  const [old, now] = [new Set(before), new Set(refusals)]
  const ended = before.filter((refusal) => !now.has(refusal))
  const known = new Set(ended.map((refusal) => JSON.stringify(refusal)))
  return refusals.filter((refusal) => !old.has(refusal) && !known.has(JSON.stringify(refusal)))
}
