import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { ObserveOptions } from '../../../agent/kernel/port.ts'
import { nexthopId, overlayTable } from '../../../agent/model/kernel-number.ts'
import type { KernelObject } from '../../../agent/model/kernel-object.ts'
import { formatOp } from '../../../agent/model/op-text.ts'
import type { Op, OpResult } from '../../../agent/model/op.ts'
import { prefix } from '../../../agent/model/prefix.ts'
import { GroupIds } from '../../../agent/plan/group-id.ts'
import { certificateDocument, fabricDocument, recordDocument } from '../../support/documents.ts'
import { FakeKernel } from '../../support/fake-kernel.ts'
import { bystanders } from '../../support/foreign.ts'
import { assertConverged, foreignText } from '../../support/pass.ts'
import { linkWith } from '../../support/plan-input.ts'
import { documents, Rig } from '../../support/rig.ts'

const facts = {
  links: [linkWith('eth0 192.0.2.1/24 default'), linkWith('lan0 10.1.0.1/24', 1)],
  routes: [],
  ipv6: true,
  features: { wireguard: true },
}
const unreadable = { code: 'registry-unreadable', object: '/registry', reason: 'gone' } as const

/** A route to 10.2.0.0/16, the prefix of g2. */
function routeTo2(kernel: FakeKernel): KernelObject | undefined {
  return kernel.owned.find((object) => object.kind === 'route' && object.prefix === prefix('10.2.0.0/16'))
}

void t.test('nothing is written without a snapshot that holds this gateway', async (t) => {
  const cases: Readonly<Record<string, (rig: Rig) => void>> = {
    'no bag at all': () => undefined,
    'an empty registry': (rig) => {
      rig.deliver([])
    },
    'an unreadable registry': (rig) => {
      rig.deliver([], [unreadable])
    },
    'a fabric document alone': (rig) => {
      rig.deliver([fabricDocument()])
    },
    'no record of ours': (rig) => {
      rig.deliver(documents(3).filter((each) => each.type !== 'record' || each.payload.gateway !== 'g1'))
    },
    'no certificate of ours': (rig) => {
      rig.deliver(documents(3).filter((each) => each.type !== 'certificate' || each.payload.gateway !== 'g1'))
    },
  }
  for (const [name, prepare] of Object.entries(cases)) {
    // What stands there from an earlier life must stay, too.
    const before = new Rig()
    before.deliver(documents(2))
    await before.turn()
    const { kernel } = before
    const { applied } = kernel
    const rig = new Rig(kernel)
    prepare(rig)
    t.equal(await rig.turn(), true, name)
    t.equal(await rig.audit(), undefined, name)
    t.equal(kernel.applied, applied, `${name}: no op`)
    t.equal(rig.reconciler.settled, false, name)
  }
})

void t.test('the first audit makes the kernel agree, and the next finds nothing to do', async (t) => {
  const rig = new Rig()
  const foreign = foreignText(rig.kernel)
  rig.deliver(documents(3))
  await rig.turn()
  t.equal(rig.reconciler.settled, true)
  assertConverged(rig.kernel, rig.desired)
  t.ok(routeTo2(rig.kernel), 'a route to g2')
  t.equal(foreignText(rig.kernel), foreign)
  t.same(await rig.audit(), [])
  t.match(rig.told, ['first-audit'])
})

void t.test('a changed record is a pass over its shares', async (t) => {
  const rig = new Rig()
  rig.deliver(documents(4))
  await rig.turn()
  const { applied } = rig.kernel
  const more = [prefix('10.2.0.0/16'), prefix('10.200.0.0/16')]
  rig.change(
    certificateDocument(2, {
      serial: 2,
      notAfter: 4102444800000,
      prefixes: more.map((each) => ({ prefix: each })),
    }),
    recordDocument(2, { serial: 2, prefixes: more }),
  )
  await rig.turn()
  assertConverged(rig.kernel, rig.desired)
  t.match(rig.last('pass')?.fields, { shares: 2, of: 'site s2, gateway g2', failures: 0 })
  t.equal(rig.kernel.applied - applied, 3, 'route, AllowedIP, guard element')
})

