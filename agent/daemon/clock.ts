/**
 * How late it is, for documents that begin and end. A host's clock can be wrong at boot, be set by an attacker on the
 * network, or jump when a virtual machine is moved; none of that may end a tunnel or bring an old document back.
 *
 * What is surely past never goes back: it is at least the persisted floor and the newest date at which the authority signed
 * what we admitted: its serials are dates. A clock that is more than an hour behind that date is wrong, or the authority's
 * was; so the date then counts for what begins, and nothing expires by it. Records and claims are no witnesses: gateways
 * sign them, and one gateway must not be able to make it later for all others.
 *
 * When the clock leaps ahead of that, beyond what the time since boot says has passed, nothing expires by it for an hour;
 * then the clock is believed. That time goes on while the machine sleeps (CLOCK_BOOTTIME), so waking up is no leap. Nor is
 * it news that time passed while no agent ran: a start after an absence waits for the hour like any leap, and says nothing,
 * unless nobody is away for that long.
 */
import { uptime } from 'node:os'
import type { Moment } from '../trust/moment.ts'
import { graceMs } from '../trust/moment.ts'

export interface ClockOptions {
  /** Of an earlier run: Unix ms, 0 where there was none. */
  readonly floorMs: number
  readonly wall?: () => number
  /** ms that never go back, and go on while the machine sleeps. */
  readonly monotonic?: () => number
}

/** An agent that was off for longer more likely has a wrong clock: as long as a fabric document is fresh, in ms. */
const longestAbsenceMs = 90 * 24 * 3_600_000

export class Clock {
  readonly #wall: () => number
  readonly #monotonic: () => number
  #sureMs: number
  /** When #sureMs was so late. */
  #at: number
  #leapSince: number | undefined
  /** How much of a leap is the time for which no agent ran, in ms. */
  #absenceMs: number
  /** The newest date of the authority's: Unix ms. */
  #witnessMs = 0

  constructor({ floorMs, wall = Date.now, monotonic = () => uptime() * 1000 }: ClockOptions) {
    this.#wall = wall
    this.#monotonic = monotonic
    this.#sureMs = floorMs > 0 ? floorMs : wall()
    this.#at = monotonic()
    const absenceMs = wall() - this.#sureMs
    this.#absenceMs = absenceMs > 0 && absenceMs <= longestAbsenceMs ? absenceMs : 0
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
      this.#absenceMs = 0
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

  /** The clock leapt ahead while somebody looked, and is not believed yet: by how many ms. */
  get leapMs(): number {
    if (this.#leapSince === undefined) return 0
    const aheadMs = this.#wall() - this.#sureMs
    return aheadMs <= this.#absenceMs + graceMs ? 0 : Math.round(aheadMs)
  }

  /** The clock is behind what is surely past: by how many ms. */
  get lagMs(): number {
    return Math.max(0, Math.round(Math.max(this.#sureMs, this.#witnessMs) - this.#wall() - graceMs))
  }
}
