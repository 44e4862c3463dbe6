/**
 * The reconciler: what turns do. Starts are in reconciler-start.test.ts, what interrupts turns in
 * reconciler-turn.test.ts, the end of the own certificate in reconciler-barred.test.ts.
 */
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { KernelObject } from '../../../agent/model/kernel-object.ts'
import { formatOp } from '../../../agent/model/op-text.ts'
import type { Op } from '../../../agent/model/op.ts'
import { prefix } from '../../../agent/model/prefix.ts'
import { certificateDocument, fabricDocument, recordDocument } from '../../support/documents.ts'
import { FakeKernel } from '../../support/fake-kernel.ts'
import { bystanders } from '../../support/foreign.ts'
import { assertConverged, foreignText } from '../../support/pass.ts'
import { linkWith } from '../../support/plan-input.ts'
import { documents, facts, Rig, routeTo2 } from '../../support/rig.ts'

const unreadable = { code: 'registry-unreadable', object: '/registry', reason: 'gone' } as const

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
  t.match(rig.last('pass')?.fields, { shares: 3, of: 'groups s2, site s2, gateway g2', failures: 0 })
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
  t.ok(audits >= 2 && audits <= 6, `${audits} audits in 1.6 s`)
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