void t.test('documents that say the same write nothing', async (t) => {
  const rig = new Rig()
  rig.deliver(documents(3))
  await rig.turn()
  const { applied } = rig.kernel
  rig.deliver([...documents(3)].reverse())
  await rig.turn()
  t.equal(rig.kernel.applied, applied)
})

void t.test('one failed op hides nothing, is shown, and is tried again', async (t) => {
  const rig = new Rig()
  rig.kernel.faults.push({
    matches: ({ object }) => object.kind === 'route' && object.prefix === prefix('10.2.0.0/16'),
    errno: 'ENOMEM',
  })
  rig.deliver(documents(3))
  await rig.turn()
  t.notOk(routeTo2(rig.kernel), 'it failed')
  t.ok(
    rig.kernel.owned.some((object) => object.kind === 'rule'),
    'what comes behind it was done',
  )
  t.match(rig.reconciler.troubles.failures, [{ object: /10\.2\.0\.0\/16/, reason: /ENOMEM/, times: 1 }])
  t.ok(rig.told.includes('op-failed'))
  await pause(300)
  await rig.turn()
  t.ok(routeTo2(rig.kernel), 'the retry did it')
  t.same(rig.reconciler.troubles.failures, [])
  assertConverged(rig.kernel, rig.desired)
})

void t.test('an object that never works is tried ever more rarely', async (t) => {
  const rig = new Rig()
  rig.kernel.faults.push({
    matches: ({ object }) => object.kind === 'route' && object.prefix === prefix('10.2.0.0/16'),
    errno: 'EINVAL',
    always: true,
  })
  rig.deliver(documents(2))
  await rig.turn()
  for (let i = 0; i < 3; i++) await rig.audit()
  const { troubles } = rig.reconciler
  t.equal(troubles.failures[0]?.times, 4)
  t.equal(
    troubles.retryMs(() => 0.5),
    2000,
    '250 ms doubled three times',
  )
})

void t.test('a pass believes of a failed op what was there before', async (t) => {
  const rig = new Rig()
  rig.deliver(documents(2))
  await rig.turn()
  const isRoute = ({ object }: Op): boolean =>
    object.kind === 'route' && object.prefix === prefix('10.77.0.0/16')
  rig.kernel.faults.push({ matches: isRoute, errno: 'ENOMEM', always: true })
  const both = [prefix('10.2.0.0/16'), prefix('10.77.0.0/16')]
  rig.change(
    certificateDocument(2, {
      serial: 2,
      notAfter: 4102444800000,
      prefixes: both.map((each) => ({ prefix: each })),
    }),
    recordDocument(2, { serial: 2, prefixes: both }),
  )
  await rig.turn()
  t.equal(rig.reconciler.troubles.failures.length, 1)
  const seen: string[] = []
  rig.kernel.afterOp = (op) => void seen.push(formatOp(op))
  rig.change(recordDocument(2, { serial: 3, prefixes: [prefix('10.2.0.0/16')] }))
  await rig.turn()
  t.notOk(
    seen.some((line) => line.includes('route delete 10.77.0.0/16')),
    'what never came is not removed',
  )
  t.ok(
    seen.some((line) => line.includes('10.77.0.0')),
    'the rest of the prefix is',
  )
})

void t.test('drift is repaired, counted and told; strangers stay', async (t) => {
  const rig = new Rig()
  rig.deliver(documents(3))
  const foreign = foreignText(rig.kernel)
  const running = rig.reconciler.run(rig.signal)
  while (!rig.reconciler.settled) await pause(5)
  const route = routeTo2(rig.kernel)
  t.ok(route)
  if (route === undefined) return
  const lostAt = performance.now()
  rig.kernel.lose(route)
  while (routeTo2(rig.kernel) === undefined && performance.now() - lostAt < 5000) await pause(5)
  t.ok(performance.now() - lostAt < 1000, `repaired after ${Math.round(performance.now() - lostAt)} ms`)
  t.equal(rig.reconciler.tally.repaired.get('route'), 1)
  t.match(rig.last('drift-repaired')?.fields, { verb: 'add', object: /10\.2\.0\.0/ })
  t.equal(foreignText(rig.kernel), foreign)
  rig.stop()
  await running
})

