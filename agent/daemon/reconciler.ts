/**
 * The reconciler: one loop that makes the kernel agree with the snapshot.
 *
 *   bags ─▶ ledger ─▶ snapshot ─┐
 *                    facts ─────┼─▶ affected shares ─▶ diff ─▶ apply          (a pass)
 *                    paths ─────┘   all shares, dump ─▶ diff ─▶ apply         (an audit)
 *
 * Events only mark what is due; work is done in turns, one after the other, each from inputs read at its start. A pass
 * diffs the affected shares against what they were, which costs what the change costs. An audit dumps everything and
 * compares: at the start, after a failure, when somebody else touched what is ours, and from time to time. Nothing is
 * ever removed because a registry fell silent, and nothing is removed when the loop ends.
 */
import { reasonOf } from '../errors.ts'
import type { Reason } from '../errors.ts'
import { diffSteps } from '../diff/diff.ts'
import type { Diff } from '../diff/diff.ts'
import type { Change, Kernel } from '../kernel/port.ts'
import type { Bag, Document } from '../model/document.ts'
import type { Fabric } from '../model/fabric.ts'
import type { HostFacts } from '../model/host.ts'
import type { Kind, KernelObject } from '../model/kernel-object.ts'
import type { Op, OpResult } from '../model/op.ts'
import { formatObject } from '../model/op-text.ts'
import type { Own } from '../model/own.ts'
import { everyPathUp } from '../model/path-state.ts'
import { affected } from '../plan/affected.ts'
import type { GroupIds } from '../plan/group-id.ts'
import type { PlanInput, Share, ShareKey } from '../plan/input.ts'
import { share } from '../plan/share.ts'
import { boundLinks } from '../plan/underlay.ts'
import { Ledger } from '../trust/ledger.ts'
import type { Admission } from '../trust/ledger.ts'
import { inTurns } from './breath.ts'
import { Desired } from './desired.ts'
import type { Events } from './event.ts'
import { recoverGroupIds } from './recovery.ts'
import { Schedule } from './schedule.ts'
import { Tally } from './tally.ts'
import { Troubles } from './trouble.ts'

export interface ReconcilerOptions {
  readonly kernel: Kernel
  /** Own as configured, its endpoints resolved against the host. The same object while nothing changed. */
  readonly ownOf: (fabric: Fabric, facts: HostFacts) => Own
  readonly ids: GroupIds
  /** True where the state directory had no ids: they are recovered from the kernel. */
  readonly idsLost: boolean
  /** Makes the ids durable; awaited before ops that use new ones. */
  readonly saveIds: (ids: GroupIds) => Promise<void>
  readonly events: Events
  /** Called after each turn that changed what the registry says or what the host is. */
  readonly onInputs?: (reconciler: Reconciler) => Promise<void>
  /** Called after every turn. */
  readonly onTurn?: () => void
  /** Unix ms. */
  readonly now?: () => number
  readonly random?: () => number
}

const firewallKinds: ReadonlySet<Kind> = new Set<Kind>(['ruleset', 'element'])
const noKinds: ReadonlySet<Kind> = new Set<Kind>()

export class Reconciler {
  readonly desired = new Desired()
  readonly troubles = new Troubles()
  readonly tally = new Tally()
  readonly schedule: Schedule
  readonly #options: ReconcilerOptions
  readonly #ledger = new Ledger()
  readonly #bags: Bag[] = []
  #admission: Admission = { changed: false, snapshot: undefined, refusals: [], vanished: [] }
  #unreadable: readonly Reason[] = []
  #registryAtMs: number | undefined
  #facts: HostFacts | undefined
  #input: PlanInput | undefined
  /** The first audit is done: kernel state is as desired, failures excepted. */
  #settled = false
  #recovered = false
  #turns: Promise<unknown> = Promise.resolve()

  constructor(options: ReconcilerOptions) {
    this.#options = options
    this.schedule = new Schedule(options.random ?? Math.random)
  }

  get admission(): Admission {
    return this.#admission
  }

  /** What of the registry cannot be read right now. */
  get unreadable(): readonly Reason[] {
    return this.#unreadable
  }

