/**
 * When the reconciler's next turn is. Marks are made at any time; one waiter sleeps until the earliest of them.
 *
 * Audits: from time to time (max(30 s, 100 × the last one's duration)), soon after somebody else touched what is ours
 * (50 ms later, so that a burst is one audit; at least max(500 ms, 3 × duration) apart, so that two daemons that fight
 * over an object cost little), and again after failures.
 */

const periodMs = 30_000
const debounceMs = 50
const apartMs = 500
/** A turn at least this often: the watchdog is fed by turns. */
const heartbeatMs = 10_000

export class Schedule {
  factsDue = false
  readonly #random: () => number
  #auditAt = 0
  #driftAt: number | undefined
  #retryAt: number | undefined
  #beatAt = 0
  #lastAudit = { ended: -Infinity, ms: 0 }
  #wake: (() => void) | undefined

  constructor(random: () => number) {
    this.#random = random
  }

  get auditDue(): boolean {
    const now = performance.now()
    return now >= this.#auditAt || now >= (this.#driftAt ?? Infinity) || now >= (this.#retryAt ?? Infinity)
  }

  /** Somebody else changed an object of ours. */
  drifted(): void {
    const apart = this.#lastAudit.ended + Math.max(apartMs, 3 * this.#lastAudit.ms)
    this.#driftAt ??= Math.max(performance.now() + debounceMs, apart)
  }

  /** An audit as soon as may be. */
  auditNow(): void {
    this.#auditAt = 0
    this.rouse()
  }

  retryIn(ms: number): void {
    this.#retryAt = Math.min(this.#retryAt ?? Infinity, performance.now() + ms)
  }

  /** Takes the marks that the audit about to begin answers. */
  auditBegins(): void {
    this.#driftAt = undefined
    this.#retryAt = undefined
  }

  /** `ms`: how long it took; 0: there was nothing to audit yet. */
  auditDone(ms: number): void {
    const now = performance.now()
    this.#lastAudit = { ended: now, ms }
    // A tenth of jitter, so that a fleet restarted together does not stay in step.
    this.#auditAt = now + Math.max(periodMs, 100 * ms) * (0.95 + this.#random() / 10)
    if (ms === 0) this.#retryAt = undefined
  }

  rouse(): void {
    this.#wake?.()
  }

  /** Resolves when a turn is due: at once if `more()`, facts, an audit; else at the next of all times. */
  async due(signal: AbortSignal, more: () => boolean): Promise<void> {
    while (!signal.aborted) {
      const now = performance.now()
      if (more() || this.factsDue || this.auditDue || now >= this.#beatAt) break
      const at = Math.min(this.#auditAt, this.#driftAt ?? Infinity, this.#retryAt ?? Infinity, this.#beatAt)
      await this.pause(at - now, signal)
    }
    this.#beatAt = performance.now() + heartbeatMs
  }

  /** Sleeps, but not through rouse() or an abort. */
  pause(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', end)
        this.#wake = undefined
        resolve()
      }
      const timer = setTimeout(end, Math.max(0, ms))
      signal.addEventListener('abort', end, { once: true })
      this.#wake = end
      if (signal.aborted) end()
    })
  }
}
