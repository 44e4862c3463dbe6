/**
 * Which packets a path carries: packetization-layer path MTU discovery (RFC 8899) of one path, in the RFC's words. Pure: the
 * probe thread asks (native/probe-trial.c), this says what is asked next and what follows from an answer.
 *
 *             answered                        lost                      answered
 *   COMPLETE ─────────▶ again after mtuMs      ├─▶ BASE ─────────▶ SEARCH ─────────▶ ... ─▶ raised, COMPLETE
 *      │                                       │    │ lost                 (halving what is left)
 *      └───────────────────────────────────────┘    └─▶ the next smaller base ─▶ ERROR: not even the smallest passes
 *
 * Unlike the RFC's it begins with the end: a path carries what documents say (MAX_PLPMTU) until a trial of that size is
 * lost, since nearly all do, and traffic must not wait. CONFIRMATION_TIMER is `probe.mtuMs`. What is lost puts the MTU at once
 * to the base, and the search that follows raises it once, at its end, after several answers in a row. A path that was
 * lowered is asked for more every PMTU_RAISE_TIMER, sixty times as long.
 *
 * A false alarm needs every packet of a trial lost by chance. There are as many as make that less likely than one in five
 * million, for the loss that was measured and some more: 12 packets at 20 % loss (0.2^12: one trial in 240 million).
 */
import { largestTrial } from './port.ts'
import type { TrialVerdict } from './port.ts'

export type MtuPhase = 'base' | 'search' | 'complete' | 'error'

/** Sizes are bytes of the whole inner IP packet, times are ms of any clock that never goes back. */
export interface PathMtu {
  readonly phase: MtuPhase
  /** MAX_PLPMTU: what documents give, as far as it can be asked about. */
  readonly max: number
  /** PLPMTU: what may be sent. */
  readonly plpmtu: number
  /** Of a search: the largest that was answered, and the smallest that was lost (infinite: none yet). */
  readonly low: number
  readonly high: number
  /** Answers of `low` in a row. */
  readonly proofs: number
  /** The last trial's number. */
  readonly trial: number
  /** The trial under way. */
  readonly asked?: { readonly size: number; readonly sinceMs: number } | undefined
  /** In a row. */
  readonly voids: number
  readonly dueMs: number
  readonly raiseMs: number
}

/** CONFIRMATION_TIMER where the fabric document says nothing. */
export const usualMtuMs = 10_000
/** PMTU_RAISE_TIMER is so many times the confirmation timer. */
export const raiseFactor = 60
/** BASE_PLPMTU: what IPv6 demands, then what is left of 1280 bytes outside, and then ever less. */
const bases = [1280, 1200, 1024, 768, 576] as const
export const smallest = 576
/** WireGuard fills packets up to 16 bytes, so there is nothing between. */
export const step = 16
/** Between the base and a jumbo frame lies what 1500 bytes outside carry in any case. */
const plateau = { size: 1408, above: 1600 } as const
/** Before an MTU goes up: answers in a row, and ms in between. */
export const raiseAfter = { answers: 3, everyMs: 1000 } as const
/** After a trial without a verdict, in ms; doubled each time, at most the confirmation timer. */
const againMs = 1000

export function beginMtu(
  documents: number,
  found: number | undefined,
  confirmMs: number,
  nowMs: number,
): PathMtu {
  const max = Math.min(documents, largestTrial)
  const plpmtu = Math.min(max, found ?? max)
  return {
    phase: 'complete',
    max,
    plpmtu,
    low: plpmtu,
    high: Infinity,
    proofs: 0,
    trial: 0,
    voids: 0,
    dueMs: nowMs,
    raiseMs: nowMs + raiseFactor * confirmMs,
  }
}

/** The path is another, or was down: what holds is asked for at once, and then more. */
export function anewMtu(mtu: PathMtu, nowMs: number): PathMtu {
  return { ...mtu, asked: undefined, voids: 0, dueMs: nowMs, raiseMs: nowMs }
}

/** Documents say otherwise. Where the path carried all they gave, it is taken to carry all that they give now. */
export function withDocuments(mtu: PathMtu, documents: number, confirmMs: number, nowMs: number): PathMtu {
  const { plpmtu, max, trial } = mtu
  if (Math.min(documents, largestTrial) === max) return mtu
  const found = plpmtu < max ? plpmtu : undefined
  return { ...beginMtu(documents, found, confirmMs, nowMs), trial, raiseMs: nowMs }
}

/** The MTU where it is less than documents say. */
export function foundMtu({ plpmtu, max }: PathMtu): number | undefined {
  return plpmtu < max ? plpmtu : undefined
}

/** A trial is under way, or due at that time. `patienceMs`: without a verdict for so long it is given up. */
export function dueMs({ asked, dueMs }: PathMtu, patienceMs: number): number {
  return asked === undefined ? dueMs : asked.sinceMs + patienceMs
}

/** The next trial begins. */
export function askMtu(mtu: PathMtu, nowMs: number): PathMtu & { readonly asked: { readonly size: number } } {
  return { ...mtu, trial: mtu.trial + 1, asked: { size: sizeOf(mtu), sinceMs: nowMs } }
}