void t.test('whoever fights us gets an audit a while, not a busy loop', async (t) => {
  const rig = new Rig()
  rig.deliver(documents(2))
  const running = rig.reconciler.run(rig.signal)
  while (!rig.reconciler.settled) await pause(5)
  const before = rig.reconciler.tally.durations.get('audit')?.count ?? 0
  const until = performance.now() + 1600
  while (performance.now() < until) {
    const route = routeTo2(rig.kernel)
    if (route !== undefined) rig.kernel.lose(route)
    await pause(10)
  }
  const audits = (rig.reconciler.tally.durations.get('audit')?.count ?? 0) - before
  t.ok(audits >= 2 && audits <= 4, `${audits} audits in 1.6 s`)
  rig.stop()
  await running
})

void t.test('a name taken by somebody else is refused, and stays theirs whatever comes', async (t) => {
  const theirs: KernelObject = { kind: 'link', name: 'ls-wg0', type: 'other', mtu: 1500, up: true, group: 0 }
  const kernel = new FakeKernel(facts, [...bystanders, theirs])
  const rig = new Rig(kernel)
  rig.deliver(documents(2))
  await rig.turn()
  t.match(rig.reconciler.troubles.conflicts, [{ code: 'conflict', object: /ls-wg0/ }])
  t.ok(rig.told.includes('conflict'))
  rig.change(recordDocument(2, { serial: 2, state: 'withdrawn' }))
  await rig.turn()
  t.same(kernel.state.link('ls-wg0'), theirs, 'the withdrawn peer took nothing along')
  t.same(rig.reconciler.troubles.conflicts, [], 'nobody wants the name any more')
  t.ok(rig.told.includes('conflict-over'))
})

void t.test('passes are serialised, and news in between is one pass', async (t) => {
  let running = 0
  let most = 0
  let applies = 0
  class Slow extends FakeKernel {
    override async apply(ops: readonly Op[]): Promise<readonly OpResult[]> {
      applies++
      most = Math.max(most, ++running)
      await pause(60)
      running--
      return this.applyNow(ops)
    }
  }
  const rig = new Rig(new Slow(facts, bystanders))
  rig.deliver(documents(2))
  const loop = rig.reconciler.run(rig.signal)
  while (!rig.reconciler.settled) await pause(5)
  applies = 0
  for (let serial = 2; serial < 12; serial++) {
    rig.change(recordDocument(2, { serial, weight: serial }))
    await pause(8)
  }
  await pause(300)
  rig.stop()
  await loop
  t.equal(most, 1)
  t.ok(applies >= 1 && applies <= 4, `10 changes were ${applies} passes`)
  assertConverged(rig.kernel, rig.desired)
  const group = rig.kernel.owned.find((object) => object.kind === 'group')
  t.match(group, { members: [{ weight: 11 }] }, 'the last one counts')
})

void t.test('a plan that news outran is not written', async (t) => {
  let arrive: (() => void) | undefined
  class Gated extends FakeKernel {
    override async *observe(options: ObserveOptions): AsyncIterable<readonly KernelObject[]> {
      arrive?.()
      arrive = undefined
      await pause(1)
      yield* super.observe(options)
    }
  }
  const rig = new Rig(new Gated(facts, bystanders))
  const seen: string[] = []
  rig.kernel.afterOp = (op) => void seen.push(formatOp(op))
  rig.deliver(documents(2))
  arrive = () => {
    rig.change(recordDocument(2, { serial: 2, state: 'withdrawn' }))
  }
  await rig.turn()
  t.same(seen, [], 'the plan with the peer went nowhere')
  t.equal(rig.reconciler.tally.discarded, 1)
  await rig.turn()
  t.notOk(seen.some((line) => line.includes('10.2.0.0')))
  assertConverged(rig.kernel, rig.desired)
})

