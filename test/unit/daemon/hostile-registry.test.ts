/** A registry that never rests, and a reconciler that does its work all the same. */
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { Events } from '../../../agent/daemon/event.ts'
import { Inputs } from '../../../agent/daemon/inputs.ts'
import type { Limits } from '../../../agent/daemon/intake.ts'
import { Schedule } from '../../../agent/daemon/schedule.ts'
import { Tally } from '../../../agent/daemon/tally.ts'
import type { Delivered } from '../../../agent/model/document.ts'
import { prefix } from '../../../agent/model/prefix.ts'
import { kidOf } from '../../../agent/trust/envelope.ts'
import { proofOf } from '../../../agent/trust/authorities.ts'
import {
  authority,
  authorityKey,
  certificateDocument,
  delivered,
  fabricDocument,
  ground,
  keyOf,
  nowMs,
  recordDocument,
} from '../../support/documents.ts'
import { FakeKernel } from '../../support/fake-kernel.ts'
import { ownWith } from '../../support/plan-input.ts'
import { documents, facts, Rig } from '../../support/rig.ts'

const limits: Limits = {
  changes: { burst: 3, perSecond: 2 },
  checks: { burst: 20, perSecond: 20 },
  work: { burst: 60_000, perSecond: 1000 },
}

/** A turn gives way to news, also to what comes due just then; the next does what it left. */
async function turnsUntil(rig: Rig, isDone: () => boolean | undefined): Promise<void> {
  for (let i = 0; i < 10 && isDone() !== true; i++) await rig.turn()
}

void t.test('a record that flaps is applied now and then, and its last word in the end', async (t) => {
  const rig = new Rig(undefined, { limits })
  rig.deliver(documents(3))
  await rig.turn()
  const weight = (): number | undefined => rig.reconciler.planned?.snapshot.gateways.get('g2')?.weight
  const began = performance.now()
  let passes = 0
  for (let i = 1; i <= 200; i++) {
    const before = rig.reconciler.planned
    rig.change(recordDocument(2, { serial: i + 1, weight: i }))
    await rig.turn()
    if (rig.reconciler.planned !== before) passes++
  }
  const seconds = (performance.now() - began) / 1000
  t.ok(passes <= 4 + 2 * seconds, `${passes} in ${seconds} s`)
  t.equal(rig.reconciler.inputs.deferred.waiting, 1)
  t.match(
    rig.events.since(0).filter(({ event }) => event === 'documents-deferred'),
    [{ fields: { waiting: 1 } }],
  )
  t.match(await rig.view().status(), { registry: { waiting: 1 } })
  rig.change(recordDocument(3, { serial: 2, weight: 7 }))
  const other = (): number | undefined => rig.reconciler.planned?.snapshot.gateways.get('g3')?.weight
  await turnsUntil(rig, () => other() === 7)
  t.equal(other(), 7, 'nobody else waits')
  t.equal(rig.reconciler.inputs.admission.vanished.length, 0)
  for (const end = Date.now() + 30_000; weight() !== 200 && Date.now() < end;) {
    await pause(50)
    await rig.turn()
  }
  t.equal(weight(), 200)
  t.match(await rig.view().status(), { registry: { waiting: undefined } })
  rig.stop()
})

void t.test('junk without end costs so much and no more, and news come through', async (t) => {
  const rig = new Rig(undefined, { limits })
  rig.deliver(documents(3))
  await rig.turn()
  const stranger = keyOf('stranger')
  const began = performance.now()
  for (let i = 0; i < 10; i++) {
    const junk = Array.from({ length: 20 }, (_, n) => {
      return delivered(recordDocument(9, { serial: i * 20 + n }), `records/junk-${i * 20 + n}.jws`, stranger)
    })
    await rig.reconciler.deliver({ documents: junk, complete: false, unreadable: [] })
    await rig.turn()
  }
  const told = rig.events.since(0).map(({ event }) => event)
  t.ok(told.filter((event) => event === 'document-refused').length > 0)
  const seconds = (performance.now() - began) / 1000
  const { waiting } = rig.reconciler.inputs.deferred
  t.ok(waiting >= 200 - 20 - 20 * (seconds + 1), `${waiting} wait after ${seconds} s`)
  rig.change(recordDocument(2, { serial: 2, weight: 9 }))
  for (const end = Date.now() + 60_000; Date.now() < end;) {
    await pause(100)
    await rig.turn()
    if (rig.reconciler.planned?.snapshot.gateways.get('g2')?.weight === 9) break
  }
  t.equal(rig.reconciler.planned?.snapshot.gateways.get('g2')?.weight, 9)
  // A complete bag in which what waits is still there makes nothing vanish.
  rig.deliver([...documents(2), certificateDocument(3), recordDocument(3, { serial: 5 })])
  await rig.turn()
  t.notOk(rig.reconciler.inputs.admission.vanished.some(({ gateway }) => gateway === 'g3'))
  rig.stop()
})

