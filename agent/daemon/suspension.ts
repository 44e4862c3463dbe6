/**
 * Was this process stopped? After SIGSTOP, a paused VM or a starved host, a plan made before may be hours old although no
 * news of it has been read yet. A timer beats; a beat that is long overdue tells of the gap before anything else can.
 */
import { onceASecond } from './once-a-second.ts'

const overdueMs = 3000

export class Suspension {
  #beatAt: number | undefined

  /** Begins to beat; answers what ends it. */
  start(): () => void {
    this.#beatAt = performance.now()
    const end = onceASecond(() => {
      this.#beatAt = performance.now()
    })
    return () => {
      end()
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
