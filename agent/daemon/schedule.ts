/**
 * When the reconciler's next turn is. Marks are made at any time; one waiter sleeps until the earliest of them.
 *
 * Audits: from time to time (max(30 s, 100 × the last one's duration)), soon after somebody else touched what is ours
 * (50 ms later, so that a burst is one audit), and again after failures. What somebody touches once or twice is looked at at
 * once; from then on max(500 ms, 3 × duration) passes between two such audits, so that two daemons that fight over an object
 * cost little. Facts: 30 ms after the host changed, at least 100 ms apart. And a turn every 10 s whatever happens, because
 * the watchdog is fed by turns. An audit for drift looks at what may have drifted; it stands for no other.
 */
import { drifts } from '../kernel/port.ts'
import type { Drift } from '../kernel/port.ts'

const periodMs = 30_000
const debounceMs = 50
const apartMs = 500
const factsDebounceMs = 30
const factsApartMs = 100
const heartbeatMs = 10_000

export class Schedule {
  readonly #random: () => number
  #periodAt = 0
  #driftAt = Infinity
  #isDrift = false
  /** Of the audit that is due. */
  #drift: Drift = 'rules'
  /** Of the audit that runs. */
  #scope: Drift = 'objects'
  /** When the audits for drift so far, each worth its pause, are forgotten. */
  #restedAt = -Infinity
  #pauseMs = apartMs
  #retryAt = Infinity
  #factsAt = 0
  #factsDoneAt = -Infinity
  #beatAt = 0
  #isRoused = false
  #wake: (() => void) | undefined

  constructor(random: () => number) {
    this.#random = random
  }

  get auditDue(): boolean {
    return performance.now() >= Math.min(this.#periodAt, this.#driftAt, this.#retryAt)
  }

  get factsDue(): boolean {
    return performance.now() >= this.#factsAt
  }

  /** Somebody else changed an object of ours. */
  drifted(drift: Drift = 'objects'): void {
    if (drifts.indexOf(drift) > drifts.indexOf(this.#drift)) this.#drift = drift
    if (this.#driftAt !== Infinity) return
    this.#driftAt = Math.max(performance.now() + debounceMs, this.#restedAt - this.#pauseMs)
    this.#wake?.()
  }

  /** The host changed. */
  hostChanged(): void {
    if (this.#factsAt !== Infinity) return
    this.#factsAt = Math.max(performance.now() + factsDebounceMs, this.#factsDoneAt + factsApartMs)
    this.#wake?.()
  }

  factsDone(): void {
    this.#factsAt = Infinity
    this.#factsDoneAt = performance.now()
  }

  /** An audit as soon as may be. */
  auditNow(): void {
    this.#periodAt = 0
    this.rouse()
  }

  retryIn(ms: number): void {
    this.#retryAt = Math.min(this.#retryAt, performance.now() + ms)
  }

  /** The audit that runs was called for by somebody's change. */
  get isDrift(): boolean {
    return this.#isDrift
  }

  /** What the audit that runs is to look at. */
  get scope(): Drift {
    return this.#scope
  }

  /** Takes the marks that the audit about to begin answers. */
  auditBegins(): void {
    const now = performance.now()
    this.#isDrift = now >= this.#driftAt
    this.#scope = this.#isDrift && now < Math.min(this.#periodAt, this.#retryAt) ? this.#drift : 'objects'
    this.#drift = 'rules'
    this.#driftAt = Infinity
    this.#retryAt = Infinity
  }

  /** `ms`: how long it took. */
  auditDone(ms: number): void {
    const now = performance.now()
    this.#pauseMs = Math.max(apartMs, 3 * ms)
    if (this.#isDrift) this.#restedAt = Math.max(now, this.#restedAt) + this.#pauseMs
    if (this.#scope !== 'objects') return
    // A tenth of jitter, so that a fleet restarted together does not stay in step.
    this.#periodAt = now + Math.max(periodMs, 100 * ms) * (0.95 + this.#random() / 10)
  }

  /** A turn now, or as soon as the one that runs is over. */
  rouse(): void {
    this.#isRoused = true
    this.#wake?.()
  }

  /** Resolves when a turn is due. `audits`: whether audits count yet. */
  async due(signal: AbortSignal, audits: boolean): Promise<void> {
    while (!signal.aborted && !this.#isRoused) {
      const now = performance.now()
      const auditAt = audits ? Math.min(this.#periodAt, this.#driftAt, this.#retryAt) : this.#retryAt
      const at = Math.min(auditAt, this.#factsAt, this.#beatAt)
      if (now >= at) break
      await this.#sleep(at - now, signal)
    }
    this.#isRoused = false
    const now = performance.now()
    // The heartbeat looks at the host, too: that is its check that netlink answers.
    if (now >= this.#beatAt) this.#factsAt = Math.min(this.#factsAt, now)
    this.#beatAt = now + heartbeatMs
    if (!audits && now >= this.#retryAt) this.#retryAt = Infinity
  }

  #sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', end)
        this.#wake = undefined
        resolve()
      }
      const timer = setTimeout(end, ms)
      signal.addEventListener('abort', end, { once: true })
      this.#wake = end
    })
  }
}
