/**
 * Which mirror is asked next, and when. The first one is preferred. While the one in use answers, no other is asked, so that
 * gateways do not flap between mirrors of different age; when it fails, the others are tried in turn, and the one that works
 * is stayed with. From time to time the first one is tried again. Times are those of a clock that only goes forward.
 *
 * All waits have jitter: a fleet that starts together, or is told "come back in 60 s" together, does not stay in step.
 */
import type { Reason } from '../errors.ts'
import type { Validator } from './https-validator.ts'

export interface MirrorTimes {
  /** Between two polls, in ms. */
  readonly pollMs: number
  /** Before the first mirror is tried again, in ms. */
  readonly returnMs: number
  /** After the first round in which none worked, in ms; doubles from round to round. */
  readonly leastBackoffMs: number
  readonly mostBackoffMs: number
  /** Longest time that a server may make us wait, in ms. */
  readonly mostRetryAfterMs: number
}

export interface Mirror {
  readonly url: URL
  /** What its last body is known by, and the digest of that body. */
  known?: { readonly validator: Validator; readonly digest: string } | undefined
  /** It gave two bodies one ETag. */
  isForgetful: boolean
  /** Unix ms of its last good answer, and how long that took to come, in ms. */
  answered?: { readonly answeredAtMs: number; readonly latencyMs: number }
  /** Why it failed the last time; absent where it did not. */
  reason?: Reason | undefined
  /** It asked to be left alone until then. */
  notBeforeMs?: number
}

export class Mirrors {
  readonly all: readonly Mirror[]
  readonly #times: MirrorTimes
  readonly #random: () => number
  #used: Mirror
  #returnAtMs = Infinity
  #rounds = 0

  /** `urls`: at least one. */
  constructor(urls: readonly [URL, ...URL[]], times: MirrorTimes, random: () => number) {
    const [first, ...others] = urls.map((url): Mirror => ({ url, isForgetful: false })) as [
      Mirror,
      ...Mirror[],
    ]
    this.all = [first, ...others]
    this.#used = first
    this.#times = times
    this.#random = random
  }

  /** The one that worked last, or would be tried first. */
  get used(): Mirror {
    return this.#used
  }

  /** The mirrors to try now, until one works. */
  turn(nowMs: number): readonly Mirror[] {
    const at = this.all.indexOf(this.#used)
    const inTurn = [...this.all.slice(at), ...this.all.slice(0, at)]
    if (nowMs >= this.#returnAtMs) {
      this.#returnAtMs = nowMs + this.#jittered(this.#times.returnMs)
      inTurn.unshift(...inTurn.splice(this.all.length - at, 1))
    }
    return inTurn.filter(({ notBeforeMs = 0 }) => nowMs >= notBeforeMs)
  }

  worked(mirror: Mirror, nowMs: number): void {
    delete mirror.reason
    this.#rounds = 0
    if (mirror === this.#used) return
    this.#used = mirror
    this.#returnAtMs = mirror === this.all[0] ? Infinity : nowMs + this.#jittered(this.#times.returnMs)
  }

  failed(mirror: Mirror, reason: Reason, retryAfterMs: number | undefined, nowMs: number): void {
    mirror.reason = reason
    if (retryAfterMs === undefined) return
    // Never earlier than asked, and not all at once.
    const ms = Math.min(retryAfterMs, this.#times.mostRetryAfterMs)
    mirror.notBeforeMs = nowMs + ms * (1 + this.#random() / 4)
  }

  /** No mirror worked. */
  noneWorked(): void {
    this.#rounds++
  }

  /** Why none can be read: each mirror's own reason. */
  get reasons(): readonly Reason[] {
    return this.all.flatMap(({ reason }) => (reason === undefined ? [] : [reason]))
  }

  /** Until the next turn, in ms. */
  waitMs(nowMs: number): number {
    const { pollMs, leastBackoffMs, mostBackoffMs } = this.#times
    if (this.#rounds === 0) return this.#jittered(pollMs)
    const base = Math.min(mostBackoffMs, leastBackoffMs * 2 ** Math.min(16, this.#rounds - 1))
    const soonest = Math.min(...this.all.map(({ notBeforeMs = 0 }) => notBeforeMs))
    return Math.max(this.#jittered(base), soonest - nowMs)
  }

  /** A quarter more or less. */
  #jittered(ms: number): number {
    return ms * (0.75 + this.#random() / 2)
  }
}