void t.test('a registry that never rests does not keep us from work', async (t) => {
  let serial = 2
  class Restless extends FakeKernel {
    override async *observe(options: ObserveOptions): AsyncIterable<readonly KernelObject[]> {
      rig.change(recordDocument(2, { serial: serial++, weight: serial }))
      yield* super.observe(options)
    }
  }
  const rig: Rig = new Rig(new Restless(facts, bystanders))
  rig.deliver(documents(2))
  for (let i = 0; i < 6 && !rig.reconciler.settled; i++) await rig.turn()
  t.equal(rig.reconciler.settled, true)
  t.ok(rig.reconciler.tally.discarded <= 3)
})

void t.test('a plan from before the process was stopped is discarded', async (t) => {
  let stopMs = 0
  class Stopped extends FakeKernel {
    override async *observe(options: ObserveOptions): AsyncIterable<readonly KernelObject[]> {
      const parts: (readonly KernelObject[])[] = []
      for await (const part of super.observe(options)) parts.push(part)
      // As SIGSTOP: nothing of this process runs.
      if (stopMs > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, stopMs)
      stopMs = 0
      yield* parts
    }
  }
  const rig = new Rig(new Stopped(facts, bystanders))
  rig.deliver(documents(2))
  const loop = rig.reconciler.run(rig.signal)
  while (!rig.reconciler.settled) await pause(5)
  const route = routeTo2(rig.kernel)
  if (route === undefined) throw new Error('no route')
  stopMs = 3200
  rig.kernel.lose(route)
  while (rig.last('resumed') === undefined) await pause(10)
  t.ok(Number(rig.last('resumed')?.fields['stoppedMs']) >= 3000)
  const until = performance.now() + 2000
  while (routeTo2(rig.kernel) === undefined && performance.now() < until) await pause(10)
  t.ok(routeTo2(rig.kernel), 'and made anew')
  rig.stop()
  await loop
})

void t.test('an audit gives way to news, though not for ever', async (t) => {
  let audits = 0
  class Long extends FakeKernel {
    override async *observe(options: ObserveOptions): AsyncIterable<readonly KernelObject[]> {
      audits++
      for await (const part of super.observe(options)) {
        await pause(80)
        yield part
      }
    }
  }
  const rig = new Rig(new Long(facts, bystanders))
  rig.deliver(documents(2))
  const loop = rig.reconciler.run(rig.signal)
  while (!rig.reconciler.settled) await pause(5)
  audits = 0
  rig.reconciler.schedule.auditNow()
  while (audits === 0) await pause(1)
  await pause(20)
  const passes = (): number => rig.reconciler.tally.durations.get('pass')?.count ?? 0
  const before = passes()
  const at = performance.now()
  rig.change(recordDocument(2, { serial: 2, weight: 2 }))
  while (passes() === before && performance.now() - at < 2000) await pause(1)
  t.ok(performance.now() - at < 100, `the change waited ${Math.round(performance.now() - at)} ms`)
  const done = (): number => rig.reconciler.tally.durations.get('audit')?.count ?? 0
  const doneBefore = done()
  for (let serial = 3; serial < 60 && done() === doneBefore; serial++) {
    rig.change(recordDocument(2, { serial, weight: serial }))
    await pause(30)
  }
  t.ok(done() > doneBefore, 'news all the time, and an audit went through')
  rig.stop()
  await loop
})

void t.test('a stop leaves everything as it is', async (t) => {
  const rig = new Rig()
  rig.deliver(documents(3))
  const loop = rig.reconciler.run(rig.signal)
  while (!rig.reconciler.settled) await pause(5)
  const { applied } = rig.kernel
  const at = performance.now()
  rig.stop()
  await loop
  t.ok(performance.now() - at < 500)
  t.equal(rig.kernel.applied, applied)
  assertConverged(rig.kernel, rig.desired)
})

void t.test('a stop in the middle of an apply', async (t) => {
  class Endless extends FakeKernel {
    override apply(_ops: readonly Op[], signal?: AbortSignal): Promise<readonly OpResult[]> {
      return new Promise((_resolve, reject) => {
        signal?.addEventListener('abort', () => {
          reject(signal.reason as Error)
        })
      })
    }
  }
  const rig = new Rig(new Endless(facts, bystanders))
  rig.deliver(documents(2))
  const loop = rig.reconciler.run(rig.signal)
  await pause(50)
  rig.stop()
  await loop
  t.equal(rig.told.includes('reconcile-failed'), false, 'a stop is no failure')
})