  /** Unix ms of the last bag that could be read. */
  get registryAtMs(): number | undefined {
    return this.#registryAtMs
  }

  get facts(): HostFacts | undefined {
    return this.#facts
  }

  get input(): PlanInput | undefined {
    return this.#input
  }

  get settled(): boolean {
    return this.#settled
  }

  documentOf(type: 'certificate' | 'record', gateway: string): Document | undefined {
    return this.#ledger.documentOf(type, gateway)
  }

  /** Own as configured, resolved against that fabric and host. */
  ownNow(fabric: Fabric, facts: HostFacts): Own {
    return this.#options.ownOf(fabric, facts)
  }

  /** Hands a bag in; the loop takes it up. */
  deliver(bag: Bag): void {
    this.#bags.push(bag)
    this.schedule.rouse()
  }

  /** Follows the kernel and works until the signal aborts. Rejects only for what nobody expected. */
  async run(signal: AbortSignal): Promise<void> {
    const watching = this.#follow(signal)
    this.schedule.factsDue = true
    try {
      while (!signal.aborted) {
        await this.schedule.due(signal, () => this.#bags.length > 0)
        if (signal.aborted) break
        await this.#inTurn(() => this.turn(signal))
        this.#options.onTurn?.()
      }
    } catch (error) {
      if (!signal.aborted) throw error
    } finally {
      await watching
    }
  }

  /** What an audit would do now; changes nothing. */
  preview(signal: AbortSignal): Promise<Diff> {
    return this.#inTurn(async () => {
      await this.#gather(signal)
      await this.#replan(signal)
      const observed = await this.#observe(noKinds, signal)
      return this.#diff(this.desired.objects(), observed, signal)
    })
  }

  /** One turn: take in what came, then a pass or an audit as is due. */
  async turn(signal: AbortSignal): Promise<void> {
    const { events, onInputs } = this.#options
    try {
      const news = await this.#gather(signal)
      if (news) await onInputs?.(this)
      if (this.#input === undefined && this.#admission.snapshot === undefined) {
        this.schedule.auditDone(0)
        return
      }
      const before = this.#input
      const changed = await this.#replan(signal)
      if (!this.#settled || this.schedule.auditDue) await this.#audit(changed.length > 0 && before !== undefined, signal)
      else if (changed.length > 0) await this.#pass(changed, signal)
    } catch (error) {
      if (signal.aborted) return
      const reason = reasonOf(error, 'reconcile')
      events.emit('error', 'reconcile-failed', { code: reason.code, object: reason.object, reason: reason.reason })
      this.tally.errors('reconcile', 1)
      this.schedule.retryIn(this.troubles.retryMs(this.#options.random ?? Math.random))
    }
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { kernel, events } = this.#options
    while (!signal.aborted) {
      try {
        for await (const change of kernel.changes(signal)) this.#note(change)
      } catch (error) {
        if (signal.aborted) return
        events.emit('error', 'kernel-events-lost', { reason: reasonOf(error, 'kernel events').reason })
        this.#note('overflow')
        await this.schedule.pause(1000, signal)
      }
    }
  }

  #note(change: Change): void {
    if (change !== 'objects') this.schedule.factsDue = true
    if (change !== 'facts') this.schedule.drifted()
    if (change === 'overflow') this.#options.events.emit('warning', 'kernel-events-overflow')
    this.schedule.rouse()
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turns.then(work, work)
    this.#turns = turn.catch(() => undefined) // the caller has the rejection
    return turn
  }

  /** Bags and facts. True where either brought something new. */
  async #gather(signal: AbortSignal): Promise<boolean> {
    let news = false
    for (let bag = this.#bags.shift(); bag !== undefined; bag = this.#bags.shift()) {
      await this.#admit(bag, signal)
      news = true
    }
    if (this.schedule.factsDue || this.#facts === undefined) {
      this.schedule.factsDue = false
      news = (await this.#gatherFacts(signal)) || news
    }
    return news
  }

  async #admit(bag: Bag, signal: AbortSignal): Promise<void> {
    const { events, now = Date.now } = this.#options
    const before = this.#admission
    this.#admission = await inTurns(this.#ledger.admitSteps(bag, now()), signal)
    if (bag.unreadable.length === 0) this.#registryAtMs = now()
    for (const { object, reason } of bag.unreadable) {
      if (this.#unreadable.some((known) => known.object === object && known.reason === reason)) continue
      events.emit('warning', 'registry-unreadable', { object, reason })
      this.tally.errors('registry', 1)
    }
    this.#unreadable = bag.unreadable
    if (this.#admission.refusals === before.refusals) return
    const known = new Set(before.refusals)
    for (const refusal of this.#admission.refusals) {
      if (known.has(refusal)) continue
      const { origin, rule, gateway, object, reason, next } = refusal
      events.emit('warning', 'document-refused', { origin, rule, gateway, object, reason, next })
      this.tally.errors('verify', 1)
    }
  }

  async #gatherFacts(signal: AbortSignal): Promise<boolean> {
    const { kernel, ownOf } = this.#options
    const fabric = this.#admission.snapshot?.fabric
    let facts = await kernel.facts([], signal)
    if (fabric !== undefined) {
      const bound = boundLinks(ownOf(fabric, facts), fabric, facts)
      if (bound.length > 0) facts = await kernel.facts(bound, signal)
    }
    if (JSON.stringify(facts) === JSON.stringify(this.#facts)) return false
    this.#facts = facts
    return true
  }

  /** Plans the shares that the news affects; answers them as they were and are. */
  async #replan(signal: AbortSignal): Promise<readonly Replanned[]> {
    const { ownOf, ids, saveIds, idsLost } = this.#options
    const { snapshot } = this.#admission
    const before = this.#input
    if (snapshot === undefined || this.#facts === undefined) return []
    if (before?.snapshot.fabric !== snapshot.fabric) await this.#gatherFacts(signal)
    const own = ownOf(snapshot.fabric, this.#facts)
    const input: PlanInput =
      before?.snapshot === snapshot && before.facts === this.#facts && before.own === own
        ? before
        : { snapshot, own, facts: this.#facts, paths: everyPathUp, ids }
    if (input === before) return []
    if (idsLost && !this.#recovered && snapshot.gateways.has(own.gateway)) {
      recoverGroupIds(ids, input, (await this.#observe(noKinds, signal)).flat())
      this.#recovered = true
    }
    const keys = affected(before, input)
    const replanned = await inTurns(sharesOf(input, keys, this.desired), signal)
    // From here on nothing is awaited but the ids: a turn that is cut off above leaves the old plan whole.
    for (const { now } of replanned) this.desired.set(now)
    this.#input = input
    if (ids.dirty) {
      ids.dirty = false
      await saveIds(ids)
    }
    return replanned
  }

  /** The affected shares against what they were. */
  async #pass(replanned: readonly Replanned[], signal: AbortSignal): Promise<void> {
    const started = performance.now()
    const { ops, conflicts } = await this.#diff(
      objectsOf(replanned.map(({ now }) => now)),
      [[...objectsOf(replanned.map(({ was }) => was))]],
      signal,
    )
    const results = await this.#apply(ops, signal)
    const failures = this.#take(results)
    // Part of a desired object's surroundings is outside these shares: only an audit can judge a conflict.
    if (failures > 0 || conflicts.length > 0) this.schedule.retryIn(this.troubles.retryMs(this.#options.random ?? Math.random))
    this.#tell('pass', replanned.length, ops, failures, performance.now() - started)
  }

  /** Everything against everything. */
  async #audit(changed: boolean, signal: AbortSignal): Promise<void> {
    const { kernel } = this.#options
    const started = performance.now()
    this.schedule.auditBegins()
    const without = this.#settled && !changed && (await kernel.firewallUnchanged(signal)) ? firewallKinds : noKinds
    const observed = await this.#observe(without, signal)
    const { ops, conflicts } = await this.#diff(this.desired.objects(without), observed, signal)
    const results = await this.#apply(ops, signal)
    const failures = this.#take(results)
    this.#tellConflicts(conflicts)
    this.troubles.settle(results, conflicts)
    const ms = performance.now() - started
    if (this.#settled && !changed) this.tally.drift(results)
    const first = !this.#settled
    this.#settled = true
    this.schedule.auditDone(ms)
    if (failures > 0 || conflicts.length > 0) this.schedule.retryIn(this.troubles.retryMs(this.#options.random ?? Math.random))
    this.#tell(first ? 'first-audit' : 'audit', this.desired.shares, ops, failures, ms)
  }

  async #observe(without: ReadonlySet<Kind>, signal: AbortSignal): Promise<(readonly KernelObject[])[]> {
    const { kernel } = this.#options
    const parts: (readonly KernelObject[])[] = []
    const sysctls = this.desired.sysctlNames()
    const kinds = without.size === 0 ? {} : { kinds: allKindsBut(without) }
    for await (const part of kernel.observe({ sysctls, ...kinds }, signal)) parts.push(part)
    return parts
  }

  #diff(
    desired: Iterable<KernelObject>,
    observed: readonly (readonly KernelObject[])[],
    signal: AbortSignal,
  ): Promise<Diff> {
    const nowSeconds = Math.floor((this.#options.now ?? Date.now)() / 1000)
    return inTurns(diffSteps(desired, flat(observed), { nowSeconds }), signal)
  }

  async #apply(ops: readonly Op[], signal: AbortSignal): Promise<readonly OpResult[]> {
    return ops.length === 0 ? [] : this.#options.kernel.apply(ops, signal)
  }

  #take(results: readonly OpResult[]): number {
    const { events, now = Date.now } = this.#options
    const failures = this.troubles.take(results, now())
    this.tally.ops(results)
    let told = 0
    for (const { op, error } of results) {
      if (error === undefined || told++ >= 10) continue
      const { code, object, reason, next } = error
      events.emit('error', 'op-failed', { verb: op.verb, code, object, reason, next })
    }
    if (failures > told) events.emit('error', 'op-failed', { more: failures - told })
    if (failures > 0) this.tally.errors('apply', failures)
    return failures
  }

  #tellConflicts(conflicts: readonly Reason[]): void {
    const known = new Set(this.troubles.conflicts.map(({ object, reason }) => `${object} ${reason}`))
    for (const { object, reason, next } of conflicts) {
      if (!known.has(`${object} ${reason}`)) this.#options.events.emit('error', 'conflict', { object, reason, next })
    }
  }

  #tell(event: string, shares: number, ops: readonly Op[], failures: number, ms: number): void {
    this.tally.turn(event === 'pass' ? 'pass' : 'audit', ms)
    const quiet = ops.length === 0 && event !== 'first-audit'
    const [only] = ops.length === 1 ? ops : []
    this.#options.events.emit(quiet ? 'debug' : 'info', event, {
      shares,
      ops: ops.length,
      failures,
      ms: Math.round(ms * 10) / 10,
      ...(only === undefined ? {} : { op: `${only.verb} ${formatObject(only.object)}` }),
    })
  }
}

interface Replanned {
  readonly was: Share | undefined
  readonly now: Share
}

function* sharesOf(input: PlanInput, keys: readonly ShareKey[], desired: Desired): Generator<void, Replanned[]> {
  const replanned: Replanned[] = []
  for (const key of keys) {
    replanned.push({ was: desired.get(key), now: share(input, key) })
    yield
  }
  return replanned
}

function* objectsOf(shares: readonly (Share | undefined)[]): Generator<KernelObject> {
  for (const each of shares) if (each !== undefined) yield* each.objects
}

function* flat(parts: readonly (readonly KernelObject[])[]): Generator<KernelObject> {
  for (const part of parts) yield* part
}

const allKinds: readonly Kind[] = [
  'link',
  'port',
  'device',
  'peer',
  'allowed-ip',
  'address',
  'fdb',
  'nexthop',
  'group',
  'route',
  'rule',
  'sysctl',
  'ruleset',
  'element',
]

function allKindsBut(without: ReadonlySet<Kind>): ReadonlySet<Kind> {
  return new Set(allKinds.filter((kind) => !without.has(kind)))
}
