/**
 * The longest stall of the event loop while the reconciler works. The histogram's timer fires every 10 ms, so it runs only
 * during turns: an idle agent must not wake a hundred times a second to find that it is idle.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'

const resolutionMs = 10

export class Stall {
  readonly #histogram = monitorEventLoopDelay({ resolution: resolutionMs })

  begin(): void {
    this.#histogram.enable()
  }

  end(): void {
    this.#histogram.disable()
  }

  /** Longest so far, in seconds; the timer's own period is not counted. */
  get maxSeconds(): number {
    return Math.max(0, this.#histogram.max / 1e9 - resolutionMs / 1000)
  }
}
