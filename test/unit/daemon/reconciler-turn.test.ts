/** The reconciler between news, stops and suspensions: turns are serial, plans grow stale, a stop changes nothing. */
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { ObserveOptions } from '../../../agent/kernel/port.ts'
import type { KernelObject } from '../../../agent/model/kernel-object.ts'
import { formatOp } from '../../../agent/model/op-text.ts'
import type { Op, OpResult } from '../../../agent/model/op.ts'
import { recordDocument } from '../../support/documents.ts'
import { FakeKernel } from '../../support/fake-kernel.ts'
import { bystanders } from '../../support/foreign.ts'
import { assertConverged } from '../../support/pass.ts'
import { documents, facts, Rig, routeTo2 } from '../../support/rig.ts'

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
