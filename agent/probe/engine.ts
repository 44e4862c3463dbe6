/**
 * The probe engine: names paths to the thread that probes them (native/probe.h) and tells what it finds.
 *
 * The thread knows numbers, this knows names. A path that changes its device or address becomes another one for the thread
 * (a new epoch), so that no word of the old one is taken for news of the new. The compiled file is handed in: cli/ opens it.
 */
import { LinkspanError } from '../errors.ts'
import { reportColumn } from './port.ts'
import type { PathNews, ProbedPath, ProbeEngine, ProbeEvents, Report, SizeTrial, Word } from './port.ts'
import {
  flagsOf,
  readCause,
  readCounters,
  readState,
  readVerdict,
  readWord,
  rowColumn,
  rowLength,
  trialBytes,
  wishBytes,
  writeTrial,
  writeWish,
} from './wire.ts'

/** What the compiled file gives (native/probe-addon.c). Handles are opaque. */
export interface NativeProbes {
  probeStart(port: number, deliver: (news: Float64Array | null, report: Float64Array | null) => void): object
  probePaths(engine: object, wishes: Uint8Array): void
  probeTrials(engine: object, orders: Uint8Array): void
  probeWord(engine: object, flags: number, weight: number, serial: number): void
  probeCounters(engine: object): readonly number[]
  probeStop(engine: object): void
}

interface Known {
  readonly id: string
  readonly number: number
  epoch: number
  place: string
  /** What was told of it last: state and word, and the trial that was decided. */
  told: string
  trial: number
}

class Engine implements ProbeEngine {
  readonly #native: NativeProbes
  readonly #events: ProbeEvents
  readonly #handle: object
  #byName = new Map<string, Known>()
  #byNumber = new Map<number, Known>()
  #lastNumber = 0
  #lastEpoch = 0
  #stopped = false

  constructor(native: NativeProbes, port: number, word: Word, events: ProbeEvents) {
    if (!Number.isInteger(port) || port < 1 || port > 65_535) {
      throw new LinkspanError({ code: 'config-invalid', object: 'probe.port', reason: `${port} is no port` })
    }
    flagsOf(word) // refused before anything runs
    this.#native = native
    this.#events = events
    this.#handle = native.probeStart(port, (news, report) => {
      this.#deliver(news, report)
    })
    this.setWord(word)
  }

  setPaths(paths: readonly ProbedPath[]): void {
    const bytes = new Uint8Array(paths.length * wishBytes)
    const view = new DataView(bytes.buffer)
    const byName = new Map<string, Known>()
    let { number, epoch } = { number: this.#lastNumber, epoch: this.#lastEpoch }
    paths.forEach((path, i) => {
      if (byName.has(path.id)) {
        throw new LinkspanError({ code: 'internal', object: `path ${path.id}`, reason: 'it is named twice' })
      }
      const place = `${path.device} ${path.address}`
      const known = this.#byName.get(path.id)
      const same = known?.place === place
      const next: Known = {
        id: path.id,
        number: known?.number ?? ++number,
        epoch: same ? known.epoch : ++epoch,
        place,
        told: same ? known.told : '',
        trial: same ? known.trial : 0,
      }
      byName.set(path.id, next)
      writeWish(view, i * wishBytes, path, { id: next.number, epoch: next.epoch })
    })
    this.#native.probePaths(this.#handle, bytes)
    this.#byName = byName
    this.#byNumber = new Map([...byName.values()].map((known) => [known.number, known]))
    this.#lastNumber = number
    this.#lastEpoch = epoch
  }

  ask(trials: readonly SizeTrial[]): void {
    const known = trials.flatMap((trial) => {
      const of = this.#byName.get(trial.id)
      return of === undefined ? [] : [{ trial, of }]
    })
    const view = new DataView(new ArrayBuffer(known.length * trialBytes))
    known.forEach(({ trial, of }, i) => {
      writeTrial(view, i * trialBytes, trial, { id: of.number, epoch: of.epoch })
    })
    this.#native.probeTrials(this.#handle, new Uint8Array(view.buffer))
  }

  setWord(word: Word): void {
    this.#native.probeWord(this.#handle, flagsOf(word), word.weight, word.serial)
  }

  counters(): ReturnType<ProbeEngine['counters']> {
    return readCounters(this.#native.probeCounters(this.#handle))
  }

  stop(): void {
    this.#stopped = true
    this.#native.probeStop(this.#handle)
  }

  #deliver(news: Float64Array | null, report: Float64Array | null): void {
    for (let at = 0; news !== null && at < news.length && !this.#stopped; at += rowLength) {
      this.#tell(news, at)
    }
    if (report !== null && !this.#stopped) this.#events.onReport(this.#reportOf(report))
  }

  /** A row tells of a change, of a verdict, or of both. */
  #tell(news: Float64Array, at: number): void {
    const known = this.#knownAt(news, at)
    if (known === undefined) return
    const told = news.subarray(at + rowColumn.state, at + rowColumn.wordSerial + 1).join(' ')
    const decided = readVerdict(news, at)
    const isDecided = decided !== undefined && decided.trial !== known.trial
    const isChanged = told !== known.told
    known.told = told
    known.trial = decided?.trial ?? known.trial
    const one = isChanged || !isDecided ? this.#newsAt(news, at) : undefined
    if (one !== undefined) this.#events.onChange(one)
    if (isDecided) this.#events.onVerdict?.(known.id, decided.trial, decided.verdict)
  }

  #knownAt(rows: Float64Array, at: number): Known | undefined {
    const known = this.#byNumber.get(rows[at + rowColumn.id] ?? 0)
    return known?.epoch === rows[at + rowColumn.epoch] ? known : undefined
  }

  #newsAt(rows: Float64Array, at: number): PathNews | undefined {
    const known = this.#knownAt(rows, at)
    if (known === undefined) return undefined
    const news = {
      id: known.id,
      state: readState(rows, at),
      cause: readCause(rows, at),
      sinceMs: rows[at + rowColumn.sinceMs] ?? 0,
      changes: rows[at + rowColumn.changes] ?? 0,
    }
    const word = readWord(rows, at)
    return word === undefined ? news : { ...news, word }
  }

  #reportOf(rows: Float64Array): Report {
    return {
      rows: rows.length / rowLength,
      idOf: (row) => this.#knownAt(rows, row * rowLength)?.id,
      value: (row, column) => rows[row * rowLength + reportColumn[column]] ?? 0,
      newsOf: (row) => this.#newsAt(rows, row * rowLength),
    }
  }
}

/**
 * Starts the thread: it answers probes on `port` (UDP) of every device that a path names, as soon as one does. Throws
 * LinkspanError where port or word are out of range. Keeps no process alive.
 */
export function startProbes(
  native: NativeProbes,
  port: number,
  word: Word,
  events: ProbeEvents,
): ProbeEngine {
  return new Engine(native, port, word, events)
}
