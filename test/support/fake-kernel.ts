/**
 * The kernel port in memory, with faults to order: an op that fails with an errno, once or always, a crash in the middle
 * of a list, and changes by others. `afterOp` sees the state after every single op: that is where the tests check that
 * each prefix of an op list is a valid state.
 */
import { Gate } from '../../agent/kernel/gate.ts'
import type { Carried, Change, Kernel, ObserveOptions, Drift } from '../../agent/kernel/port.ts'
import { isOurs, carrierOf } from '../../agent/diff/ownership.ts'
import { formatObject } from '../../agent/model/op-text.ts'
import type { HostFacts } from '../../agent/model/host.ts'
import { nftTable } from '../../agent/model/kernel-number.ts'
import type { KernelObject } from '../../agent/model/kernel-object.ts'
import type { Op, OpResult } from '../../agent/model/op.ts'
import { Errno, FakeState } from './fake-state.ts'

export interface Fault {
  /** Counted from 0 over the life of the kernel; absent: any op that `matches`. */
  readonly at?: number
  readonly matches?: (op: Op) => boolean
  /** `crash`: the op is not done and apply throws, as if the agent were killed there. */
  readonly errno: string
  readonly always?: boolean
}

/** Thrown by apply where a fault says `crash`. */
export class Crash extends Error {}

export class FakeKernel implements Kernel {
  readonly state = new FakeState()
  readonly faults: Fault[] = []
  /** Ops tried so far, over all calls. */
  applied = 0
  afterOp: ((op: Op, error: Errno | undefined) => void) | undefined
  hostFacts: HostFacts
  /** By others, or never observed: then it must be listed. */
  #firewallAltered = true
  readonly #gate = new Gate()
  readonly #waiting: ((change: Change | undefined) => void)[] = []
  readonly #pending: Change[] = []

  constructor(facts: HostFacts, foreign: readonly KernelObject[] = []) {
    this.hostFacts = facts
    this.meetHost(facts)
    for (const object of foreign) this.state.put(object)
  }

  /** Links, addresses and sysctls of the host, as facts have them. */
  meetHost(facts: HostFacts): void {
    this.hostFacts = facts
    this.state.hostAddresses.clear()
    this.state.hostLinks.clear()
    for (const { name, addresses } of facts.links) {
      this.state.hostLinks.add(name)
      for (const { address } of addresses) this.state.hostAddresses.add(address)
    }
  }

  /** Ours, by the one definition; what sits on somebody else's link under our name is theirs. */
  get owned(): readonly KernelObject[] {
    return this.state.objects.filter((object) => isOurs(object) && !this.#isOnForeignLink(object))
  }

  get foreign(): readonly KernelObject[] {
    return this.state.objects.filter((object) => !isOurs(object) || this.#isOnForeignLink(object))
  }

  facts(): Promise<HostFacts> {
    return Promise.resolve(this.hostFacts)
  }

  async *observe({ sysctls, kinds }: ObserveOptions): AsyncIterable<readonly KernelObject[]> {
    await Promise.resolve()
    if (kinds?.has('ruleset') ?? true) {
      this.#firewallAltered = false
      this.#gate.look()
    }
    yield this.observed(sysctls).filter(({ kind }) => kinds?.has(kind) ?? true)
  }

  /** As observe, at once: sysctls that are named or remembered, and all else. */
  observed(sysctls: readonly string[]): readonly KernelObject[] {
    return this.state.objects.filter(
      (object) => object.kind !== 'sysctl' || object.previous !== undefined || sysctls.includes(object.name),
    )
  }

  carried(): Promise<Carried> {
    return Promise.resolve({ packets: 0, bytes: 0 })
  }

  firewallUnchanged(): Promise<boolean> {
    return Promise.resolve(!this.#firewallAltered)
  }

  apply(ops: readonly Op[]): Promise<readonly OpResult[]> {
    return new Promise((resolve) => {
      resolve(this.applyNow(ops))
    })
  }

  applyNow(ops: readonly Op[]): readonly OpResult[] {
    if (this.#gate.mayReopen(ops) && this.state.has(`ruleset ${nftTable}`)) this.#gate.reopen()
    return ops.map((op) => this.#one(op))
  }

  async *changes(signal: AbortSignal): AsyncIterable<Change> {
    const end = (): void => {
      for (const wake of this.#waiting.splice(0)) wake(undefined)
    }
    signal.addEventListener('abort', end, { once: true })
    while (!signal.aborted) {
      const change = this.#pending.shift() ?? (await new Promise((wake) => this.#waiting.push(wake)))
      if (change === undefined) return
      yield change
    }
  }

  /** Says that somebody changed something. */
  emit(change: Change): void {
    const wake = this.#waiting.shift()
    if (wake === undefined) this.#pending.push(change)
    else wake(change)
  }

  /** Something goes behind our back, with all that goes with it. */
  lose(object: KernelObject): void {
    this.state.remove(object)
    if (isFirewall(object)) this.#firewallAltered = true
    this.emit(driftOf(object))
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  #one(op: Op): OpResult {
    const error = this.#gate.holdsBack(op) ? new Errno('HELD', 'the firewall failed') : this.#try(op)
    this.#gate.take(op, error !== undefined)
    this.applied++
    this.afterOp?.(op, error)
    if (error === undefined) return { op }
    return { op, error: { code: 'netlink', object: formatObject(op.object), reason: error.message } }
  }

  #try(op: Op): Errno | undefined {
    const index = this.faults.findIndex(
      ({ at, matches }) => (at === undefined || at === this.applied) && (matches?.(op) ?? true),
    )
    const fault = this.faults[index]
    if (fault !== undefined) {
      if (fault.always !== true) this.faults.splice(index, 1)
      if (fault.errno === 'crash') throw new Crash(`before op ${this.applied}`)
      return new Errno(fault.errno, 'injected')
    }
    try {
      this.state.apply(op)
      return undefined
    } catch (error) {
      if (error instanceof Errno) return error
      throw error
    }
  }

  #isOnForeignLink(object: KernelObject): boolean {
    const link = this.state.link(carrierOf(object) ?? '')
    return link !== undefined && !isOurs(link)
  }
}

function isFirewall({ kind }: KernelObject): boolean {
  return kind === 'ruleset' || kind === 'element'
}

/** What the kernel's own events would say of it. */
export function driftOf({ kind }: KernelObject): Drift {
  if (kind === 'rule') return 'rules'
  return kind === 'route' || kind === 'nexthop' || kind === 'group' ? 'routes' : 'objects'
}