void t.test('a long document counts once its key is trusted', async (t) => {
  const rig = new Rig()
  const removed = Array.from({ length: 10_000 }, (_, i) => `nobody-${i}`)
  rig.deliver([fabricDocument(), ...documents(3).slice(1)])
  await rig.turn()
  const stranger = delivered(fabricDocument({ serial: 2, removed }), 'fabric.jws', keyOf('stranger'))
  await rig.reconciler.deliver({ documents: [stranger], complete: false, unreadable: [] })
  await rig.turn()
  const { refusals, snapshot } = rig.reconciler.inputs.admission
  t.match(refusals, [{ origin: 'fabric.jws', rule: 'authority', reason: /too long/ }])
  t.equal(snapshot?.fabric.removed.length, 0)
  const next = keyOf('next')
  const long = delivered(fabricDocument({ serial: 3, removed }), 'fabric.jws', next)
  const payload = {
    fabric: 'prod',
    serial: 1,
    next: kidOf(next),
    proof: proofOf('prod', authority, next),
    retired: [],
  }
  const handover = delivered({ type: 'authority', payload }, 'authority/1.jws', authorityKey)
  await rig.reconciler.deliver({ documents: [long], complete: false, unreadable: [] })
  await rig.turn()
  await rig.reconciler.deliver({ documents: [handover], complete: false, unreadable: [] })
  await rig.turn()
  await rig.turn()
  t.strictSame(rig.reconciler.inputs.admission.refusals, [])
  t.equal(rig.reconciler.inputs.admission.snapshot?.fabric.removed.length, 10_000)
  rig.stop()
})

void t.test('a hundred refusals are told one by one, the others as a number', async (t) => {
  const rig = new Rig()
  const stranger = keyOf('stranger')
  const junk = Array.from({ length: 300 }, (_, n) => {
    return delivered(recordDocument(9, { serial: n }), `records/junk-${n}.jws`, stranger)
  })
  const all = documents(3).map((document) => delivered(document))
  await rig.reconciler.deliver({ documents: [...all, ...junk], complete: true, unreadable: [] })
  await rig.turn()
  t.equal(rig.reconciler.inputs.admission.refusals.length, 300)
  const told = rig.events.since(0)
  const single = told.filter(({ event }) => event === 'document-refused').length
  t.ok(single >= 100 && single < 200, `${single} one by one`)
  t.match(
    told.filter(({ event }) => event === 'documents-refused'),
    [{ fields: { more: 300 - single } }],
  )
  t.equal(rig.reconciler.tally.errors.get('verify'), 300)
  rig.stop()
})

void t.test('a bag that could not be taken in comes again', async (t) => {
  let isBroken = false
  const now = (): number => {
    if (isBroken) throw new Error('out of order')
    return nowMs
  }
  const rig = new Rig(undefined, { now })
  rig.deliver(documents(2))
  await rig.turn()
  const weight = (): number | undefined => rig.reconciler.planned?.snapshot.gateways.get('g2')?.weight
  isBroken = true
  rig.change(recordDocument(2, { serial: 2, weight: 7 }), certificateDocument(3))
  t.notOk(await rig.turn())
  rig.change(recordDocument(3))
  t.notOk(await rig.turn())
  t.equal(weight(), 1)
  isBroken = false
  t.ok(await rig.turn())
  t.equal(weight(), 7)
  t.ok(rig.reconciler.planned?.snapshot.gateways.has('g3'), 'and what came meanwhile')

  isBroken = true
  rig.change(recordDocument(2, { serial: 3, weight: 8 }))
  for (let i = 0; i < 5; i++) t.notOk(await rig.turn())
  t.match(rig.last('documents-lost'), { fields: { documents: 1, reason: /out of order/ } })
  isBroken = false
  await rig.turn()
  t.equal(weight(), 7, 'not for ever')
  rig.change(recordDocument(2, { serial: 3, weight: 8 }))
  await rig.turn()
  t.equal(weight(), 8, 'said again it is news')
  rig.stop()
})

void t.test('all that there is comes again, less what is gone by then', async (t) => {
  let isBroken = false
  const rig = new Rig(undefined, {
    now: () => {
      if (isBroken) throw new Error('out of order')
      return nowMs
    },
  })
  isBroken = true
  rig.deliver(documents(3))
  await rig.turn()
  await rig.reconciler.deliver({
    documents: [],
    gone: ['records/g3.jws'],
    complete: false,
    unreadable: [],
  })
  await rig.turn()
  isBroken = false
  await rig.turn()
  t.strictSame([...(rig.reconciler.inputs.admission.snapshot?.gateways.keys() ?? [])], ['g1', 'g2'])
  rig.stop()
})

