/**
 * The daemon's side of probing: tells the engine which paths there are and what this gateway says of itself, and makes path
 * state of what it finds. A change goes to the reconciler at once, which replaces the nexthop groups that it touches.
 *
 *   plan ─▶ paths to probe ─▶ engine (a thread of its own) ─▶ path table ─▶ path state ─▶ reconciler
 */
import { reasonOf } from '../errors.ts'
import type { PathState } from '../model/path-state.ts'
import type { PlanInput } from '../plan/input.ts'
import { ProbePlan } from '../plan/probe.ts'
import type { PlannedProbe } from '../plan/probe.ts'
import { pathId } from '../probe/known-paths.ts'
import type { Remembered } from '../probe/known-paths.ts'
import type { MtuPath } from '../probe/mtu-table.ts'
import { PathTable } from '../probe/table.ts'
import type { PathEntry } from '../probe/table.ts'
import type { ProbeEngine, ProbeEvents, Word } from '../probe/port.ts'
import type { Verdict } from '../probe/state.ts'
import type { Events } from './event.ts'
import type { PathMemory } from './path-memory.ts'
import { PathMtus } from './path-mtu.ts'

export type StartProbes = (port: number, word: Word, events: ProbeEvents) => ProbeEngine

export interface ProberOptions {
  readonly start: StartProbes
  readonly memory: PathMemory
  /** The input that the kernel was last made to agree with. */
  readonly planned: () => PlanInput | undefined
  readonly setPaths: (paths: PathState) => void
  readonly isDraining: () => boolean
  readonly isNotForwarding: () => boolean
  /** ms since each tunnel last shook hands, by device and public key; asked for only while a path was never heard. */
  readonly handshakes: () => Promise<ReadonlyMap<string, number>>
  readonly events: Events
}

/**
 * How often it is looked whether a path was never heard, in ms, and if so at the age of handshakes: ever less, since that
 * runs `wg`. By a timer: reports come only while something is heard.
 */
const lookEveryMs = { least: 2000, most: 60_000 } as const

/** News may reach one gateway so much later than another, in ms. */
const onItsWayMs = 60_000

export class Prober {
  readonly #options: ProberOptions
  readonly #table: PathTable
  readonly #mtus: PathMtus
  /** What the engine was told. */
  #probes: readonly PlannedProbe[] | undefined
  readonly #plan = new ProbePlan()
  #engine: { readonly port: number; readonly engine: ProbeEngine } | undefined
  #said = ''
  #isSettling = false
  #lookEveryMs: number = lookEveryMs.least
  #looking: NodeJS.Timeout | undefined
  #isAsking = false
  /** A fabric document that another gateway goes by and we have not seen, and since when. */
  #ahead = { serial: 0, gateway: '', sinceMs: 0, isTold: false }
  /** What the reconciler goes by. */
  #published: PathState
  #isMemoryBroken = false

