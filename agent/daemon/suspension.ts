/**
 * Was this process stopped? After SIGSTOP, a paused VM or a starved host, a plan made before may be hours old although no
 * news of it has been read yet. A timer beats; a beat that is long overdue tells of the gap before anything else can.
 */

const beatMs = 500
const overdueMs = 3000

export class Suspension {
  #beatAt: number | undefined

  /** Begins to beat; answers what ends it. */
  start(): () => void {
    this.#beatAt = performance.now()
    const timer = setInterval(() => {
      this.#beatAt = performance.now()
    }, beatMs)
    timer.unref()
    return () => {
      clearInterval(timer)
      this.#beatAt = undefined
    }
  }

  /** For how long the process just stood still, in ms; 0: it did not. */
  stoppedMs(): number {
    if (this.#beatAt === undefined) return 0
    const gap = performance.now() - this.#beatAt
    return gap > overdueMs ? gap : 0
  }
}
