/**
 * Path MTU discovery of all paths: which trials are due, and what was found. Pure but for what it remembers; time is an
 * argument. Only paths that are up are asked. Those that fall due soon go with those that are due, so that an idle agent wakes
 * once for all of them.
 */
import type { Name } from '../model/fabric.ts'
import {
  anewMtu,
  askMtu,
  beginMtu,
  dueMs,
  foundMtu,
  judgeMtu,
  lowReason,
  triesOf,
  usualMtuMs,
  withDocuments,
} from './mtu.ts'
import type { PathMtu } from './mtu.ts'
import type { SizeTrial, TrialVerdict } from './port.ts'

export interface MtuPath {
  readonly id: string
  readonly gateway: Name
  readonly underlay: Name
  /** By documents, in bytes. */
  readonly mtu: number
  /** CONFIRMATION_TIMER; 0: nothing is asked, and documents hold. */
  readonly mtuMs?: number | undefined
  readonly intervalMs: number
  /** Where it leads: another one, and what was found proves nothing. */
  readonly ground: string
}

/** What a path carries, in bytes. */
export interface MtuView {
  readonly mtu: number
  readonly documents: number
  /** Why it is less than documents say. */
  readonly reason?: string
}

export interface MtuChange {
  readonly path: MtuPath
  /** Bytes that it carried. */
  readonly before: number
  readonly view: MtuView
}

interface Entry {
  path: MtuPath
  confirmMs: number
  mtu: PathMtu
  /** Since when it is up. */
  upMs: number | undefined
  wasUp: boolean
}

/** Trials that are due within this part of the confirmation timer, at most so many ms, go along. */
const ahead = { part: 0.1, mostMs: 1000 } as const
/** Up for less, and little is known of its loss. */
const youngMs = 15_000
/** Of verdicts that do not come. */
const patience = { leastMs: 60_000, intervals: 30 } as const

export class MtuTable {
  /** Until the path is named. */
  readonly #remembered: Map<string, number>
  #entries = new Map<string, Entry>()

  /** `remembered`: what an earlier run found, by path. */
  constructor(remembered: ReadonlyMap<string, number> = new Map()) {
    this.#remembered = new Map(remembered)
  }

  /** The paths there are from now on. */
  name(paths: readonly MtuPath[], nowMs: number): void {
    const entries = new Map<string, Entry>()
    const beside = this.#foundByUnderlay()
    for (const path of paths) {
      const found = this.#remembered.get(path.id) ?? beside.get(`${path.gateway} ${path.underlay}`)
      const entry = this.#entries.get(path.id) ?? newEntry(path, found, nowMs)
      const { ground } = entry.path
      const confirmMs = path.mtuMs ?? usualMtuMs
      const { trial } = entry.mtu
      // Numbers of trials go on: no verdict may be taken for another's.
      if (confirmMs === entry.confirmMs) entry.mtu = withDocuments(entry.mtu, path.mtu, confirmMs, nowMs)
      else entry.mtu = { ...beginMtu(path.mtu, foundMtu(entry.mtu), confirmMs, nowMs), trial }
      if (ground !== path.ground) entry.mtu = anewMtu(entry.mtu, nowMs)
      entries.set(path.id, Object.assign(entry, { path, confirmMs }))
      this.#remembered.delete(path.id)
    }
    this.#entries = entries
  }

  /** Keys rotate: what is known of an underlay holds for the new lane as well. */
  #foundByUnderlay(): ReadonlyMap<string, number> {
    const least = new Map<string, number>()
    for (const { path, mtu } of this.#entries.values()) {
      const found = foundMtu(mtu)
      const key = `${path.gateway} ${path.underlay}`
      if (found !== undefined) least.set(key, Math.min(found, least.get(key) ?? found))
    }
    return least
  }

  /** A path is up, or not. Back from down it may lead another way. */
  stand(id: string, isUp: boolean, nowMs: number): void {
    const entry = this.#entries.get(id)
    if (entry === undefined || isUp === (entry.upMs !== undefined)) return
    if (!isUp) entry.mtu = { ...entry.mtu, asked: undefined }
    else if (entry.wasUp) entry.mtu = anewMtu(entry.mtu, nowMs)
    entry.upMs = isUp ? nowMs : undefined
    entry.wasUp ||= isUp
  }

  /** Nothing is known of how any of them stands: the engine is another. */
  rest(nowMs: number): void {
    for (const id of this.#entries.keys()) this.stand(id, false, nowMs)
  }

  /** When the next trial is due; infinite: none is. */
  nextMs(): number {
    let next = Infinity
    for (const entry of this.#entries.values()) next = Math.min(next, dueOf(entry))
    return next
  }

  /** Trials to be asked now, at most `most`. `lossOf`: measured, 0 to 1. */
  due(nowMs: number, most: number, lossOf: (id: string) => number): readonly SizeTrial[] {
    const trials: SizeTrial[] = []
    if (this.nextMs() > nowMs) return trials
    for (const [id, entry] of this.#entries) {
      const { confirmMs, upMs = nowMs } = entry
      const early = entry.mtu.phase === 'complete' ? Math.min(ahead.mostMs, ahead.part * confirmMs) : 0
      if (dueOf(entry) > nowMs + early) continue
      if (trials.length === most) break
      const loss = nowMs - upMs < youngMs ? undefined : lossOf(id)
      const mtu = askMtu(entry.mtu, nowMs)
      entry.mtu = mtu
      trials.push({ id, trial: mtu.trial, size: mtu.asked.size, tries: triesOf(mtu, loss) })
    }
    return trials
  }

  /** What is said of the path from now on; undefined: what was said before. */
  judge(id: string, trial: number, verdict: TrialVerdict, nowMs: number): MtuChange | undefined {
    const entry = this.#entries.get(id)
    if (entry === undefined) return undefined
    const before = viewOf(entry)
    entry.mtu = judgeMtu(entry.mtu, trial, verdict, entry.confirmMs, nowMs)
    const view = viewOf(entry)
    const isSame = view.mtu === before.mtu && view.reason === before.reason
    return isSame ? undefined : { path: entry.path, before: before.mtu, view }
  }

  *views(): Generator<readonly [id: string, view: MtuView]> {
    for (const [id, entry] of this.#entries) yield [id, viewOf(entry)]
  }
}

function newEntry(path: MtuPath, found: number | undefined, nowMs: number): Entry {
  const confirmMs = path.mtuMs ?? usualMtuMs
  return { path, confirmMs, mtu: beginMtu(path.mtu, found, confirmMs, nowMs), upMs: undefined, wasUp: false }
}

function dueOf({ path, confirmMs, mtu, upMs }: Entry): number {
  const patienceMs = Math.max(patience.leastMs, patience.intervals * path.intervalMs)
  return confirmMs === 0 || upMs === undefined ? Infinity : dueMs(mtu, patienceMs)
}

function viewOf({ path, confirmMs, mtu }: Entry): MtuView {
  const documents = path.mtu
  const found = confirmMs === 0 ? undefined : foundMtu(mtu)
  const reason = found === undefined ? undefined : lowReason(mtu)
  return { mtu: found ?? documents, documents, ...(reason === undefined ? {} : { reason }) }
}
