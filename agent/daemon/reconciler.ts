/**
 * The reconciler: one loop that makes the kernel agree with the snapshot.
 *
 *   bags ─▶ ledger ─▶ snapshot ─┐
 *                    facts ─────┼─▶ affected shares ─▶ diff ─▶ ops      (a pass)
 *                    paths ─────┘   all shares, dump ─▶ diff ─▶ ops     (an audit)
 *
 * Events only mark what is due. Work is done in turns, one after the other, each from inputs taken in at its start. A pass
 * diffs the affected shares against what they were and costs what the change costs. An audit dumps everything and compares:
 * at the start, after a failure, when somebody else touched what is ours, and from time to time. Nothing is written before
 * a snapshot holds this gateway, nothing is removed because a registry fell silent or because the loop ends.
 */
import { isAborted } from '../pause.ts'
import { reasonOf } from '../errors.ts'
import { diffSteps } from '../diff/diff.ts'
import type { Diff } from '../diff/diff.ts'
import type { Bag } from '../model/document.ts'
import type { Kind, KernelObject } from '../model/kernel-object.ts'
import type { PathState } from '../model/path-state.ts'
import type { Op, OpResult } from '../model/op.ts'
import { affected } from '../plan/affected.ts'
import type { GroupIds } from '../plan/group-id.ts'
import type { PlanInput, Share, ShareKey } from '../plan/input.ts'
import { preparation, share } from '../plan/share.ts'
import { inTurns } from './breath.ts'
import { Calm, contextAt } from './calm.ts'
import { Desired } from './desired.ts'
import { Inputs } from './inputs.ts'
import { followKernel } from './kernel-watch.ts'
import { Leftovers } from './leftover.ts'
import { MovedPeers } from './moved-peer.ts'
import { flat, leftOut, listOf, noKinds, observeBut, reachesBeyond, remakesLink } from './pass.ts'
import type { ReconcilerOptions } from './reconciler-option.ts'
import { recoverGroupIds } from './recovery.ts'
import { Schedule } from './schedule.ts'
import { Stall } from './stall.ts'
import { Suspension } from './suspension.ts'
import { Tally } from './tally.ts'
import { tellConflicts, tellDrift, tellPass } from './telling.ts'
import { Troubles } from './trouble.ts'
import { Turns } from './turn.ts'
import { Writer } from './writer.ts'

/** An audit gives way to news this often in a row, a plan is discarded for news this often, and then goes through. */
const patience = 3

type Changes = ReadonlyMap<ShareKey, Share>

/** What makes an audit end early without a result. */
class Abandoned extends Error {}