void t.test(
  'strangers that are dropped are told of, and come in when they are delivered again',
  async (t) => {
    const rig = new Rig()
    rig.deliver(documents(2))
    await rig.turn()
    const early = documents(3).filter((one) => one.type === 'record' && one.payload.gateway === 'g3')
    rig.change(...early)
    await rig.turn()
    // Of 64 KB each: 300 of them are more than is kept.
    const prefixes = Array.from({ length: 3000 }, (_, i) => prefix(`10.${i >> 8}.${i & 255}.0/24`))
    const stranger = keyOf('stranger')
    const junk = Array.from({ length: 300 }, (_, n) =>
      delivered(recordDocument(9, { gateway: `x${n}`, prefixes }), `records/junk-${n}.jws`, stranger),
    )
    await rig.reconciler.deliver({ documents: junk, complete: false, unreadable: [] })
    await rig.turn()
    t.ok(Number(rig.last('documents-dropped')?.fields['times']) > 0)
    rig.change(certificateDocument(3))
    await rig.turn()
    const hasIt = (): boolean | undefined => rig.reconciler.planned?.snapshot.gateways.has('g3')
    t.notOk(hasIt(), 'the oldest is not kept')
    rig.change(...early)
    await turnsUntil(rig, hasIt)
    t.ok(hasIt())
    rig.stop()
  },
)

void t.test('a registry that churns gets so many checks and changes, however long it goes on', async (t) => {
  // On a clock of the test's own: the count follows from it, whatever the machine.
  let passed = 0
  const events = new Events()
  const inputs = new Inputs({
    kernel: new FakeKernel(facts),
    gateway: 'g1',
    ground: { ...ground, self: 'g1' },
    ownOf: () => ownWith('g1', 's1', {}),
    events,
    tally: new Tally(),
    schedule: new Schedule(Math.random),
    now: () => nowMs,
    monotonic: () => passed,
    limits,
  })
  const { signal } = new AbortController()
  const deliver = (some: readonly Delivered[], complete = false): void => {
    void inputs.deliver({ documents: some, complete, unreadable: [] })
  }
  deliver(
    documents(3).map((one) => delivered(one)),
    true,
  )
  await inputs.take(signal)
  const stranger = keyOf('stranger')
  const seconds = 20
  let applied = 0
  for (; passed < seconds * 1000; passed += 50) {
    const n = passed / 50
    const before = inputs.admission.snapshot
    deliver([
      delivered(recordDocument(2, { serial: n + 2, weight: 1 + (n % 200) })),
      delivered(recordDocument(9, { serial: n }), `records/junk-${n}.jws`, stranger),
      delivered(recordDocument(9, { serial: n }), `records/more-junk-${n}.jws`, stranger),
    ])
    await inputs.take(signal)
    if (inputs.admission.snapshot !== before) applied++
  }
  const { changes, checks } = limits
  t.ok(applied > 0, `${applied} applied`)
  t.ok(applied <= changes.burst + changes.perSecond * seconds, 'changes of one gateway')
  const { total } = inputs.admission.refused
  t.ok(total + applied <= checks.burst + checks.perSecond * seconds, `${total} refused: each was checked`)
  t.ok(inputs.deferred.waiting > 0)
})

void t.test('a long bag is gone through in short pieces', async (t) => {
  const rig = new Rig()
  await rig.reconciler.deliver({
    documents: documents(2).map((one) => delivered(one)),
    complete: true,
    unreadable: [],
  })
  await rig.turn()
  // A clock that goes on by a millisecond whenever it is asked: what is done between two looks at it costs one.
  // It is no clock for the test's own timeout.
  t.setTimeout(0)
  let clock = performance.now()
  t.intercept(performance, 'now', { value: () => clock++ })
  // How often anybody reads of the junk within one turn of the event loop.
  let [reads, longest] = [0, 0]
  const beat = (): void => {
    longest = Math.max(longest, reads)
    reads = 0
    next = setImmediate(beat)
  }
  let next = setImmediate(beat)
  const many = 15_000
  const most = 12_000
  const junk = Array.from({ length: many }, (_, n): Delivered => ({
    get origin() {
      reads++
      return `records/junk-${n}.jws`
    },
    get bytes() {
      reads++
      return Buffer.from(`junk ${n}`)
    },
  }))
  for (const round of ['new', 'known', 'again']) {
    const put = rig.reconciler.deliver({ documents: junk, complete: round === 'known', unreadable: [] })
    t.ok(reads < most, `${round}: ${reads} at once`)
    await put
    await rig.turn()
  }
  clearImmediate(next)
  t.ok(longest > 0 && longest < most, `${longest} in one turn of the loop`)
  const { waiting } = rig.reconciler.inputs.deferred
  t.equal(rig.reconciler.inputs.admission.refused.total + waiting, many)
  rig.stop()
})
