/**
 * The longest stall of the event loop while the reconciler works. Node's own histogram counts the pause between two turns
 * as a stall, and a timer that never rests would wake an idle agent a hundred times a second; so this one runs by turns.
 */

const resolutionMs = 10

export class Stall {
  #timer: NodeJS.Timeout | undefined
  #last = 0
  #maxMs = 0

  begin(): void {
    this.#last = performance.now()
    this.#timer ??= setInterval(() => {
      this.#look(resolutionMs)
    }, resolutionMs).unref()
  }

  end(): void {
    this.#look(0)
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** Longest so far, in seconds. */
  get maxSeconds(): number {
    return this.#maxMs / 1000
  }

  #look(dueMs: number): void {
    const now = performance.now()
    this.#maxMs = Math.max(this.#maxMs, now - this.#last - dueMs)
    this.#last = now
  }
}