export class Reconciler {
  readonly desired = new Desired()
  readonly troubles = new Troubles()
  readonly tally = new Tally()
  readonly stall = new Stall()
  readonly schedule: Schedule
  readonly inputs: Inputs
  readonly #options: ReconcilerOptions
  readonly #now: () => number
  readonly #random: () => number
  readonly #suspension = new Suspension()
  readonly #turns = new Turns(this.stall)
  readonly #leftovers: Leftovers
  readonly #moved = new MovedPeers(() => {
    this.schedule.rouse()
  })
  readonly #writer: Writer
  readonly #calm: Calm
  #ids: GroupIds
  /** The input that `desired` was planned from. */
  #planned: PlanInput | undefined
  /** The first audit is done: kernel state is as desired, failures excepted. */
  #settled = false
  #audit: { readonly abandon: AbortController } | undefined
  #abandoned = 0
  #discarded = 0

  constructor(options: ReconcilerOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#calm = new Calm(this.#now)
    this.#random = options.random ?? Math.random
    this.#ids = options.ids
    this.#leftovers = new Leftovers(options.ids)
    this.schedule = new Schedule(this.#random)
    const { kernel, gateway, ground, known, ownOf, events } = options
    const { tally, schedule, desired, troubles } = this
    this.#writer = new Writer({ ...options, tally, desired, troubles, now: this.#now })
    this.inputs = new Inputs({
      kernel,
      gateway,
      ground,
      ...(known === undefined ? {} : { known }),
      ownOf,
      events,
      tally,
      schedule,
      now: this.#now,
      ...(options.limits === undefined ? {} : { limits: options.limits }),
    })
  }

  get settled(): boolean {
    return this.#settled
  }

  /** The input in force: what the kernel was last made to agree with. */
  get planned(): PlanInput | undefined {
    return this.#planned
  }

  /** Gateways that the registry is silent about and that stay as the last run left them. */
  get missing(): readonly string[] {
    return this.#leftovers.missing(this.inputs)
  }

  /** News of the registry; taken in by the next turn. An audit that runs gives way. Resolves when there may be more. */
  deliver(bag: Bag): Promise<void> {
    const delivered = this.inputs.deliver(bag)
    if (this.#abandoned < patience) this.#audit?.abandon.abort(new Abandoned('news'))
    return delivered
  }

  /** What is known of paths from now on. Traffic waits for it, so that an audit that runs gives way, oftener than to news. */
  setPaths(paths: PathState): void {
    this.inputs.setPaths(paths)
    if (this.#abandoned < 3 * patience) this.#audit?.abandon.abort(new Abandoned('a path'))
  }

  /** Follows the kernel and works until the signal aborts. Rejects only for what nobody expected. */
  async run(signal: AbortSignal): Promise<void> {
    const { kernel, events } = this.#options
    const watching = followKernel(kernel, this.schedule, events, this.tally, signal)
    const stop = this.#suspension.start()
    try {
      while (!signal.aborted) {
        await this.schedule.due(signal, this.#settled)
        if (isAborted(signal)) break
        if (await this.#turns.take(() => this.turn(signal))) this.#options.onTurn?.()
      }
    } finally {
      stop()
      await watching
    }
  }

  /** One turn: take in what came, then a pass or an audit as is due. False where it failed; the failure is recorded. */
  async turn(signal: AbortSignal): Promise<boolean> {
    try {
      if (await this.inputs.take(signal)) this.#options.onInputs?.()
      const input = this.#input()
      if (input !== undefined) await this.#reconcile(input, signal)
      this.tally.turnAt = performance.now()
      return true
    } catch (error) {
      if (signal.aborted) return false
      const { code, object, reason, next } = reasonOf(error, 'reconcile')
      this.#options.events.emit('error', 'reconcile-failed', { code, object, reason, next })
      this.tally.error('reconcile')
      this.troubles.stumble()
      this.#retry()
      return false
    }
  }

  /** What an audit would do now, and nothing done; undefined while there is nothing to go by. */
  preview(signal: AbortSignal): Promise<Diff | undefined> {
    return this.#turns.take(async () => {
      const input = this.#input()
      if (input === undefined || !this.#settled) return undefined
      const changes = await inTurns(this.#replan(input), signal)
      const observed = await listOf(this.#observe(changes.get('host'), noKinds, signal))
      return this.#diff(this.desired.objects(noKinds, changes), observed, signal)
    })
  }

  /** An audit at once; its ops. Undefined while there is nothing to go by. */
  auditNow(signal: AbortSignal): Promise<readonly Op[] | undefined> {
    return this.#turns.take(async () => {
      await this.inputs.take(signal)
      const input = this.#input()
      return input === undefined ? undefined : this.#auditAll(input, signal)
    })
  }

  async #reconcile(input: PlanInput, signal: AbortSignal): Promise<void> {
    if (!this.#settled) {
      await this.#auditAll(input, signal)
      return
    }
    if (input !== this.#planned) {
      // While somebody holds what should be ours, only a look at everything tells what must be left out.
      if (this.troubles.conflicts.length > 0) await this.#auditAll(input, signal)
      else await this.#pass(input, signal)
    }
    const again = this.#moved.due((peer) => this.desired.holds(`gateway ${peer.gateway ?? ''}`, peer))
    if (again.length > 0) await this.#writer.carryOut(again, signal)
    if (this.#leftovers.isDue(this.inputs)) this.schedule.auditNow()
    if (!this.schedule.auditDue || input !== this.#planned) return
    if (this.inputs.pending && this.#abandoned < patience) {
      this.#abandoned++
      return
    }
    const abandon = new AbortController()
    this.#audit = { abandon }
    try {
      await this.#auditAll(input, AbortSignal.any([signal, abandon.signal]))
    } catch (error) {
      if (!abandon.signal.aborted || signal.aborted) throw error
      this.#abandoned++
      this.schedule.retryIn(100)
    } finally {
      this.#audit = undefined
    }
  }

  /** The affected shares against what they were. */
  async #pass(input: PlanInput, signal: AbortSignal): Promise<void> {
    const startedAt = performance.now()
    const changes = await inTurns(this.#replan(input), signal)
    const wanted = [...changes.values()].flatMap(({ objects }) => objects)
    if (this.#leftovers.meets(wanted)) {
      await this.#auditAll(input, signal)
      return
    }
    const { ops, conflicts } = await this.#diff(wanted, [[...this.desired.believed(changes.keys())]], signal)
    if (this.#isStale(this.#discarded < patience)) {
      this.#discarded++
      return
    }
    this.#discarded = 0
    const failed = await this.#write(input, changes, ops, signal)
    // Conflicts and links made anew reach beyond these shares: only an audit can judge them.
    if (conflicts.length > 0 || remakesLink(ops)) this.schedule.auditNow()
    if (failed.length > 0) this.#retry()
    this.#tell('pass', [...changes.keys()], ops, failed, startedAt)
  }

  /** Everything against everything; for drift, what may have drifted. */
  async #auditAll(input: PlanInput, signal: AbortSignal): Promise<readonly Op[]> {
    const { events } = this.#options
    const startedAt = performance.now()
    this.schedule.auditBegins()
    const isChange = input !== this.#planned
    const trusted = this.#settled && !isChange && this.troubles.isNone
    const without = trusted ? await this.#leftOut(signal) : noKinds
    if (trusted && !this.schedule.isDrift) {
      const stands = this.#observe(undefined, without, signal)
      const isCalm = await this.#calm.isAsDesired(this.desired.objects(without), stands, signal)
      if (isCalm) return this.#confirmed(startedAt)
    }
    if (isChange) await inTurns(preparation(input), signal)
    const host = isChange ? share(input, 'host') : undefined
    const observed = await listOf(this.#observe(host, without, signal))
    let planned = input
    if (!this.#settled) {
      // Before anything is planned: a plan gives out ids for what it does not know.
      this.#ids = await inTurns(recoverGroupIds(this.#ids, input, flat(observed)), signal)
      planned = this.inputs.planInput(this.#ids) ?? input
    }
    const changes = await inTurns(this.#replan(planned), signal)
    const found = await this.#diff(this.desired.objects(without, changes), observed, signal)
    this.#calm.judged()
    if (reachesBeyond(found.ops, without)) {
      this.schedule.auditNow()
      return []
    }
    if (this.#isStale(this.#abandoned < patience)) {
      this.#abandoned++
      if (this.#settled) this.schedule.retryIn(100)
      return []
    }
    if (this.#audit?.abandon.signal.aborted === true) throw new Abandoned('news')
    this.#audit = undefined
    const ops = this.#leftovers.without(found.ops, flat(observed), this.inputs, events)
    this.desired.forgetAstray()
    const failed = await this.#write(planned, changes, ops, signal)
    if (this.#leftovers.released) this.#ids.retain(this.desired.objectsOf('group')) // saved with the next write
    tellConflicts(events, this.troubles.conflicts, found.conflicts)
    this.troubles.settle(failed, found.conflicts)
    if (this.#settled && !isChange) tellDrift(events, this.tally, ops, failed)
    const first = !this.#settled
    this.#settled = true
    this.#auditDone(startedAt)
    if (failed.length > 0 || found.conflicts.length > 0) this.#retry()
    this.#tell(first ? 'first-audit' : 'audit', [...changes.keys()], ops, failed, startedAt)
    return ops
  }

  #confirmed(startedAt: number): readonly Op[] {
    this.#audit = undefined
    this.desired.forgetAstray()
    this.troubles.settle([], [])
    this.#auditDone(startedAt)
    this.#tell('audit', [], [], [], startedAt)
    return []
  }

  /** A gateway that the snapshot lost, or lists no more, goes by the last plan: what stands stays, and stays whole. */
  #input(): PlanInput | undefined {
    return this.inputs.planInput(this.#ids) ?? this.#planned
  }

  #auditDone(startedAt: number): void {
    this.#abandoned = 0
    this.schedule.auditDone(performance.now() - startedAt)
  }

  /** Shares that differ, as they should be. */
  *#replan(input: PlanInput): Generator<void, Changes> {
    const changes = new Map<ShareKey, Share>()
    if (input === this.#planned) return changes
    const before = this.#planned?.ids === input.ids ? this.#planned : undefined
    const keys = affected(before, input)
    if (keys.includes('host')) yield* preparation(input)
    for (const key of keys) {
      changes.set(key, share(input, key))
      yield
    }
    return changes
  }

  /** Carries the ops out; answers what failed. */
  async #write(
    input: PlanInput,
    changes: Changes,
    ops: readonly Op[],
    signal: AbortSignal,
  ): Promise<readonly OpResult[]> {
    await this.#writer.saveIds(this.#ids)
    this.#writer.adopt([...changes.values()])
    this.#planned = input
    this.#moved.note(ops)
    try {
      return await this.#writer.carryOut(ops, signal)
    } catch (error) {
      // Which ops were carried out is not known: nothing is believed until an audit looked.
      this.#settled = false
      throw error
    }
  }

  /**
   * True where the plan must not be written: the process was stopped for a while, or news came. News postpones a few times
   * only, so that a registry that never rests does not keep a gateway from its work.
   */
  #isStale(newsCount: boolean): boolean {
    const stoppedMs = this.#suspension.stoppedMs()
    if (stoppedMs === 0 && !(newsCount && this.inputs.pending)) return false
    this.tally.discarded++
    if (stoppedMs === 0) this.schedule.rouse()
    else {
      this.#options.events.emit('warning', 'resumed', { stoppedMs: Math.round(stoppedMs) })
      // The event loop first delivers what waited, then the next turn begins.
      this.schedule.retryIn(100)
    }
    return true
  }

  #retry(): void {
    this.schedule.retryIn(this.troubles.retryMs(this.#random))
  }

  #observe(
    host: Share | undefined,
    without: ReadonlySet<Kind>,
    signal: AbortSignal,
  ): AsyncIterable<readonly KernelObject[]> {
    const { kernel, onProgress } = this.#options
    return observeBut(kernel, without, this.desired.sysctlNames(host), signal, onProgress)
  }

  #diff(
    desired: Iterable<KernelObject>,
    observed: readonly (readonly KernelObject[])[],
    signal: AbortSignal,
  ): Promise<Diff> {
    return inTurns(diffSteps(desired, flat(observed), contextAt(this.#now())), signal)
  }

  /** Leftovers are known by all that stands, so that while some are held nothing is left out but the firewall. */
  async #leftOut(signal: AbortSignal): Promise<ReadonlySet<Kind>> {
    const scope = this.#leftovers.released ? this.schedule.scope : 'objects'
    return leftOut(scope, await this.#options.kernel.firewallUnchanged(signal))
  }

  #tell(
    event: 'pass' | 'audit' | 'first-audit',
    keys: readonly ShareKey[],
    ops: readonly Op[],
    failed: readonly OpResult[],
    startedAt: number,
  ): void {
    const ms = performance.now() - startedAt
    this.tally.turn(event === 'pass' ? 'pass' : 'audit', ms)
    tellPass(this.#options.events, event, keys, ops, failed.length, ms)
  }
}
