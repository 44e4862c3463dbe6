/**
 * What a path's measurements mean for traffic. Pure: measurements in, standing and reason out.
 *
 * `down` and `silent` come from the engine, which decides on its own thread. On top of these: a path that answers is unfit
 * while it loses or delays too much, with hysteresis, so that one that sits at a threshold does not flap; and while the far
 * gateway says that it drains or does not forward. A path on which no probe was ever answered, though its tunnel shakes
 * hands, is one where something on the way in blocks probes: then the age of the handshake is all there is to go by.
 */
import type { Standing } from '../model/path-state.ts'
import type { ProbeState, Word } from './port.ts'

/** A handshake this old, in seconds, is a tunnel that is gone: WireGuard rejects its keys (REJECT_AFTER_TIME). */
export const handshakeSeconds = 180

export interface Thresholds {
  /** Share of probes that may be lost, 0 to 1. */
  readonly loss: number
  /** Smoothed round trip in ms. */
  readonly rttMs: number
}

/** More than a tenth lost is worse than another underlay ever is; how long a path is, is nobody's fault. */
export const usualThresholds: Thresholds = { loss: 0.1, rttMs: Infinity }

/** What falls to this share of a threshold is well again. */
const recovered = 0.5

export interface Measured {
  readonly state: ProbeState
  /** A probe was answered since the path was named. */
  readonly isHeard: boolean
  readonly word: Word | undefined
  /** Share of the probes of the last 10 s that were lost, 0 to 1. */
  readonly loss: number
  readonly rttMs: number
  /** Seconds since the tunnel last shook hands; undefined: never, or not known. */
  readonly handshakeAge: number | undefined
}

export type Flaw = 'loss' | 'latency' | 'agent-silent' | 'draining' | 'not-forwarding' | 'silent' | 'blocked'

export interface Verdict {
  readonly standing: Standing
  /** What is wrong with it; `blocked` goes with a path that is fit all the same. */
  readonly flaw?: Flaw
}

const fit: Verdict = { standing: 'fit' }

/** `before`: the last verdict, for hysteresis. */
export function judge(measured: Measured, before: Verdict = fit, limits = usualThresholds): Verdict {
  const { state, isHeard, word, handshakeAge } = measured
  if (state === 'unknown') return fit
  if (!isHeard && handshakeAge !== undefined && handshakeAge < handshakeSeconds) {
    return { standing: 'fit', flaw: 'blocked' }
  }
  if (state === 'down') return { standing: 'down', flaw: 'silent' }
  if (state === 'silent') return { standing: 'unfit', flaw: 'agent-silent' }
  if (word?.notForwarding === true) return { standing: 'unfit', flaw: 'not-forwarding' }
  if (word?.draining === true) return { standing: 'unfit', flaw: 'draining' }
  for (const [flaw, value, limit] of [
    ['loss', measured.loss, limits.loss],
    ['latency', measured.rttMs, limits.rttMs],
  ] as const) {
    if (value > (before.flaw === flaw ? limit * recovered : limit)) return { standing: 'unfit', flaw }
  }
  return fit
}
