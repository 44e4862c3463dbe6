/**
 * What a path is good for, from what is known of it. Pure: the probe thread decides up, silent and down (native/
 * probe-path.c), and damps flapping; here the rest is weighed: loss and latency against thresholds, what the far gateway
 * says of itself, and the age of the WireGuard handshake where the probe port is blocked.
 *
 * A report moves a Quality on (`measure`), and a Verdict follows from it and the evidence (`judge`).
 */
import type { PathDemands } from '../model/fabric.ts'
import { standings } from '../model/path-state.ts'
import type { Standing } from '../model/path-state.ts'
import type { ProbeState, Word } from './port.ts'

export interface Thresholds {
  /** Share of probes lost above which a path is degraded: 0-1. */
  readonly loss: number
  /** Smoothed round trip in ms above which it is; absent: none is too long. */
  readonly latencyMs?: number
}

export function thresholdsOf({ lossPercent = 10, latencyMs }: PathDemands = {}): Thresholds {
  return { loss: lossPercent / 100, ...(latencyMs === undefined ? {} : { latencyMs }) }
}

/** Reports in a row until a path counts as degraded, and until it no longer does. */
export const reportsUntil = { degraded: 3, well: 10 } as const
/** Back below these parts of the threshold it is well. */
const relief = { loss: 0.5, latency: 0.9 } as const
/**
 * Probes that smoothed loss looks back on: some ten seconds of the default profile, and a minute. Ten seconds of a path that
 * loses 5 % look like 10 % every few minutes, which is no reason to leave it and to come back.
 */
const memory = { quick: 50, steady: 300 } as const
/** Ten seconds so much above the threshold are no accident. */
const beyondAccident = 0.1
/** A handshake younger than this proves both ends (WireGuard rejects after 180 s: REJECT_AFTER_TIME). */
export const handshakeFreshMs = 180_000

/** What one report says of a path. */
export interface Measurement {
  readonly answered: number
  readonly unanswered: number
  readonly late: number
  readonly rttMs: number
}

interface Fault {
  readonly present: boolean
  /** Reports in a row that say otherwise. */
  readonly against: number
}

export interface Quality {
  /** Smoothed over ten seconds or so: 0-1. */
  readonly loss: number
  /** Over a minute or so. */
  readonly steadyLoss: number
  readonly rttMs: number
  readonly lossy: Fault
  readonly slow: Fault
}

const none: Fault = { present: false, against: 0 }
export const unmeasured: Quality = { loss: 0, steadyLoss: 0, rttMs: 0, lossy: none, slow: none }

/** The quality after one more report. A report without a decided probe changes nothing. */
export function measure(quality: Quality, report: Measurement, thresholds: Thresholds): Quality {
  // A late answer was counted as unanswered before, perhaps in the report before.
  const lost = Math.max(0, report.unanswered - report.late)
  const decided = report.answered + lost
  if (decided === 0) return quality
  const smoothed = (before: number, over: number): number =>
    before + (lost / decided - before) * (1 - Math.exp(-decided / over))
  const loss = smoothed(quality.loss, memory.quick)
  const steadyLoss = smoothed(quality.steadyLoss, memory.steady)
  const rttMs = report.answered > 0 ? report.rttMs : quality.rttMs
  const limitMs = thresholds.latencyMs ?? Number.POSITIVE_INFINITY
  const isLossy = steadyLoss > thresholds.loss || loss > thresholds.loss + beyondAccident
  const isWhole = Math.max(loss, steadyLoss) <= thresholds.loss * relief.loss
  return {
    loss,
    steadyLoss,
    rttMs,
    lossy: follow(quality.lossy, isLossy, isWhole),
    slow: follow(quality.slow, rttMs > limitMs, rttMs <= limitMs * relief.latency),
  }
}

function follow(fault: Fault, isBad: boolean, isWell: boolean): Fault {
  const contrary = fault.present ? isWell : isBad
  const against = contrary ? fault.against + 1 : 0
  const turns = against >= (fault.present ? reportsUntil.well : reportsUntil.degraded)
  return turns ? { present: !fault.present, against: 0 } : { present: fault.present, against }
}

export interface Evidence {
  readonly probe: ProbeState
  /** True once any probe of this path was answered. */
  readonly everAnswered: boolean
  /** Of the peer's last handshake, in ms; absent: there was none. */
  readonly handshakeAgeMs?: number
  readonly word?: Word
}

export type PathCondition = 'unknown' | 'up' | 'degraded' | 'silent' | 'down'

export interface Verdict {
  readonly condition: PathCondition
  readonly standing: Standing
  /** Why it is not simply up, for people; the weightiest first. */
  readonly reasons: readonly string[]
  /** The probe port seems to be blocked: the handshake stands in for probes. */
  readonly blocked: boolean
}

export function judge(evidence: Evidence, quality: Quality): Verdict {
  const { word } = evidence
  const blocked = isBlocked(evidence)
  const found: { readonly standing: Standing; readonly reason: string }[] = []
  const note = (standing: Standing, reason: string): void => {
    found.push({ standing, reason })
  }
  const probe = !blocked ? evidence.probe : evidence.probe === 'silent' ? 'up' : 'silent'
  if (probe === 'down') note('down', 'neither probes nor echo requests are answered')
  if (word?.notForwarding === true) note('not-forwarding', 'it says that it does not forward')
  if (word?.returning === true) note('not-forwarding', 'for it this path is down, or was until a moment ago')
  if (word?.draining === true) note('draining', 'it is being drained')
  if (probe === 'silent' && !blocked) note('silent', 'its agent is silent, its kernel answers')
  const loss = Math.max(quality.loss, quality.steadyLoss)
  if (quality.lossy.present) note('degraded', `${(loss * 100).toFixed()} % of probes are lost`)
  if (quality.slow.present) note('degraded', `round trips take ${quality.rttMs.toFixed()} ms`)
  if (blocked) {
    const age = ((evidence.handshakeAgeMs ?? 0) / 1000).toFixed()
    const who = probe === 'up' ? 'the probe port is' : 'probes and echo requests are'
    note(probe === 'up' ? 'fit' : 'silent', `${who} blocked; the last handshake was ${age} s ago`)
  }
  const degraded = found.some(({ standing }) => standing === 'degraded')
  return {
    condition: probe === 'up' && degraded ? 'degraded' : probe,
    standing: found.reduce<Standing>((worst, one) => worseOf(worst, one.standing), 'fit'),
    reasons: found.map(({ reason }) => reason),
    blocked,
  }
}

function worseOf(one: Standing, other: Standing): Standing {
  return standings.indexOf(one) < standings.indexOf(other) ? other : one
}

/**
 * WireGuard shakes hands, and no probe was ever answered: a filter, not a failure. Where not even echo requests are, it may
 * be a failure all the same, and any path that answers is better.
 */
function isBlocked({ probe, everAnswered, handshakeAgeMs }: Evidence): boolean {
  const isMute = probe === 'silent' || probe === 'down'
  return isMute && !everAnswered && handshakeAgeMs !== undefined && handshakeAgeMs < handshakeFreshMs
}
