/** A reconciler over the fake kernel, fed with documents by hand, its turns taken one by one. */
import { Events } from '../../agent/daemon/event.ts'
import type { Event } from '../../agent/daemon/event.ts'
import { Reconciler } from '../../agent/daemon/reconciler.ts'
import type { ReconcilerOptions } from '../../agent/daemon/reconciler-option.ts'
import { StatusView } from '../../agent/daemon/status.ts'
import type { StatusOptions } from '../../agent/daemon/status.ts'
import { Surroundings } from '../../agent/daemon/surroundings.ts'
import type { Reason } from '../../agent/errors.ts'
import type { Document } from '../../agent/model/document.ts'
import type { KernelObject } from '../../agent/model/kernel-object.ts'
import type { Op } from '../../agent/model/op.ts'
import { address, prefix } from '../../agent/model/prefix.ts'
import { GroupIds } from '../../agent/plan/group-id.ts'
import {
  certificateDocument,
  delivered,
  fabricDocument,
  ground,
  nowMs,
  placeOf,
  recordDocument,
} from './documents.ts'
import { FakeKernel } from './fake-kernel.ts'
import { bystanders } from './foreign.ts'
import { desiredOf } from './pass.ts'
import { linkWith, ownWith } from './plan-input.ts'

/** The host of a Rig. */
export const facts = {
  links: [linkWith('eth0 192.0.2.1/24 default'), linkWith('lan0 10.1.0.1/24', 1)],
  routes: [],
  ipv6: true,
  features: { wireguard: true },
}

/** Certificate and record of gateways `g1` to `g<count>`, and the fabric document. */
export function documents(count: number): readonly Document[] {
  const numbers = Array.from({ length: count }, (_, i) => i + 1)
  return [
    fabricDocument(),
    ...numbers.flatMap((n) => [certificateDocument(n, { notAfter: 4102444800000 }), recordDocument(n)]),
  ]
}

export class Rig {
  readonly kernel: FakeKernel
  readonly events = new Events()
  readonly saved: string[] = []
  readonly reconciler: Reconciler
  readonly #stop = new AbortController()

  constructor(
    kernel: FakeKernel = new FakeKernel(facts, bystanders),
    change: Partial<ReconcilerOptions> = {},
  ) {
    this.kernel = kernel
    const own = ownWith('g1', 's1', {
      endpoints: [{ underlay: 'internet', address: address('192.0.2.1'), port: 51820 }],
    })
    this.reconciler = new Reconciler({
      kernel,
      gateway: 'g1',
      ground: { ...ground, self: 'g1' },
      now: () => nowMs,
      ids: new GroupIds(),
      saveIds: (ids) => {
        this.saved.push(JSON.stringify(ids))
        return Promise.resolve()
      },
      events: this.events,
      ownOf: () => own,
      random: () => 0.5,
      ...change,
    })
  }

  get signal(): AbortSignal {
    return this.#stop.signal
  }

  stop(): void {
    this.#stop.abort()
  }

  /** All that the registry holds. */
  deliver(all: readonly Document[], unreadable: readonly Reason[] = []): void {
    const said = all.map((document) => delivered(document))
    void this.reconciler.deliver({ documents: said, complete: unreadable.length === 0, unreadable })
  }

  /** Some changed documents. */
  change(...changed: readonly Document[]): void {
    void this.reconciler.deliver({
      documents: changed.map((document) => delivered(document, placeOf(document))),
      complete: false,
      unreadable: [],
    })
  }

  /** What `status` and metrics show of it. */
  view(change: Partial<StatusOptions> = {}): StatusView {
    return new StatusView({
      reconciler: this.reconciler,
      kernel: this.kernel,
      surroundings: new Surroundings(),
      version: '1.2.3',
      fabric: 'prod',
      gateway: 'g1',
      site: 's1',
      registry: 'file:///r',
      isService: false,
      startedAt: 0,
      hindrance: undefined,
      unpublished: () => undefined,
      ...change,
    })
  }

  turn(): Promise<boolean> {
    return this.reconciler.turn(this.signal)
  }

  async audit(): Promise<readonly Op[] | undefined> {
    return this.reconciler.auditNow(this.signal)
  }

  /** What the plan in force asks of the kernel, planned anew. */
  get desired(): readonly KernelObject[] {
    return this.reconciler.planned === undefined ? [] : desiredOf(this.reconciler.planned)
  }

  /** Names of events so far, those of nobody's interest left out. */
  get told(): readonly string[] {
    return this.events.since(0).flatMap(({ event, level }) => (level === 'debug' ? [] : [event]))
  }

  last(name: string): Event | undefined {
    return this.events.since(0).findLast(({ event }) => event === name)
  }
}

/** A route to 10.2.0.0/16, the prefix of g2. */
export function routeTo2(kernel: FakeKernel): KernelObject | undefined {
  return kernel.owned.find((object) => object.kind === 'route' && object.prefix === prefix('10.2.0.0/16'))
}