void t.test('an apply that throws is looked at afterwards', async (t) => {
  const rig = new Rig()
  rig.deliver(documents(2))
  rig.kernel.faults.push({ at: 5, errno: 'crash' })
  t.equal(await rig.turn(), false)
  t.ok(rig.told.includes('reconcile-failed'))
  t.equal(rig.reconciler.settled, false)
  t.equal(await rig.turn(), true)
  assertConverged(rig.kernel, rig.desired)
})

void t.test('group ids', async (t) => {
  await t.test('are on disk before the first op', async (t) => {
    const rig = new Rig()
    let savedFirst = false
    rig.kernel.afterOp = () => {
      savedFirst ||= rig.kernel.applied === 1 && rig.saved.length === 1
    }
    rig.deliver(documents(2))
    await rig.turn()
    t.equal(savedFirst, true)
    t.match(JSON.parse(rig.saved[0] ?? ''), { ids: { 'default s2 g2': nexthopId.firstGroup } })
    await rig.audit()
    t.equal(rig.saved.length, 1, 'and not written again')
  })

  await t.test('come back from the kernel where they are lost', async (t) => {
    const first = new Rig()
    first.deliver(documents(5))
    await first.turn()
    const { applied } = first.kernel
    const second = new Rig(first.kernel)
    // Planned from scratch in this order, g5 would get the first id.
    second.deliver(documents(5).filter((each) => each.type === 'fabric' || each.payload.gateway !== 'g3'))
    await second.turn()
    t.ok(second.kernel.applied - applied < 12, `only g3 went: ${second.kernel.applied - applied} ops`)
    assertConverged(second.kernel, second.desired)
    const routes = second.kernel.owned.filter(
      (object) => object.kind === 'route' && object.table === overlayTable,
    )
    t.ok(routes.length > 0)
  })

  await t.test('an id in the kernel that nobody claims is not given out', async (t) => {
    const kernel = new FakeKernel(facts, bystanders)
    const first = new Rig(kernel)
    first.deliver(documents(3))
    await first.turn()
    const known = Math.max(...kernel.owned.flatMap((object) => (object.kind === 'group' ? [object.id] : [])))
    const second = new Rig(kernel)
    second.deliver([...documents(1), certificateDocument(9, { notAfter: 4102444800000 }), recordDocument(9)])
    await second.turn()
    const fresh = kernel.owned.flatMap((object) => (object.kind === 'group' ? [object.id] : []))
    t.ok(fresh.every((id) => id > known))
  })

  await t.test('a state directory that takes no writes stops nothing', async (t) => {
    const rig = new Rig(undefined, {
      saveIds: () => Promise.reject(new Error('ENOSPC: no space left on device')),
    })
    rig.deliver(documents(2))
    await rig.turn()
    assertConverged(rig.kernel, rig.desired)
    t.match(rig.last('state-not-saved')?.fields, { reason: /ENOSPC/ })
  })

  await t.test('are kept over a restart', async (t) => {
    const first = new Rig()
    first.deliver(documents(4))
    await first.turn()
    const { applied } = first.kernel
    const ids = new GroupIds(JSON.parse(first.saved.at(-1) ?? '') as ReturnType<GroupIds['toJSON']>)
    const second = new Rig(first.kernel, { ids })
    second.deliver([...documents(4)].reverse())
    await second.turn()
    t.equal(second.kernel.applied, applied, 'no op on the second start')
  })
})

void t.test('while a document cannot be read, nothing is taken for left over', async (t) => {
  const first = new Rig()
  first.deliver(documents(3))
  await first.turn()
  const second = new Rig(first.kernel)
  const known = documents(3).filter((each) => each.type === 'fabric' || each.payload.gateway !== 'g2')
  second.deliver(known, [{ ...unreadable, object: 'records/g2.json' }])
  await second.turn()
  t.ok(routeTo2(second.kernel), 'the peer whose record is not readable stays')
  t.ok(second.told.includes('removals-held'))
  second.deliver(known)
  await second.turn()
  await second.audit()
  t.notOk(routeTo2(second.kernel), 'gone once everything could be read')
})

