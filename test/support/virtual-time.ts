/**
 * A day in a minute: timers, Date.now() and performance.now() of this process follow a clock that jumps to the next timer
 * as soon as nothing else is to be done. Sockets are real: while one is on its way to its peer, time stands still.
 */

interface Timer {
  at: number
  readonly everyMs: number | undefined
  readonly work: () => void
}

const real = { setTimeout, setImmediate }
/** Real ms that a socket is waited for at most. */
const patienceMs = 200

export class VirtualTime {
  readonly #timers = new Set<Timer>()
  readonly #startMs: number
  #nowMs = 0
  /** Timers that went off. */
  fired = 0

  /** Puts itself in the place of this process's clock. `startMs`: Unix ms. There is no way back. */
  constructor(startMs: number) {
    this.#startMs = startMs
    const start = (
      work: (...args: unknown[]) => void,
      ms: number | undefined,
      args: unknown[],
      repeats: boolean,
    ) => {
      const every = Math.max(1, ms ?? 1)
      const timer: Timer = {
        at: this.#nowMs + every,
        everyMs: repeats ? every : undefined,
        work: () => {
          work(...args)
        },
      }
      this.#timers.add(timer)
      return this.#handle(timer, every)
    }
    const stop = (handle: unknown): void => {
      const timer = (handle as { timer?: Timer } | undefined)?.timer
      if (timer !== undefined) this.#timers.delete(timer)
    }
    Object.assign(globalThis, {
      setTimeout: (work: () => void, ms?: number, ...args: unknown[]) => start(work, ms, args, false),
      setInterval: (work: () => void, ms?: number, ...args: unknown[]) => start(work, ms, args, true),
      clearTimeout: stop,
      clearInterval: stop,
    })
    Date.now = () => this.#startMs + Math.floor(this.#nowMs)
    performance.now = () => this.#nowMs
  }

  /** Lets so much time pass. */
  async pass(ms: number): Promise<void> {
    const end = this.#nowMs + ms
    for (;;) {
      await this.#rest()
      let next: Timer | undefined
      for (const timer of this.#timers)
        if (timer.at <= end && (next === undefined || timer.at < next.at)) next = timer
      if (next === undefined) break
      this.#nowMs = Math.max(this.#nowMs, next.at)
      if (next.everyMs === undefined) this.#timers.delete(next)
      else next.at = this.#nowMs + next.everyMs
      this.fired++
      next.work()
    }
    this.#nowMs = end
  }

  /** Until what was begun waits for a timer. */
  async #rest(): Promise<void> {
    for (let i = 0; i < 6; i++) await new Promise((resolve) => real.setImmediate(resolve))
    for (let waited = 0; waited < patienceMs && isOnItsWay(); waited++)
      await new Promise((resolve) => real.setTimeout(resolve, 1))
  }

  #handle(timer: Timer, everyMs: number): object {
    const handle = {
      timer,
      ref: () => handle,
      unref: () => handle,
      hasRef: () => true,
      refresh: () => {
        timer.at = this.#nowMs + everyMs
        this.#timers.add(timer)
        return handle
      },
    }
    return handle
  }
}

function isOnItsWay(): boolean {
  return process.getActiveResourcesInfo().some((name) => name.startsWith('TCP'))
}
