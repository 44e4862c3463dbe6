/** A registry that never rests, and a reconciler that does its work all the same. */
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Limits } from '../../../agent/daemon/intake.ts'
import { kidOf } from '../../../agent/trust/envelope.ts'
import { proofOf } from '../../../agent/trust/authorities.ts'
import {
  authority,
  authorityKey,
  certificateDocument,
  delivered,
  fabricDocument,
  keyOf,
  recordDocument,
} from '../../support/documents.ts'
import { documents, Rig } from '../../support/rig.ts'

const limits: Limits = {
  changes: { burst: 3, perSecond: 2 },
  checks: { burst: 20, perSecond: 20 },
  work: { burst: 60_000, perSecond: 1000 },
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
  await rig.turn()
  t.equal(rig.reconciler.planned?.snapshot.gateways.get('g3')?.weight, 7, 'nobody else waits')
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
    rig.reconciler.deliver({ documents: junk, complete: false, unreadable: [] })
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
  rig.reconciler.deliver({ documents: [stranger], complete: false, unreadable: [] })
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
  rig.reconciler.deliver({ documents: [long], complete: false, unreadable: [] })
  await rig.turn()
  rig.reconciler.deliver({ documents: [handover], complete: false, unreadable: [] })
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
  rig.reconciler.deliver({ documents: [...all, ...junk], complete: true, unreadable: [] })
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
