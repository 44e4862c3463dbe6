/**
 * How long a request may take. Two clocks: one for the whole, redirects included, and one that starts anew whenever the
 * request gets further: connected, handshake done, headers complete, a piece of the body. Headers that trickle in byte by
 * byte are no progress, so a slow server ends at the first clock or at the second, whatever it is slow with.
 */
import { timeoutOf } from './https-fault.ts'
import type { Phase, Words } from './https-fault.ts'

export interface PatienceLimits {
  /** Ms without progress. */
  readonly idleMs: number
  /** Ms for the whole. */
  readonly totalMs: number
}

export class Patience {
  readonly #stop: AbortSignal
  readonly #controller = new AbortController()
  readonly #idle: NodeJS.Timeout
  readonly #total: NodeJS.Timeout
  readonly #end = (): void => {
    this.#controller.abort()
  }
  #phase: Phase = 'connect'
  #over: Words | undefined

  /** `stop`: ends the request at once. */
  constructor(limits: PatienceLimits, stop: AbortSignal) {
    this.#stop = stop
    this.#idle = setTimeout(() => {
      this.#expire('idle', limits.idleMs)
    }, limits.idleMs)
    this.#total = setTimeout(() => {
      this.#expire('total', limits.totalMs)
    }, limits.totalMs)
    stop.addEventListener('abort', this.#end, { once: true })
    if (stop.aborted) this.#end()
  }

  /** Aborts when either clock has run out, or when asked to stop. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  get phase(): Phase {
    return this.#phase
  }

  /** Why it ended; undefined where no clock has run out. */
  get over(): Words | undefined {
    return this.#over
  }

  reach(phase: Phase): void {
    this.#phase = phase
    if (!this.#controller.signal.aborted) this.#idle.refresh()
  }

  /** Nothing is waited for any more. */
  close(): void {
    clearTimeout(this.#idle)
    clearTimeout(this.#total)
    this.#stop.removeEventListener('abort', this.#end)
  }

  #expire(limit: 'idle' | 'total', ms: number): void {
    this.#over ??= timeoutOf(this.#phase, limit, ms)
    this.#controller.abort()
  }
}
