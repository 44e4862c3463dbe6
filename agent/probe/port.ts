/**
 * Probing as the daemon sees it. The engine measures paths on a thread of its own (native/probe.h) and says what changed;
 * what that means for a gateway is state.ts.
 */
import type { Address } from '../model/prefix.ts'

/**
 * `up`: the far agent answers. `silent`: it does not, but its kernel answers echo requests, so it still forwards. `down`:
 * neither. `unknown`: nothing has been decided since the path was named.
 */
export type ProbeState = 'unknown' | 'up' | 'silent' | 'down'

/**
 * Why a path is in its state. `unsent`: our own host could not send (the device is gone or down, a local rule refuses).
 */
export type ProbeCause = 'none' | 'answered' | 'unanswered' | 'echo-only' | 'unsent'

/** What a gateway says of itself in every probe and every answer. */
export interface Word {
  readonly draining: boolean
  readonly notForwarding: boolean
  /** 0-65535. */
  readonly weight: number
  /** Of the fabric document it goes by. What is larger than a safe integer is read as the largest one. */
  readonly serial: number
  /** Of this path, and only in what the far end says: for it the path is down, or was until a moment ago. */
  readonly returning?: true
}

/** Times in ms, all at least 1; counts at least 1. */
export interface ProbeProfile {
  readonly intervalMs: number
  /** After an unanswered probe; also the least time an answer may take (else 1.5 times the smoothed round trip). */
  readonly retryMs: number
  /** Unanswered probes in a row: 1-10000. */
  readonly downAfter: number
  /** An echo request goes along with probes after so many unanswered ones. Default: half of `downAfter`, rounded up, at most 5. */
  readonly echoAfter?: number
  /** Answers in a row before a path that was down is up again. Default 5. */
  readonly returnAfter?: number
  /** And so long since its first answer; doubled each time it goes down within a minute of coming back. Default 1000. */
  readonly holdMs?: number
  /** Where the doubling ends. Default 60000, or `holdMs` where that is more. */
  readonly holdLimitMs?: number
}

export interface ProbedPath {
  /** Any text, unique. */
  readonly id: string
  /** Name of the device to leave by; it need not exist yet. 1-15 characters. */
  readonly device: string
  /** The far end inside the tunnel: link-local, or IPv4 where the host has no IPv6. */
  readonly address: Address
  readonly profile: ProbeProfile
}

export interface PathNews {
  readonly id: string
  readonly state: ProbeState
  readonly cause: ProbeCause
  /** Since when it is in this state, on the clock of process.hrtime(), in ms. */
  readonly sinceMs: number
  /** Changes of state so far: more than one more than last time, and it came and went unseen. */
  readonly changes: number
  /** The far end's, once it has been heard. */
  readonly word?: Word
}

/** A question of size: do packets of so many bytes, inner IP header and all, pass there and back? */
export interface SizeTrial {
  /** Of the path. */
  readonly id: string
  /** 1 and more; names the verdict. Each path's own count. */
  readonly trial: number
  readonly size: number
  /** Packets, one after the other until one is answered: 1-24. */
  readonly tries: number
}

/** The largest packet that can be asked about, in bytes: with more a reflector's answer would not leave whole. */
export const largestTrial = 9216

/**
 * `lost`: none of them was answered, while most ordinary probes of that time were. `too-big`: larger than our own device
 * takes. `void`: nothing follows, e.g. as the path is not up.
 */
export type TrialVerdict = 'answered' | 'lost' | 'too-big' | 'void'

/** Columns of a report; times in ms. Of nothing measured: 0. */
export const reportColumn = {
  /** When the last answer came, on the clock of process.hrtime(); 0: never. */
  lastSeenMs: 10,
  sent: 11,
  answered: 12,
  /** Counted as unanswered... */
  unanswered: 13,
  /** ...and answered after all (part of `answered`). */
  late: 14,
  /** Round trips since the last report, at most the last 64. */
  rttMinMs: 15,
  rttMeanMs: 16,
  rttP95Ms: 17,
  /** RFC 3550, smoothed over 16. */
  jitterMs: 18,
  /** Smoothed over 8. */
  rttMs: 19,
} as const
export type ReportColumn = keyof typeof reportColumn

/** All paths. Rows are read in place: nothing is made per path. */
export interface Report {
  readonly rows: number
  /** Undefined: no longer asked for. */
  idOf(row: number): string | undefined
  value(row: number, column: ReportColumn): number
  newsOf(row: number): PathNews | undefined
}

/** Since the start. */
export interface ProbeCounters {
  readonly reflected: number
  /** Questions without an answer: too short or too long; from nowhere that may ask; above the rate. */
  readonly malformed: number
  readonly refused: number
  readonly limited: number
  /** Answers to nothing that was asked. */
  readonly unmatched: number
  readonly sent: number
  readonly unsent: number
  readonly echoSent: number
  /** No permission, or no way out: an agent that is silent cannot be told from a gateway that is down. */
  readonly echoUnsent: number
  /** Devices whose sockets could not be opened, tries counted, and the last errno (98: the port is taken). */
  readonly socketErrors: number
  readonly lastErrno: number
  readonly wakeups: number
  /** Processor time of the thread, as of the last second. */
  readonly cpuMs: number
  /** Packets of trials; no other counter has them. */
  readonly tries: number
}

export interface ProbeEngine {
  /** All paths there are to be. A path that was there and has the same device and address keeps its state. */
  setPaths(paths: readonly ProbedPath[]): void
  /** More trials, of paths that are up; one at a time of each, a new one ends the one before. */
  ask(trials: readonly SizeTrial[]): void
  /** Holds for the next packet. */
  setWord(word: Word): void
  counters(): ProbeCounters
  /** No callback comes after it. */
  stop(): void
}

export interface ProbeEvents {
  /** State or word of a path changed. Of several changes while the main thread was busy the last one is told. */
  onChange(news: PathNews): void
  /** The last one asked of a path was decided; one that was ended before, or whose path is gone, never is. */
  onVerdict?(id: string, trial: number, verdict: TrialVerdict): void
  /**
   * Once a second while a path is up or answers, and once after; less often, and covering more, while the main thread is
   * busy.
   */
  onReport(report: Report): void
}