void t.test(
  'beside a document that stays unreadable, drift is repaired and only leftovers stay',
  async (t) => {
    const first = new Rig()
    first.deliver(documents(3))
    await first.turn()
    const second = new Rig(first.kernel)
    const known = documents(3).filter((each) => each.type === 'fabric' || each.payload.gateway !== 'g2')
    second.deliver(known, [{ ...unreadable, object: 'records/g2.json' }])
    await second.turn()
    const own = second.kernel.owned.find(({ kind }) => kind === 'route')
    if (own?.kind !== 'route') throw new Error('no route')
    const stray = { ...own, prefix: prefix('203.0.113.0/24') }
    second.kernel.state.put(stray)
    second.reconciler.schedule.drifted()
    await second.audit()
    t.notOk(second.kernel.owned.some((object) => object.kind === 'route' && object.prefix === stray.prefix))
    t.ok(routeTo2(second.kernel), 'what was there at the start stays')
    t.equal(second.told.filter((event) => event === 'removals-held').length, 1, 'said once')
  },
)

void t.test(
  'a newcomer with the number of another takes nobody out, before a restart or after it',
  async (t) => {
    const first = new Rig()
    first.deliver(documents(3))
    await first.turn()
    const copy = certificateDocument(9, { number: 2 })
    first.change(copy)
    first.change(recordDocument(9))
    await first.turn()
    t.ok(routeTo2(first.kernel), 'the one that had it keeps it')
    t.match(first.last('document-refused')?.fields, { gateway: 'g9' })
    const second = new Rig(first.kernel)
    second.deliver([...documents(3), copy, recordDocument(9)])
    await second.turn()
    t.ok(routeTo2(second.kernel), 'a start that cannot tell them apart removes nothing')
  },
)

void t.test('a gateway that left the snapshot keeps what it has', async (t) => {
  const rig = new Rig()
  rig.deliver(documents(3))
  await rig.turn()
  const { applied } = rig.kernel
  rig.change(fabricDocument({ serial: 2, removed: ['g1'] }))
  await rig.turn()
  t.equal(rig.kernel.applied, applied)
  const route = routeTo2(rig.kernel)
  if (route === undefined) throw new Error('no route')
  rig.kernel.lose(route)
  rig.reconciler.schedule.drifted()
  await rig.audit()
  t.ok(routeTo2(rig.kernel), 'and has it repaired')
})

void t.test('a preview is what the audit then does', async (t) => {
  const rig = new Rig()
  rig.deliver(documents(2))
  await rig.turn()
  const { applied } = rig.kernel
  const route = routeTo2(rig.kernel)
  if (route === undefined) throw new Error('no route')
  rig.kernel.lose(route)
  const preview = await rig.reconciler.preview(rig.signal)
  t.match(preview?.ops.map(formatOp), [/route add 10\.2\.0\.0\/16/])
  t.equal(rig.kernel.applied, applied, 'nothing written')
  rig.reconciler.schedule.drifted()
  await pause(600)
  t.same((await rig.audit())?.map(formatOp), preview?.ops.map(formatOp))
})

void t.test('host facts are followed', async (t) => {
  const rig = new Rig()
  rig.deliver(documents(2))
  const loop = rig.reconciler.run(rig.signal)
  while (!rig.reconciler.settled) await pause(5)
  rig.kernel.meetHost({ ...facts, links: [...facts.links, linkWith('eth5 10.2.0.9/16', 5)] })
  rig.kernel.emit('facts')
  const until = performance.now() + 2000
  const thrown = (): boolean =>
    rig.kernel.owned.some(
      (object) =>
        object.kind === 'route' && object.type === 'throw' && object.prefix === prefix('10.2.0.0/16'),
    )
  while (!thrown() && performance.now() < until) await pause(10)
  t.ok(thrown(), 'what is connected now stays local')
  rig.stop()
  await loop
  assertConverged(rig.kernel, rig.desired)
})
