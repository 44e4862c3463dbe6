import t from 'tap'
import type { Delivered, Document } from '../../../agent/model/document.ts'
import { prefix } from '../../../agent/model/prefix.ts'
import { Ledger } from '../../../agent/trust/ledger.ts'
import type { Admission, Checked } from '../../../agent/trust/admission.ts'
import { digestOf, seal } from '../../../agent/trust/envelope.ts'
import { parseDocument } from '../../../agent/trust/parse.ts'
import { momentOf } from '../../../agent/trust/moment.ts'
import type { Moment } from '../../../agent/trust/moment.ts'
import {
  certificateDocument,
  certificateOf,
  delivered,
  deliveredText,
  fabricDocument,
  ground,
  identityKeyOf,
  identityOf,
  moment,
  nowMs,
  placeOf,
  recordDocument,
  signed,
} from '../../support/documents.ts'

const noted = ({ refusals }: Admission): string[] =>
  refusals.map(({ rule, gateway }) => `${rule} ${gateway ?? ''}`.trim())
const at = (ms: number): Moment => momentOf(nowMs + ms)
const names = ({ snapshot }: Admission): string[] => [...(snapshot?.gateways.keys() ?? [])]
const twoGateways: readonly Document[] = [
  fabricDocument(),
  certificateDocument(1),
  recordDocument(1),
  certificateDocument(2),
  recordDocument(2),
]

function started(documents: readonly Document[] = twoGateways): { ledger: Ledger; admission: Admission } {
  const ledger = new Ledger(ground)
  const bag = { documents: documents.map((document) => delivered(document)), complete: true, unreadable: [] }
  return { ledger, admission: ledger.admit(bag, moment) }
}

function change(ledger: Ledger, ...documents: (Document | Delivered)[]): Admission {
  const bytes = documents.map((document) => ('bytes' in document ? document : delivered(document)))
  return ledger.admit({ documents: bytes, complete: false, unreadable: [] }, moment)
}

void t.test('without a fabric document there is no snapshot', (t) => {
  const { ledger, admission } = started(twoGateways.slice(1))
  t.equal(admission.snapshot, undefined)
  t.same(admission.refusals, [])
  t.same(names(change(ledger, fabricDocument())), ['g1', 'g2'], 'documents that came earlier wait for it')
  t.end()
})

void t.test('a half-written document leaves the one before in force', (t) => {
  const { ledger, admission } = started()
  const whole = delivered(recordDocument(1, { serial: 2, prefixes: [] }))
  const half = change(ledger, { ...whole, bytes: whole.bytes.subarray(0, 200) })
  t.equal(half.changed, false)
  t.equal(half.snapshot, admission.snapshot)
  t.equal(half.refusals[0]?.rule, 'document')
  t.equal(half.refusals[0]?.object, 'records/g1.jws')
  const after = change(ledger, whole)
  t.equal(after.changed, true)
  t.same(after.refusals, [])
  t.same(after.snapshot?.gateways.get('g1')?.prefixes, [])
  t.equal(
    after.snapshot?.gateways.get('g2'),
    admission.snapshot?.gateways.get('g2'),
    'the other gateway is the same object',
  )
  t.equal(after.snapshot?.sites.get('s2'), admission.snapshot?.sites.get('s2'))
  t.end()
})

void t.test('an empty document is no withdrawal', (t) => {
  const { ledger } = started()
  const empty = seal('record', '{}', identityKeyOf('g1'))
  for (const text of ['', '{}', '[]', 'null', empty]) {
    const after = change(ledger, deliveredText(text, 'records/g1.jws'))
    t.same(names(after), ['g1', 'g2'], JSON.stringify(text))
    t.same(noted(after), ['document'])
  }
  t.end()
})

void t.test('a vanished document stays in force and is listed', (t) => {
  const { ledger, admission } = started()
  const left = twoGateways
    .filter((document) => placeOf(document) !== 'records/g2.jws')
    .map((document) => delivered(document))
  const after = ledger.admit({ documents: left, complete: true, unreadable: [] }, at(5000))
  t.equal(after.snapshot, admission.snapshot)
  t.same(after.vanished, [
    { origin: 'records/g2.jws', object: 'record g2', gateway: 'g2', sinceMs: nowMs + 5000 },
  ])
  const later = ledger.admit({ documents: left, complete: true, unreadable: [] }, at(9000))
  t.equal(later.vanished, after.vanished, 'the same list: nothing to say again')
  const back = change(ledger, recordDocument(2))
  t.same(back.vanished, [])
  t.equal(back.changed, false)
  const none = ledger.admit({ documents: [], complete: true, unreadable: [] }, at(9500))
  t.same(names(none), ['g1', 'g2'], 'an empty registry removes nothing')
  t.equal(none.vanished.length, 5)
  t.equal(none.vanished.find(({ origin }) => origin === 'fabric.jws')?.gateway, undefined)
  t.end()
})

