/**
 * An event some time before our own certificate ends, and again as the end comes near: who reads logs and not `status` is to
 * know of it, too. Each is told once; a renewed certificate begins anew.
 */
import type { Document } from '../model/document.ts'
import type { Moment } from '../trust/moment.ts'
import type { Events } from './event.ts'

const dayMs = 86_400_000
/** Days before the end. */
const thresholds = [1, 7, 30]

export class ExpiryTelling {
  readonly #events: Events
  #serial: number | undefined
  /** The nearest to the end that was told. */
  #told = Infinity

  constructor(events: Events) {
    this.#events = events
  }

  /** `certificate`: our own in force. */
  tell(certificate: Document | undefined, { sureMs }: Moment): void {
    if (certificate?.type !== 'certificate') return
    const { gateway, serial, notBefore, notAfter } = certificate.payload
    if (serial !== this.#serial) this.#told = Infinity
    this.#serial = serial
    const leftMs = notAfter - sureMs
    // One that is short-lived by intent is not near its end from the beginning.
    const crossed = thresholds.find((days) => leftMs < days * dayMs && days * dayMs < notAfter - notBefore)
    if (crossed === undefined || crossed >= this.#told || leftMs < 0) return
    this.#told = crossed
    this.#events.emit(crossed === 1 ? 'error' : 'warning', 'certificate-expires', {
      days: Math.floor(leftMs / dayMs),
      notAfter: new Date(notAfter).toISOString(),
      next: `linkspan ca renew ${gateway}`,
    })
  }
}
