/**
 * How often something may happen: so many at once, and so many a second from then on. Registries and gateways are strangers
 * that may say something new a thousand times a second; what they may cost is bounded by these.
 */

export interface Rate {
  /** At once, after a quiet time. */
  readonly burst: number
  readonly perSecond: number
}

/** One purse. It may be overdrawn: then nothing is there until the debt is paid. */
export class Allowance {
  readonly #rate: Rate
  readonly #now: () => number
  #left: number
  #at: number

  /** `now`: ms that never go back. */
  constructor(rate: Rate, now: () => number) {
    this.#rate = rate
    this.#now = now
    this.#left = rate.burst
    this.#at = now()
  }

  get left(): number {
    const { burst, perSecond } = this.#rate
    const now = this.#now()
    this.#left = Math.min(burst, this.#left + ((now - this.#at) / 1000) * perSecond)
    this.#at = now
    return this.#left
  }

  get isFull(): boolean {
    return this.left >= this.#rate.burst
  }

  /** Takes one; false where there is none. */
  take(): boolean {
    if (this.left < 1) return false
    this.#left--
    return true
  }

  /** Takes so much, whether it is there or not. */
  spend(amount: number): void {
    this.#left = this.left - amount
  }
}

/** So many purses that look at those nobody uses is worth its while. */
const manyPurses = 1024

/** A purse for each name, all of one rate. */
export class Allowances {
  readonly #rate: Rate
  readonly #now: () => number
  readonly #purses = new Map<string, Allowance>()
  #sweepAt = manyPurses

  constructor(rate: Rate, now: () => number) {
    this.#rate = rate
    this.#now = now
  }

  get size(): number {
    return this.#purses.size
  }

  /** True where take() would. */
  has(name: string): boolean {
    return (this.#purses.get(name)?.left ?? this.#rate.burst) >= 1
  }

  take(name: string): boolean {
    let purse = this.#purses.get(name)
    if (purse === undefined) {
      this.#sweep()
      purse = new Allowance(this.#rate, this.#now)
      this.#purses.set(name, purse)
    }
    return purse.take()
  }

  /** A full purse is as good as none. */
  #sweep(): void {
    if (this.#purses.size < this.#sweepAt) return
    for (const [name, purse] of this.#purses) if (purse.isFull) this.#purses.delete(name)
    this.#sweepAt = Math.max(manyPurses, 2 * this.#purses.size)
  }
}
