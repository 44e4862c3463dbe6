/**
 * Time as documents are judged by it. A clock can be wrong, so there are two readings of it: what is surely past, for what
 * expires, and what may be past already, for what begins. daemon/clock.ts makes them; the rules only compare.
 */
import type { Certificate, Fabric } from '../model/fabric.ts'

export interface Moment {
  /** Unix ms that are surely past. */
  readonly sureMs: number
  /** Unix ms that may be past; never less than `sureMs`. */
  readonly likelyMs: number
}

/** Two clocks may differ by this much, in ms. */
export const graceMs = 3_600_000

/** Of a clock that is right. `nowMs`: Unix. */
export function momentOf(nowMs: number): Moment {
  return { sureMs: nowMs, likelyMs: nowMs }
}

export type Validity = 'valid' | 'early' | 'expired'

export function validityOf({ notBefore, notAfter }: Certificate, { sureMs, likelyMs }: Moment): Validity {
  if (notAfter + graceMs < sureMs) return 'expired'
  return notBefore - graceMs > likelyMs ? 'early' : 'valid'
}

/** True where the fabric document should have been renewed: then no unknown gateway is let in. */
export function isStale({ freshUntil }: Fabric, { sureMs }: Moment): boolean {
  return freshUntil + graceMs < sureMs
}
