/**
 * All probed paths with what is known of each, and the path state that follows. Pure but for what it remembers: news and
 * reports go in, and a new PathState comes out whenever one that plan would see differs.
 */
import type { Name, PathDemands } from '../model/fabric.ts'
import type { PublicKey } from '../model/key.ts'
import type { PathState, Standing } from '../model/path-state.ts'
import { KnownPaths, nothingRemembered, pathId } from './known-paths.ts'
import type { Remembered } from './known-paths.ts'
import type { MtuView } from './mtu-table.ts'
import type { PathNews, ProbeCause, ProbeState, Report, Word } from './port.ts'
import { handshakeFreshMs, judge, measure, thresholdsOf, unmeasured } from './state.ts'
import type { Quality, Verdict } from './state.ts'

/** A path that is to be probed. */
export interface NamedPath {
  readonly gateway: Name
  readonly site: Name
  readonly underlay: Name
  readonly device: string
  readonly times?: PathDemands
  /** Which generations of keys it goes by (model/device.ts); absent: 0. */
  readonly lane?: number
  /** Other generations lead there, too: whether this one was ever heard is part of the path state. */
  readonly contested?: boolean
  /** The peer's on that device. */
  readonly publicKey?: PublicKey | undefined
}

export interface PathEntry extends NamedPath {
  readonly state: ProbeState
  readonly cause: ProbeCause
  /** On the clock of process.hrtime(), in ms; 0: since it was named. */
  readonly sinceMs: number
  readonly word: Word | undefined
  readonly verdict: Verdict
  /** Of the last report; 0 where nothing was measured. */
  readonly quality: Quality
  readonly rttMs: number
  readonly rttMinMs: number
  readonly rttMeanMs: number
  readonly rttP95Ms: number
  readonly jitterMs: number
  readonly lastSeenMs: number
  /** What it carries; absent where that is not looked after. */
  readonly mtu?: MtuView | undefined
}

type Open = { -readonly [K in keyof PathEntry]: PathEntry[K] } & {
  isHeard: boolean
  readonly namedAtMs: number
  handshakeAgeMs: number | undefined
  rank: number
}

/** A quicker underlay must be so much quicker before it goes first: both. */
const deadBand = { ms: 5, share: 0.2 }

export class PathTable {
  #remembered: Remembered
  #entries = new Map<string, Open>()
  #state: KnownPaths

  /** `remembered`: how paths stood when an earlier run ended; it holds until there is news of them. */
  constructor(remembered: Remembered = nothingRemembered) {
    this.#remembered = remembered
    this.#state = new KnownPaths(remembered, new Map(), new Map())
  }

  /** The same object while nothing in it changed. */
  get state(): PathState {
    return this.#state
  }

  /** What the next run should know of it. */
  get memory(): Remembered {
    return this.#state
  }

  entries(): Iterable<PathEntry> {
    return this.#entries.values()
  }

  entryOf(gateway: Name, underlay: Name, lane: number): PathEntry | undefined {
    return this.#entries.get(pathId({ gateway, underlay, lane }))
  }

  entryAt(id: string): PathEntry | undefined {
    return this.#entries.get(id)
  }

  /** The paths there are from now on. `nowMs`: of any clock that never goes back. */
  name(paths: readonly NamedPath[], nowMs: number): void {
    const entries = new Map<string, Open>()
    for (const path of paths) {
      const id = pathId(path)
      const { gateway, site, underlay, device, times = {}, lane = 0, contested = false, publicKey } = path
      const entry = this.#entries.get(id) ?? newEntry(path, nowMs)
      // What came back from who had another key proves nothing of this one.
      if (entry.publicKey !== publicKey) Object.assign(entry, { isHeard: false, handshakeAgeMs: undefined })
      const named = { gateway, site, underlay, device, times, lane, contested, publicKey }
      entries.set(id, Object.assign(entry, named))
    }
    this.#entries = entries
    // Another generation may come to have the devices of one that is gone.
    const { proven } = this.#remembered
    this.#remembered = { ...this.#remembered, proven: new Map([...proven].filter(([id]) => entries.has(id))) }
    this.settle()
  }

  /** What the engine found; the entry it is about. */
  tell(news: PathNews): PathEntry | undefined {
    const entry = this.#entries.get(news.id)
    if (entry === undefined) return undefined
    // What was lost while nothing came back says nothing of the path now.
    if (news.state === 'up' && entry.state !== 'up') entry.quality = unmeasured
    entry.state = news.state
    entry.cause = news.cause
    entry.sinceMs = news.sinceMs
    entry.word = news.word ?? entry.word
    entry.isHeard ||= news.state === 'up'
    return entry
  }

  /** Takes a report in; settle() says what follows. */
  report(report: Report): void {
    for (let row = 0; row < report.rows; row++) {
      const id = report.idOf(row)
      const entry = id === undefined ? undefined : this.#entries.get(id)
      if (entry !== undefined) takeRow(entry, report, row)
    }
    this.#rank()
  }

  /** What a path was found to carry; settle() says what follows. */
  carry(id: string, mtu: MtuView): void {
    const entry = this.#entries.get(id)
    if (entry !== undefined) entry.mtu = mtu
  }

