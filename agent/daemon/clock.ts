/**
 * How late it is, for documents that begin and end. A host's clock can be wrong at boot, be set by an attacker on the
 * network, or jump when a virtual machine is moved; none of that may end a tunnel or bring an old document back.
 *
 * What is surely past never goes back: it is at least the persisted floor and the newest date at which the authority signed
 * what we admitted: its serials are dates. A clock that is more than an hour behind that date is wrong, or the authority's
 * was; so the date then counts for what begins, and nothing expires by it. Records and claims are no witnesses: gateways
 * sign them, and one gateway must not be able to make it later for all others.
 *
 * When the clock leaps ahead of that, beyond what the monotonic clock says has passed, nothing expires by
 * it for an hour; then the clock is believed.
 */
import type { Moment } from '../trust/moment.ts'
import { graceMs } from '../trust/moment.ts'

export interface ClockOptions {
  /** Of an earlier run: Unix ms, 0 where there was none. */
  readonly floorMs: number
  readonly wall?: () => number
  /** ms that never go back. */
  readonly monotonic?: () => number
}

export class Clock {
  readonly #wall: () => number
  readonly #monotonic: () => number
  #sureMs: number
  /** When #sureMs was so late. */
  #at: number
  #leapSince: number | undefined
  /** The newest date of the authority's: Unix ms. */
  #witnessMs = 0

  constructor({ floorMs, wall = Date.now, monotonic = () => performance.now() }: ClockOptions) {
    this.#wall = wall
    this.#monotonic = monotonic
    this.#sureMs = floorMs > 0 ? floorMs : wall()
    this.#at = monotonic()
  }

  now(): Moment {
    const at = this.#monotonic()
    const wall = this.#wall()
    const passed = this.#sureMs + (at - this.#at)
    this.#at = at
    if (wall <= passed + graceMs) this.#leapSince = undefined
    else this.#leapSince ??= at
    const isBelieved = this.#leapSince === undefined || at - this.#leapSince >= graceMs
    if (isBelieved) {
      this.#leapSince = undefined
      // A clock that is a little behind is followed; one that is far behind is not believed.
      this.#sureMs = wall >= passed - graceMs ? Math.max(wall, this.#sureMs) : passed
    } else this.#sureMs = passed
    return {
      sureMs: Math.round(this.#sureMs),
      likelyMs: Math.round(Math.max(this.#sureMs, wall, this.#witnessMs)),
    }
  }

  /** The authority signed something at this moment, so it is past. */
  witnessed(ms: number): void {
    this.#witnessMs = Math.max(this.#witnessMs, ms)
    // A serial may run ahead of the clock by its count, and an authority's clock may be wrong, too.
    if (ms > this.#sureMs && ms <= this.#wall() + graceMs) this.#sureMs = ms
  }

  /** The clock leapt ahead, and is not believed yet: by how many ms. */
  get leapMs(): number {
    return this.#leapSince === undefined ? 0 : Math.round(this.#wall() - this.#sureMs)
  }

  /** The clock is behind what is surely past: by how many ms. */
  get lagMs(): number {
    return Math.max(0, Math.round(Math.max(this.#sureMs, this.#witnessMs) - this.#wall() - graceMs))
  }
}
