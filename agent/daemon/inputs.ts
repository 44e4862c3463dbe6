/**
 * What the reconciler works from: the snapshot that the registry's bags make, and the facts of the host. News only pile up
 * here; the reconciler takes them in at the start of a turn, so that every turn works from one state of the world.
 */
import { reasonOf } from '../errors.ts'
import type { Reason } from '../errors.ts'
import type { Kernel } from '../kernel/port.ts'
import type { Bag, Delivered, Document } from '../model/document.ts'
import type { Fabric, Name } from '../model/fabric.ts'
import type { HostFacts } from '../model/host.ts'
import type { Own } from '../model/own.ts'
import { everyPathFit } from '../model/path-state.ts'
import type { PathState } from '../model/path-state.ts'
import type { GroupIds } from '../plan/group-id.ts'
import type { PlanInput } from '../plan/input.ts'
import type { LastKnown } from '../registry/port.ts'
import { boundLinks } from '../plan/underlay.ts'
import type { Ground } from '../trust/ground.ts'
import { Ledger } from '../trust/ledger.ts'
import type { Admission, Checked } from '../trust/admission.ts'
import { isRefusal, isUnread } from '../trust/parse.ts'
import type { Refusal } from '../trust/refusal.ts'
import type { Marks } from '../trust/tenure.ts'
import { BacklogTelling } from './backlog-telling.ts'
import { inTurns } from './breath.ts'
import { Clock } from './clock.ts'
import { checked, Rejected } from './check.ts'
import type { Events } from './event.ts'
import { ExpiryTelling } from './expiry-telling.ts'
import { Intake, usualLimits } from './intake.ts'
import type { Limits, Taken } from './intake.ts'
import { decided, undecided } from './leftover.ts'
import type { Fate, Sources } from './leftover.ts'
import { RefusalTelling } from './refusal-telling.ts'
import type { Schedule } from './schedule.ts'
import { Memory } from './memory.ts'
import type { Tally } from './tally.ts'

type State = Pick<Admission, 'snapshot' | 'refusals' | 'refused' | 'vanished' | 'stale' | 'authorities'>

/** A bag of the last-known-good store, or of the registry; `isRead`: the registry said something just now. */
type News = Bag & { readonly isKnown?: boolean; readonly isRead?: boolean }

/** The last-known-good store, and what was in it. */
export interface KnownInput {
  readonly store: LastKnown
  readonly documents: readonly Delivered[]
  readonly marks: Marks
  readonly floorMs: number
}

export interface InputsOptions {
  readonly kernel: Kernel
  readonly gateway: string
  /** What documents are judged for. */
  readonly ground: Ground
  /** What an earlier run knew; absent: nothing is kept. */
  readonly known?: KnownInput
  /** Own as configured, its endpoints resolved. The same object while nothing changed. */
  readonly ownOf: (fabric: Fabric, facts: HostFacts) => Own
  readonly events: Events
  readonly tally: Tally
  readonly schedule: Schedule
  readonly now: () => number
  /** ms that never go back. */
  readonly monotonic?: () => number
  readonly limits?: Limits
}

const staleNext = {
  next: 'renew the fabric document: linkspan ca fabric; until then no new gateway is let in',
}

/** Times in a row that a bag may fail to come in. */
const mostFailures = 5
const lostNext = { next: 'report it with the documents of the registry; a restart reads them again' }
/** Refusals that `status` has one by one. */
const mostListed = 1000
/** Each may be 22 MB long. */
const mostUnread = 2