function sizeOf(mtu: PathMtu): number {
  return mtu.phase === 'search' ? (candidate(mtu) ?? mtu.low) : mtu.plpmtu
}

/** What may still pass, between what did and what did not. */
function candidate({ low, high, max }: PathMtu): number | undefined {
  if (high === Infinity) return low < max ? max : undefined
  if (high > plateau.above && low < plateau.size) return plateau.size
  const half = Math.floor((low + high) / 2 / step) * step
  const next = half > low ? half : (Math.floor(low / step) + 1) * step
  return next < high ? next : undefined
}

/** After a verdict; the same object where it is none of the trial under way. */
export function judgeMtu(
  mtu: PathMtu,
  trial: number,
  verdict: TrialVerdict,
  confirmMs: number,
  nowMs: number,
): PathMtu {
  const { asked } = mtu
  if (asked === undefined || trial !== mtu.trial) return mtu
  const done = { ...mtu, asked: undefined, dueMs: nowMs }
  // An audit puts our device right; to ask for more than it takes is another matter.
  if (verdict === 'void' || (verdict === 'too-big' && mtu.phase !== 'search')) {
    return { ...done, voids: mtu.voids + 1, dueMs: nowMs + Math.min(againMs * 2 ** mtu.voids, confirmMs) }
  }
  const next = { ...done, voids: 0 }
  return verdict === 'answered'
    ? answered(next, asked.size, confirmMs, nowMs)
    : lost(next, asked.size, confirmMs, nowMs)
}

function answered(mtu: PathMtu, size: number, confirmMs: number, nowMs: number): PathMtu {
  switch (mtu.phase) {
    case 'complete':
      return mtu.plpmtu < mtu.max && nowMs >= mtu.raiseMs
        ? { ...mtu, phase: 'search', low: size, high: Infinity, proofs: 0 }
        : { ...mtu, dueMs: nowMs + confirmMs }
    case 'base':
      return settle({ ...mtu, phase: 'search', low: size, proofs: 0 }, confirmMs, nowMs)
    case 'error':
      // What was lost then says nothing: hardly anything got through.
      return { ...mtu, phase: 'search', low: size, high: Infinity, proofs: 0 }
    case 'search': {
      const proofs = size === mtu.low ? mtu.proofs + 1 : 1
      return settle({ ...mtu, low: size, proofs }, confirmMs, nowMs)
    }
  }
}

function lost(mtu: PathMtu, size: number, confirmMs: number, nowMs: number): PathMtu {
  if (mtu.phase === 'search' && size > mtu.plpmtu) {
    // Of what was answered before only what is in force is still believed.
    const low = size > mtu.low ? mtu.low : mtu.plpmtu
    return settle({ ...mtu, low, high: size, proofs: 0 }, confirmMs, nowMs)
  }
  const base = bases.find((one) => one < size)
  if (base === undefined) return { ...mtu, phase: 'error', high: size, dueMs: nowMs + confirmMs }
  return { ...mtu, phase: 'base', plpmtu: base, high: size, proofs: 0 }
}

/** The end of a search, if it is. */
function settle(mtu: PathMtu, confirmMs: number, nowMs: number): PathMtu {
  if (candidate(mtu) !== undefined) return mtu
  const isMore = mtu.low > mtu.plpmtu
  if (isMore && mtu.proofs < raiseAfter.answers) return { ...mtu, dueMs: nowMs + raiseAfter.everyMs }
  // What is in force was not asked for in all that time.
  const due = isMore ? nowMs + confirmMs : nowMs
  return { ...mtu, phase: 'complete', plpmtu: mtu.low, dueMs: due, raiseMs: nowMs + raiseFactor * confirmMs }
}

/** Chance that a trial may be lost by accident. */
const accident = 2e-7
/** Of the measured loss it may be that much too little; of a path that is new nothing is known. */
const doubt = 0.05
const unknownLoss = 0.2
const most = 24

/**
 * Packets of the next trial. `loss`: measured on the path, 0 to 1; undefined while too little is known. In a search it is
 * half as many: a size that is missed there is asked for again.
 */
export function triesOf({ phase }: PathMtu, loss: number | undefined): number {
  const chance = Math.min(0.5, (loss ?? unknownLoss) + doubt)
  const tries = Math.ceil(Math.log(accident) / Math.log(chance))
  return Math.min(most, phase === 'search' ? Math.ceil(tries / 2) : tries)
}

/** Why it is less than documents say; undefined where it is not. */
export function lowReason(mtu: PathMtu): string | undefined {
  const { phase, plpmtu, max, high } = mtu
  if (plpmtu >= max) return undefined
  const tail = plpmtu < bases[0] ? '; of IPv6 only TCP passes, since IPv6 packets may have 1280 bytes' : ''
  if (phase === 'error') return `not even packets of ${smallest} bytes get through`
  if (phase === 'complete' || high === Infinity) {
    return `packets of more than ${plpmtu} bytes get lost on the way, documents say ${max}${tail}`
  }
  return `packets of ${Math.min(high, max)} bytes get lost on the way; it is tried what passes${tail}`
}