void t.test('what cannot be read has not vanished', (t) => {
  const { ledger } = started()
  const unreadable = [{ code: 'registry-unreadable' as const, object: 'records', reason: 'cannot be listed' }]
  const left = twoGateways.filter(({ type }) => type !== 'record').map((document) => delivered(document))
  const after = ledger.admit({ documents: left, complete: true, unreadable }, at(5000))
  t.same(after.vanished, [])
  t.same(ledger.admit({ documents: left, complete: true, unreadable: [] }, at(5000)).vanished.length, 2)
  t.end()
})

void t.test('a renamed file is the same document', (t) => {
  const { ledger, admission } = started()
  const moved = delivered(recordDocument(2), 'records/other.jws')
  const after = ledger.admit(
    { documents: [moved], complete: false, gone: ['records/g2.jws'], unreadable: [] },
    at(5000),
  )
  t.same(after.vanished, [])
  t.equal(after.snapshot, admission.snapshot)
  t.end()
})

void t.test('an older document never comes back, another of the same serial never takes the place', (t) => {
  const { ledger } = started()
  const older = change(ledger, delivered(recordDocument(1, { serial: 0, prefixes: [] }), 'records/a.jws'))
  t.equal(older.changed, false)
  t.same(noted(older), ['rollback g1'])
  const equal = change(ledger, delivered(recordDocument(1, { serial: 1, prefixes: [] }), 'records/z.jws'))
  t.equal(equal.changed, false)
  t.same(noted(equal), ['rollback g1', 'equivocation g1'])
  const newer = change(ledger, delivered(recordDocument(1, { serial: 2, prefixes: [] }), 'records/z.jws'))
  t.same(newer.snapshot?.gateways.get('g1')?.prefixes, [])
  t.same(noted(newer), ['rollback g1', 'rollback g1'], 'the old ones that still lie about')
  const cleared = ledger.admit(
    { documents: [], complete: false, gone: ['records/a.jws', 'records/g1.jws'], unreadable: [] },
    moment,
  )
  t.same(noted(cleared), [])
  t.same(cleared.vanished, [])
  t.end()
})

void t.test('a bad fabric document leaves the one before in force', (t) => {
  const { ledger, admission } = started()
  const twice = [
    { name: 'a', vni: 5, kind: 'l2' as const },
    { name: 'b', vni: 5, kind: 'l2' as const },
  ]
  const vni = change(ledger, fabricDocument({ serial: 2, networks: twice }))
  t.equal(vni.snapshot, admission.snapshot)
  t.match(vni.refusals[0]?.reason, /VNI 5 is used twice/)
  const overlay = change(ledger, fabricDocument({ serial: 3, overlay: { ipv4: prefix('100.64.0.0/16') } }))
  t.equal(overlay.snapshot, admission.snapshot)
  t.same(noted(overlay), ['succession'])
  const order = change(
    ledger,
    fabricDocument({ serial: 3, underlays: [{ name: 'dx' }, { name: 'internet' }] }),
  )
  t.equal(order.snapshot, admission.snapshot)
  t.match(order.refusals[0]?.reason, /underlay internet must stay at position 1/)
  const other = change(ledger, fabricDocument({ serial: 3, fabric: 'other' }))
  t.equal(other.snapshot, admission.snapshot)
  t.same(noted(other), ['fabric'])
  const good = change(
    ledger,
    fabricDocument({ serial: 3, underlays: [{ name: 'internet' }, { name: 'dx' }] }),
  )
  t.equal(good.snapshot?.fabric.underlays.length, 2)
  t.equal(good.snapshot?.gateways.get('g1'), admission.snapshot?.gateways.get('g1'))
  t.end()
})

void t.test('removed and withdrawn gateways leave the snapshot', (t) => {
  const { ledger } = started()
  t.same(names(change(ledger, recordDocument(1, { serial: 2, state: 'withdrawn' }))), ['g2'])
  t.same(names(change(ledger, recordDocument(1, { serial: 3, state: 'draining' }))), ['g1', 'g2'])
  const removed = change(ledger, fabricDocument({ serial: 2, removed: ['g2'] }))
  t.same(names(removed), ['g1'])
  t.same(noted(removed), ['removed g2'])
  t.same(names(change(ledger, fabricDocument({ serial: 3 }))), ['g1', 'g2'])
  t.end()
})

void t.test('a certificate that moves to another site is judged against others anew', (t) => {
  // g1 may cut 10.1.5.0/24 out of its /16; the same space is certified to g2, first of its own site, then of another.
  const space = { prefix: prefix('10.1.5.0/24') }
  const { ledger, admission } = started([
    fabricDocument(),
    certificateDocument(1, { prefixes: [{ prefix: prefix('10.1.0.0/16'), maxLength: 25 }] }),
    recordDocument(1, { prefixes: [prefix('10.1.5.128/25')] }),
    certificateDocument(2, { site: certificateOf(1).site, plane: 1, prefixes: [space] }),
  ])
  t.same(admission.snapshot?.gateways.get('g1')?.prefixes, ['10.1.5.128/25'])
  const after = change(ledger, certificateDocument(2, { serial: 2, plane: 1, prefixes: [space] }))
  t.same(after.snapshot?.gateways.get('g1')?.prefixes, [])
  t.same(noted(after), ['other-site g1'])
  t.end()
})