export class Inputs implements Sources {
  readonly #options: InputsOptions
  readonly #ledger: Ledger
  readonly clock: Clock
  #isClockWrong = false
  readonly memory: Memory | undefined
  readonly #intake: Intake
  readonly #rejected = new Rejected()
  readonly #refusals: RefusalTelling
  readonly #expiry: ExpiryTelling
  readonly #backlog: BacklogTelling
  /** Long documents that were not read, because their keys are not trusted. */
  readonly #unread = new Map<string, Delivered>()
  #known: News | undefined
  #isTick = false
  #failures = 0
  #admission: State = {
    snapshot: undefined,
    refusals: [],
    refused: { total: 0, byRule: new Map() },
    vanished: [],
    stale: false,
    authorities: { trusted: new Set(), retired: new Set() },
  }
  #unreadable: readonly Reason[] = []
  #readAtMs: number | undefined
  #facts: HostFacts | undefined
  #paths: PathState = everyPathFit
  #input: PlanInput | undefined

  constructor(options: InputsOptions) {
    this.#options = options
    const { ground, known, now, events, tally, schedule, limits = usualLimits } = options
    const { monotonic = () => performance.now() } = options
    this.#ledger = new Ledger(ground, known?.marks, mostListed)
    const clock = new Clock({
      floorMs: known?.floorMs ?? 0,
      wall: now,
      ...(options.monotonic === undefined ? {} : { monotonic }),
    })
    this.clock = clock
    const rouse = (): void => {
      schedule.rouse()
    }
    this.#backlog = new BacklogTelling(events, monotonic)
    this.#expiry = new ExpiryTelling(events)
    this.#refusals = new RefusalTelling(events, tally, monotonic)
    this.#intake = new Intake({ limits, now: monotonic, rouse })
    if (known === undefined) return
    const { store, documents } = known
    this.memory = new Memory({ store, ledger: this.#ledger, clock, events, tally })
    if (documents.length > 0) this.#known = { documents, complete: false, unreadable: [], isKnown: true }
  }

  get admission(): State {
    return this.#admission
  }

  /** What of the registry cannot be read right now. */
  get unreadable(): readonly Reason[] {
    return this.#unreadable
  }

  /** Unix ms of the last bag of which everything could be read. */
  get readAtMs(): number | undefined {
    return this.#readAtMs
  }

  get facts(): HostFacts | undefined {
    return this.#facts
  }

  /** News that no turn has taken in yet. */
  get pending(): boolean {
    return this.#known !== undefined || this.#isTick || this.#intake.isDue || this.#options.schedule.factsDue
  }

  /** Documents that are not looked at yet, because too much came at once; and how often one had to wait so far. */
  get deferred(): { readonly waiting: number; readonly total: number } {
    return { waiting: this.#intake.waiting, total: this.#intake.deferred }
  }

  /**
   * False while some document cannot be understood or read, or while two claim what one can have, so that neither counts:
   * then something in the kernel that nothing known accounts for may well be what such a document asks for.
   */
  get isWhole(): boolean {
    const { byRule } = this.#admission.refused
    return this.#unreadable.length === 0 && [...byRule.keys()].every((rule) => !undecided.has(rule))
  }

  fateOf(gateway: Name): Fate | undefined {
    const { snapshot } = this.#admission
    if (snapshot === undefined) return undefined
    if (snapshot.gateways.has(gateway)) return 'stays'
    if (snapshot.fabric.removed.includes(gateway)) return 'goes'
    const record = this.#ledger.documentOf('record', gateway)
    if (record?.type === 'record' && record.payload.state === 'withdrawn') return 'goes'
    const goes = this.#ledger.refusalsOf(gateway).some(({ rule }) => decided.has(rule))
    return goes ? 'goes' : undefined
  }

  /** Why our own documents in force do not stand, or not in full. */
  get ownRefusals(): readonly Refusal[] {
    return this.#ledger.refusalsOf(this.#options.gateway)
  }

  documentOf(type: 'certificate' | 'record' | 'voucher'): Document | undefined {
    return this.#ledger.documentOf(type, this.#options.gateway)
  }

  /** Own against the fabric and host of now. */
  get own(): Own | undefined {
    const fabric = this.#admission.snapshot?.fabric
    return fabric === undefined || this.#facts === undefined
      ? undefined
      : this.#options.ownOf(fabric, this.#facts)
  }

  /** Resolves when there may be more of it. */
  deliver(bag: Bag): Promise<void> {
    return this.#intake.put(bag)
  }

  /** What is known of paths from now on. */
  setPaths(paths: PathState): void {
    this.#paths = paths
    this.#options.schedule.rouse()
  }

  /** Takes in bags and facts. True where either said something new. */
  async take(signal: AbortSignal): Promise<boolean> {
    let news = false
    const fabric = this.#admission.snapshot?.fabric
    const known = this.#known
    if (known !== undefined) await this.#admitKnown(known, signal)
    const bag = await this.#intake.take(this.#unreadable)
    if (bag !== undefined) await this.#admitBag(bag, signal)
    else if (this.#isTick)
      await this.#admit({ documents: [], complete: false, unreadable: this.#unreadable }, signal)
    if (known !== undefined || bag !== undefined || this.#isTick) news = true
    this.#isTick = false
    this.#backlog.deferred(this.deferred)
    // Which routes are facts depends on the underlays that are bound.
    const due = this.#options.schedule.factsDue || this.#admission.snapshot?.fabric !== fabric
    if (due || this.#facts === undefined) news = (await this.#gatherFacts(signal)) || news
    return news
  }

  /**
   * The input of plan; the same object while nothing changed. Undefined until a snapshot holds this gateway: an empty
   * registry, or one that lost us, writes nothing.
   */
  planInput(ids: GroupIds): PlanInput | undefined {
    const { snapshot } = this.#admission
    const own = this.own
    if (snapshot === undefined || this.#facts === undefined || own === undefined) return undefined
    if (!snapshot.gateways.has(own.gateway)) return undefined
    const before = this.#input
    if (
      before?.snapshot !== snapshot ||
      before.facts !== this.#facts ||
      before.own !== own ||
      before.paths !== this.#paths ||
      before.ids !== ids
    ) {
      this.#input = { snapshot, own, facts: this.#facts, paths: this.#paths, ids }
    }
    return this.#input
  }

  /** Time passes: documents begin and end. */
  tick(): void {
    this.#isTick = true
    this.#options.schedule.rouse()
  }

  #monotonic(): number {
    return this.#options.monotonic?.() ?? performance.now()
  }

  async #admitKnown(known: News, signal: AbortSignal): Promise<void> {
    try {
      await this.#admit(known, signal)
    } catch (error) {
      if (++this.#failures < mostFailures || signal.aborted) throw error
    }
    this.#failures = 0
    this.#known = undefined
  }

  /** One that fails comes again, a few times: what nobody can take in must not keep out what comes after it. */
  async #admitBag(bag: Taken, signal: AbortSignal): Promise<void> {
    const startedAt = this.#monotonic()
    const passed = (): number => this.#monotonic() - startedAt
    try {
      await this.#admit(bag, signal)
    } catch (error) {
      if (++this.#failures < mostFailures || signal.aborted) this.#intake.failed(bag, passed())
      else {
        this.#failures = 0
        this.#intake.done(bag, passed())
        const { reason } = reasonOf(error, 'registry')
        this.#options.events.emit('error', 'documents-lost', {
          documents: bag.documents.length,
          reason,
          ...lostNext,
        })
      }
      throw error
    }
    this.#failures = 0
    this.#intake.done(bag, passed())
  }

  async #admit(bag: News, signal: AbortSignal): Promise<void> {
    const { events, tally, now } = this.#options
    const before = this.#admission
    const { trusted } = before.authorities
    const documents = await checked(
      bag.documents,
      {
        ledger: this.#ledger,
        rejected: this.#rejected,
        // What counted before is bounded by what counted.
        ...(bag.isKnown === true ? {} : { gate: this.#intake }),
        isTrusted: (kid) => kid === this.#options.ground.authority || trusted.has(kid),
      },
      signal,
    )
    this.#setAside(documents)
    const admission = await inTurns(this.#ledger.admitSteps({ ...bag, documents }, this.clock.now()), signal)
    this.#admission = admission
    if (admission.authorities !== before.authorities && this.#unread.size > 0) this.#readAgain()
    this.clock.witnessed(admission.issuedMs)
    if (bag.isKnown === true) {
      // Altered on disk: the registry's next bag puts it right, and would hide it.
      for (const { rule, object, reason } of admission.begun) {
        if (rule === 'document' || rule === 'signature')
          events.emit('warning', 'known-documents-damaged', { object, reason })
      }
      return
    }
    this.memory?.keep(admission.admitted)
    if (bag.unreadable.length === 0 && bag.isRead === true) this.#readAtMs = now()
    for (const { object, reason, next } of bag.unreadable) {
      if (this.#unreadable.some((known) => known.object === object && known.reason === reason)) continue
      events.emit('warning', 'registry-unreadable', { object, reason, next })
      tally.error('registry')
    }
    this.#unreadable = bag.unreadable
    const { vanished } = this.#admission
    this.#refusals.tell(admission.begun)
    this.#backlog.dropped(admission.dropped)
    if (this.#admission.stale && !before.stale) events.emit('error', 'fabric-stale', staleNext)
    this.#tellClock()
    this.#expiry.tell(this.documentOf('certificate'), this.clock.now())
    if (vanished === before.vanished) return
    const known = new Set(before.vanished.map(({ origin }) => origin))
    for (const { origin, gateway } of vanished) {
      if (!known.has(origin)) events.emit('warning', 'document-vanished', { origin, gateway })
    }
  }

  /** Remembers long documents that were not read. A few: who may sign one is a short list. */
  #setAside(documents: readonly Checked[]): void {
    for (const { origin, bytes, signed } of documents) {
      if (signed === undefined) continue
      if (this.#unread.size > 0) this.#unread.delete(origin)
      if (!isRefusal(signed) || !isUnread(signed)) continue
      const [oldest] = this.#unread.keys()
      if (this.#unread.size >= mostUnread && oldest !== undefined) this.#unread.delete(oldest)
      this.#unread.set(origin, { origin, bytes })
    }
  }

  /** Other keys are trusted now. */
  #readAgain(): void {
    const documents = [...this.#unread.values()]
    this.#unread.clear()
    void this.#intake.put({ documents, complete: false, unreadable: this.#unreadable })
  }

  #tellClock(): void {
    const { events } = this.#options
    const { leapMs, lagMs } = this.clock
    const isWrong = leapMs > 0 || lagMs > 0
    if (isWrong && !this.#isClockWrong) events.emit('error', 'clock-jumped', { leapMs, lagMs })
    this.#isClockWrong = isWrong
  }

  async #gatherFacts(signal: AbortSignal): Promise<boolean> {
    const { kernel, ownOf, schedule } = this.#options
    const fabric = this.#admission.snapshot?.fabric
    // Before the dump: what changes while it runs must be seen by the next.
    schedule.factsDone()
    try {
      let facts = await kernel.facts([], signal)
      if (fabric !== undefined) {
        const bound = boundLinks(ownOf(fabric, facts), fabric, facts)
        if (bound.length > 0) facts = await kernel.facts(bound, signal)
      }
      if (JSON.stringify(facts) === JSON.stringify(this.#facts)) return false
      this.#facts = facts
      return true
    } catch (error) {
      schedule.hostChanged()
      throw error
    }
  }
}