  /** ms since its tunnel last shook hands. Of a path that was down before, only a handshake since then proves anything. */
  handshake(path: NamedPath, ageMs: number | undefined, nowMs: number): void {
    const id = pathId(path)
    const entry = this.#entries.get(id)
    if (entry === undefined) return
    const isOld = this.#remembered.standings.get(id) === 'down' && (ageMs ?? 0) > nowMs - entry.namedAtMs
    entry.handshakeAgeMs = isOld ? undefined : ageMs
  }

  /** Judges all anew; those whose verdict differs, with the one before. */
  settle(): readonly { readonly entry: PathEntry; readonly before: Verdict }[] {
    const changed: { entry: PathEntry; before: Verdict }[] = []
    const standings = new Map<string, Standing>()
    const proven = new Map<string, PublicKey>()
    const mtus = new Map<string, number>()
    const ranks = new Map<string, number>()
    const weights = new Map<Name, number>()
    for (const [id, entry] of this.#entries) {
      const before = entry.verdict
      const remembered = entry.state === 'unknown' ? this.#remembered.standings.get(id) : undefined
      const verdict = remembered === undefined ? verdictOf(entry) : { ...before, standing: remembered }
      entry.verdict = verdict
      if (verdict.standing !== before.standing || verdict.blocked !== before.blocked) {
        changed.push({ entry, before })
      }
      if (verdict.standing !== 'fit') standings.set(id, verdict.standing)
      const { publicKey } = entry
      if (entry.contested === true && publicKey !== undefined && this.#isProven(id, entry)) {
        proven.set(id, publicKey)
      }
      const mtu = entry.mtu === undefined ? this.#remembered.mtus.get(id) : lowered(entry.mtu)
      if (mtu !== undefined) mtus.set(id, mtu)
      if (entry.rank > 0) ranks.set(pathId({ ...entry, lane: 0 }), entry.rank)
      if (entry.word !== undefined) weights.set(entry.gateway, entry.word.weight)
    }
    const next = new KnownPaths({ standings, proven, mtus }, ranks, weights)
    if (!next.equals(this.#state)) this.#state = next
    return changed
  }

  #isProven(id: string, { state, isHeard, handshakeAgeMs = Infinity, publicKey }: Open): boolean {
    const isRemembered = state === 'unknown' && this.#remembered.proven.get(id) === publicKey
    return isHeard || handshakeAgeMs < handshakeFreshMs || isRemembered
  }

  /** Within a gateway the quickest underlay goes first, once it is quicker by more than the dead band. */
  #rank(): void {
    const first = new Map<Name, Open>()
    for (const entry of this.#entries.values()) {
      if (entry.state !== 'up' || entry.rttMs === 0) continue
      const leader = first.get(entry.gateway)
      if (leader === undefined || isQuicker(entry, leader)) first.set(entry.gateway, entry)
    }
    for (const entry of this.#entries.values()) {
      const leader = first.get(entry.gateway)
      if (leader !== undefined) entry.rank = entry.underlay === leader.underlay ? 0 : 1
    }
  }
}

function lowered({ mtu, documents }: MtuView): number | undefined {
  return mtu < documents ? mtu : undefined
}

/** True where `one` should go before `other`; who went first keeps its place within the dead band. */
function isQuicker(one: Open, other: Open): boolean {
  const band = Math.max(deadBand.ms, deadBand.share * Math.max(one.rttMs, other.rttMs))
  if (one.rank === other.rank) return one.rttMs < other.rttMs
  return one.rank < other.rank ? one.rttMs - other.rttMs <= band : other.rttMs - one.rttMs > band
}

function newEntry(path: NamedPath, namedAtMs: number): Open {
  const { gateway, site, underlay, device, lane = 0, contested = false, publicKey } = path
  return {
    gateway,
    site,
    underlay,
    device,
    lane,
    contested,
    publicKey,
    state: 'unknown',
    cause: 'none',
    sinceMs: 0,
    word: undefined,
    verdict: { condition: 'unknown', standing: 'fit', reasons: [], blocked: false },
    quality: unmeasured,
    rttMs: 0,
    rttMinMs: 0,
    rttMeanMs: 0,
    rttP95Ms: 0,
    jitterMs: 0,
    lastSeenMs: 0,
    isHeard: false,
    namedAtMs,
    handshakeAgeMs: undefined,
    rank: 0,
  }
}

function takeRow(entry: Open, report: Report, row: number): void {
  for (const column of ['rttMs', 'rttMinMs', 'rttMeanMs', 'rttP95Ms', 'jitterMs', 'lastSeenMs'] as const) {
    entry[column] = report.value(row, column)
  }
  const measurement = {
    answered: report.value(row, 'answered'),
    unanswered: report.value(row, 'unanswered'),
    late: report.value(row, 'late'),
    rttMs: entry.rttMs,
  }
  if (entry.state === 'up' && measurement.answered > 0) entry.isHeard = true
  if (entry.state === 'up') entry.quality = measure(entry.quality, measurement, thresholdsOf(entry.times))
}

function verdictOf({ state, isHeard, handshakeAgeMs, word, quality }: Open): Verdict {
  const evidence = {
    probe: state,
    everAnswered: isHeard,
    ...(handshakeAgeMs === undefined ? {} : { handshakeAgeMs }),
    ...(word === undefined ? {} : { word }),
  }
  return judge(evidence, quality)
}
