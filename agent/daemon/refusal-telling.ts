/**
 * An event for each refusal that is new. A hostile registry makes thousands of them: of many the first are told one by one,
 * of the others how many there were. `status` has the first thousand, and how many there are by rule.
 */
import type { Refusal } from '../trust/refusal.ts'
import { Allowance } from './allowance.ts'
import type { Events } from './event.ts'
import type { Tally } from './tally.ts'

/** Told one by one. */
const rate = { burst: 100, perSecond: 1 }
/** Between two events about the others, in ms. */
const sumEveryMs = 60_000
const next = 'linkspan status lists them; who writes them?'

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

  /** `begun`: what is refused now, and was not before. */
  tell(begun: readonly Refusal[]): void {
    if (begun.length > 0) this.#tally.error('verify', begun.length)
    // The others are only counted: there may be a hundred thousand.
    let told = 0
    for (const { origin, rule, gateway, object, reason, next: remedy } of begun) {
      if (!this.#allowance.take()) break
      told++
      this.#events.emit('warning', 'document-refused', {
        origin,
        rule,
        gateway,
        object,
        reason,
        next: remedy,
      })
    }
    this.#untold += begun.length - told
    const now = this.#now()
    if (this.#untold === 0 || now - this.#sumAt < sumEveryMs) return
    this.#sumAt = now
    this.#events.emit('warning', 'documents-refused', { more: this.#untold, next })
    this.#untold = 0
  }
}