void t.test('a certificate that is taken back ends a conflict', (t) => {
  const { ledger, admission } = started([
    ...twoGateways,
    certificateDocument(3, { number: 1 }),
    recordDocument(3),
  ])
  t.same(names(admission), ['g2'])
  t.same(noted(admission), ['number g1', 'number g3'])
  t.same(names(change(ledger, certificateDocument(3, { serial: 2 }))), ['g1', 'g2', 'g3'])
  t.end()
})

void t.test('requests are no part of the snapshot', (t) => {
  const { ledger, admission } = started()
  const text = seal('request', '{"fabric":"prod"}', identityKeyOf('g9'))
  const request = deliveredText(text, 'requests/g9.jws')
  const after = change(ledger, request)
  t.equal(after.snapshot, admission.snapshot)
  t.match(after.refusals[0]?.reason, /the field "gateway" is missing/)
  t.end()
})

void t.test('only the configured fabric is joined', (t) => {
  const ledger = new Ledger(ground)
  const wrong = change(ledger, fabricDocument({ fabric: 'other' }))
  t.equal(wrong.snapshot, undefined)
  t.same(noted(wrong), ['fabric'])
  t.match(wrong.refusals[0]?.reason, /belongs to the fabric other, this is prod/)
  t.equal(change(ledger, fabricDocument()).snapshot?.fabric.fabric, 'prod')
  t.end()
})

void t.test(
  'of the last-known-good store only what is in force counts: what it was before is no rollback',
  (t) => {
    const ledger = new Ledger(ground)
    const documents = [
      ...twoGateways,
      recordDocument(2, { serial: 5, weight: 7 }),
      recordDocument(2, { serial: 6, weight: 8 }),
    ].map((document, i) => ({ ...delivered(document), origin: `known:${i + 1}` }))
    const boot = documents.map((each) => ({
      ...each,
      digest: digestOf(each.bytes),
      signed: parseDocument(each),
    }))
    const steps = ledger.admitSteps(
      { documents: boot, complete: false, unreadable: [], isKnown: true },
      at(0),
    )
    let step = steps.next()
    while (step.done !== true) step = steps.next()
    t.same(noted(step.value), [])
    t.equal(step.value.snapshot?.gateways.get('g2')?.weight, 8)
    const registry = [...twoGateways.slice(0, 4), recordDocument(2, { serial: 5, weight: 7 })].map(
      (document) => delivered(document),
    )
    const said = ledger.admit({ documents: registry, complete: true, unreadable: [] }, at(1))
    t.same(noted(said), ['rollback g2'], 'of a registry it is')
    t.equal(said.snapshot?.gateways.get('g2')?.weight, 8)
    t.end()
  },
)

void t.test('where a document takes the ledger down, the others of its bag are not lost', (t) => {
  const { ledger } = started()
  const documents = [recordDocument(1, { serial: 2 }), certificateDocument(3), recordDocument(3)]
  const checked = documents.map((document): Checked => {
    const one = delivered(document)
    return { ...one, digest: digestOf(one.bytes), signed: parseDocument(one) }
  })
  const [, , last] = checked
  const broken = new Proxy(last?.signed ?? {}, {
    get: (target, name, receiver): unknown => {
      if (name === 'hash') throw new Error('broken')
      return Reflect.get(target, name, receiver)
    },
  })
  const run = (some: readonly Checked[]): Admission => {
    const steps = ledger.admitSteps({ documents: some, complete: false, unreadable: [] }, moment)
    for (;;) {
      const { done, value } = steps.next()
      if (done === true) return value
    }
  }
  t.throws(() => run(checked.map((one) => (one === last ? { ...one, signed: broken as never } : one))), {
    message: 'broken',
  })
  const after = run(checked)
  t.same(names(after), ['g1', 'g2', 'g3'])
  t.same(
    after.admitted.map(({ origin }) => origin).sort(),
    ['certificates/g3.jws', 'records/g1.jws', 'records/g3.jws'],
    'all are to be kept',
  )
  t.end()
})

void t.test('a record whose key counts no more is wanted while it may come back', (t) => {
  const { ledger } = started()
  const record = signed(recordDocument(2))
  t.ok(ledger.isWanted(record))
  const other = { identity: identityOf('g9') }
  t.notOk(change(ledger, certificateDocument(2, { serial: 2, ...other })).snapshot?.gateways.has('g2'))
  t.notOk(ledger.isInForce(record))
  t.ok(ledger.isWanted(record), 'the last-known-good store must not lose it')
  const back = change(ledger, certificateDocument(2, { serial: 3 }))
  t.ok(back.snapshot?.gateways.has('g2'))
  t.ok(ledger.isInForce(record))
  change(ledger, certificateDocument(2, { serial: 4, ...other }))
  ledger.admit({ documents: [], gone: ['records/g2.jws'], complete: false, unreadable: [] }, moment)
  t.notOk(ledger.isWanted(record), 'nor keep what is nowhere')
  t.end()
})