  constructor(options: ProberOptions) {
    this.#options = options
    const remembered = options.memory.read()
    this.#table = new PathTable(remembered)
    this.#mtus = new PathMtus({
      remembered: remembered.mtus,
      ask: (trials) => this.#engine?.engine.ask(trials),
      lossOf: (id) => this.#table.entryAt(id)?.quality.loss ?? 0,
      onFound: (id, view) => {
        this.#table.carry(id, view)
        this.#settleSoon()
      },
      events: options.events,
    })
    this.#published = this.#table.state
  }

  /** Before there is news: how the paths stood when the last agent ended. */
  get state(): PathState {
    return this.#table.state
  }

  entries(): Iterable<PathEntry> {
    return this.#table.entries()
  }

  entryOf(gateway: string, underlay: string, lane: number): PathEntry | undefined {
    return this.#table.entryOf(gateway, underlay, lane)
  }

  /** What is planned, or what we say of ourselves, may be different. */
  look(): void {
    const input = this.#options.planned()
    if (input === undefined) return
    const { port } = input.snapshot.fabric.probe
    const word = this.#wordOf(input)
    if (this.#engine?.port !== port) this.#restart(port, word)
    this.#say(word)
    const probes = this.#plan.of(input)
    if (probes === this.#probes) return
    this.#probes = probes
    this.#lookEveryMs = lookEveryMs.least
    this.#lookLater()
    this.#table.name(probes, performance.now())
    this.#mtus.name(probes.map(mtuPathOf))
    this.#table.settle()
    this.#publish()
    this.#engine?.engine.setPaths(
      probes.map((probe) => ({
        id: pathId(probe),
        device: probe.device,
        address: probe.address,
        profile: probe.times,
      })),
    )
  }

  close(): void {
    this.#engine?.engine.stop()
    this.#engine = undefined
    this.#mtus.close()
    clearTimeout(this.#looking)
  }

  #restart(port: number, word: Word): void {
    this.#engine?.engine.stop()
    const engine = this.#options.start(port, word, {
      onChange: (news) => {
        const entry = this.#table.tell(news)
        this.#mtus.stand(news.id, news.state === 'up')
        if (entry?.word !== undefined) this.#heard(entry.gateway, entry.word.serial)
        this.#settleSoon()
      },
      onVerdict: (id, trial, verdict) => {
        this.#mtus.judge(id, trial, verdict)
      },
      onReport: (report) => {
        this.#table.report(report)
        this.#settle()
        this.#tellWithheld()
      },
    })
    this.#engine = { port, engine }
    this.#mtus.rest()
    this.#said = JSON.stringify(word)
    this.#probes = undefined
  }

  #wordOf({ snapshot, own }: PlanInput): Word {
    const self = snapshot.gateways.get(own.gateway)
    return {
      draining: this.#options.isDraining(),
      notForwarding: this.#options.isNotForwarding(),
      weight: Math.min(65_535, Math.max(0, Math.round(self?.weight ?? 1))),
      serial: snapshot.fabric.serial,
    }
  }

  #say(word: Word): void {
    const text = JSON.stringify(word)
    if (text === this.#said) return
    this.#said = text
    this.#engine?.engine.setWord(word)
  }

  /** News of many paths come together: one look at all of them. */
  #settleSoon(): void {
    if (this.#isSettling) return
    this.#isSettling = true
    queueMicrotask(() => {
      this.#isSettling = false
      this.#settle()
    })
  }

  #settle(): void {
    for (const { entry, before } of this.#table.settle()) this.#tell(entry, before)
    this.#publish()
  }

  #publish(): void {
    const { state, memory } = this.#table
    if (state === this.#published) return
    this.#published = state
    this.#options.setPaths(state)
    this.#remember(memory)
  }

  #remember(paths: Remembered): void {
    try {
      this.#options.memory.write(paths)
      this.#isMemoryBroken = false
    } catch (error) {
      if (this.#isMemoryBroken) return
      this.#isMemoryBroken = true
      const { object, reason } = reasonOf(error, 'paths.json')
      this.#options.events.emit('warning', 'paths-unsaved', { object, reason })
    }
  }

  #tell(entry: PathEntry, before: Verdict): void {
    const { gateway, underlay, device, verdict, rttMs, contested = false } = entry
    const { events } = this.#options
    const { standing, blocked, reasons } = verdict
    const about = { gateway, underlay, standing, before: before.standing, ...(contested ? { device } : {}) }
    if (contested && entry.lastSeenMs === 0 && standing !== 'fit') {
      // The far end may not have heard of the new keys yet; the old ones carry the traffic till then.
      events.emit('debug', 'lane-waits', { ...about, reason: reasons.join('; ') })
      return
    }
    if (standing === 'fit' && !blocked) {
      events.emit('notice', 'path-up', { ...about, rttMs: Number(rttMs.toFixed(3)) })
      return
    }
    const reason = reasons.join('; ')
    if (standing === 'down') events.emit('error', 'path-down', { ...about, reason })
    else {
      const next = blocked
        ? 'let UDP to the probe port of the fabric document in from ls-wg* at both ends'
        : undefined
      events.emit('warning', blocked ? 'probes-blocked' : 'path-unfit', { ...about, reason, next })
    }
  }

  #heard(gateway: string, serial: number): void {
    if (serial <= this.#ahead.serial) return
    this.#ahead = { serial, gateway, sinceMs: performance.now(), isTold: false }
  }

  /** Whoever goes by a newer fabric document has seen what our registry keeps from us; it may just be on its way. */
  #tellWithheld(): void {
    const { serial, gateway, sinceMs, isTold } = this.#ahead
    const own = this.#options.planned()?.snapshot.fabric.serial ?? 0
    if (isTold || serial <= own || performance.now() - sinceMs < onItsWayMs) return
    this.#ahead = { ...this.#ahead, isTold: true }
    this.#options.events.emit('warning', 'registry-behind', {
      gateway,
      serial,
      own,
      next: 'another gateway goes by a newer fabric document: see that nobody holds our registry back',
    })
  }

  #lookLater(): void {
    clearTimeout(this.#looking)
    this.#looking = setTimeout(() => {
      this.#lookEveryMs = Math.min(lookEveryMs.most, 2 * this.#lookEveryMs)
      this.#tellWithheld()
      void this.#askHandshakes().then(() => {
        if (this.#engine !== undefined) this.#lookLater()
      })
    }, this.#lookEveryMs).unref()
  }

  async #askHandshakes(): Promise<void> {
    const unheard = (this.#probes ?? []).filter(({ gateway, underlay, lane }) => {
      const entry = this.#table.entryOf(gateway, underlay, lane)
      return entry !== undefined && entry.state !== 'unknown' && entry.lastSeenMs === 0
    })
    if (unheard.length === 0 || this.#isAsking) return
    this.#isAsking = true
    try {
      const ages = await this.#options.handshakes()
      const nowMs = performance.now()
      for (const probe of unheard) {
        this.#table.handshake(probe, ages.get(`${probe.device} ${probe.publicKey}`), nowMs)
      }
      this.#settle()
    } catch (error) {
      const { object, reason } = reasonOf(error, 'handshakes')
      this.#options.events.emit('debug', 'handshakes-unknown', { object, reason })
    } finally {
      this.#isAsking = false
    }
  }
}

function mtuPathOf(probe: PlannedProbe): MtuPath {
  const { gateway, underlay, device, mtu, endpoint, publicKey, times } = probe
  const { mtuMs, intervalMs } = times
  const ground = [device, endpoint, publicKey].join(' ')
  return { id: pathId(probe), gateway, underlay, mtu, mtuMs, intervalMs, ground }
}
