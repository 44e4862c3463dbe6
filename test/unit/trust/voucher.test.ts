/** Vouchers over time, where one table row is too short (test/support/conformance-voucher.ts has the rows). */
import t from 'tap'
import type { Delivered } from '../../../agent/model/document.ts'
import { kidOf } from '../../../agent/trust/envelope.ts'
import { Ledger } from '../../../agent/trust/ledger.ts'
import { certificateBy, isProven, voucherBy } from '../../../agent/trust/voucher.ts'
import {
  certificateDocument,
  certificateOf,
  claimDocument,
  claimOf,
  delivered,
  fabricDocument,
  ground,
  identityOf,
  moment,
  recordDocument,
  voucherDocument,
  voucherKeyOf,
  voucherOf,
} from '../../support/documents.ts'

void t.test('voucher and claim are a certificate', (t) => {
  const certificate = certificateOf(2)
  const voucher = voucherBy(certificate, 'key', 5)
  t.match(voucher, { key: 'key', until: 5 })
  t.notOk('identity' in voucher)
  t.same(certificateBy(voucher, { identity: certificate.identity }), certificate)
  t.end()
})

void t.test('the word of the identity is for one voucher of one gateway', (t) => {
  const { key } = voucherOf(2)
  t.ok(isProven(claimOf(2), key))
  t.notOk(isProven(claimOf(2, { gateway: 'g3' }), key))
  t.notOk(isProven(claimOf(2, { fabric: 'other' }), key))
  t.notOk(isProven(claimOf(2, { identity: identityOf('g1') }), key))
  t.notOk(isProven(claimOf(2), kidOf(voucherKeyOf('g3'))))
  t.notOk(isProven(claimOf(2, { proof: 'a.b.c' }), key))
  t.end()
})

void t.test('once certified, no claim comes back, though the certificate is revoked', (t) => {
  const ledger = new Ledger(ground)
  const admit = (...documents: readonly Delivered[]): ReturnType<Ledger['admit']> =>
    ledger.admit({ documents, complete: false, unreadable: [] }, moment)
  const gateways = (): readonly string[] => [...(admit().snapshot?.gateways.keys() ?? [])]
  admit(
    delivered(fabricDocument()),
    delivered(voucherDocument(2)),
    delivered(claimDocument(2)),
    delivered(recordDocument(2)),
  )
  t.same(gateways(), ['g2'])
  t.match(ledger.documentOf('voucher', 'g2'), { type: 'voucher' })
  admit(delivered(certificateDocument(2)))
  t.same(gateways(), ['g2'])
  const revoked = { serials: [certificateOf(2).serial], identities: [] }
  const { refusals } = admit(delivered(fabricDocument({ serial: 9, revoked }), 'fabric.jws'))
  t.same(gateways(), [])
  t.notOk(
    refusals.some(({ origin }) => origin.startsWith('claims/')),
    'of the claim there is nothing to say',
  )
  t.end()
})

void t.test('the vanished voucher of a certified gateway is missed by nobody', (t) => {
  const ledger = new Ledger(ground)
  const admit = (...documents: readonly Delivered[]): readonly string[] =>
    ledger.admit({ documents, complete: true, unreadable: [] }, moment).vanished.map(({ object }) => object)
  const rest = [delivered(fabricDocument()), delivered(recordDocument(2))]
  const vouched = [delivered(voucherDocument(2)), delivered(claimDocument(2))]
  t.same(admit(...rest, ...vouched), [])
  t.same(admit(...rest), ['claim g2', 'voucher g2'], 'what it stands on is')
  t.same(admit(...rest, ...vouched, delivered(certificateDocument(2))), [])
  t.same(admit(...rest, delivered(certificateDocument(2))), [])
  t.end()
})

void t.test('a record that is gone, and comes back after its certificate went, is judged anew', (t) => {
  const ledger = new Ledger(ground)
  const admit = (...documents: readonly Delivered[]): ReturnType<Ledger['admit']> =>
    ledger.admit({ documents, complete: true, unreadable: [] }, moment)
  const fabric = delivered(fabricDocument())
  const record = delivered(recordDocument(2))
  admit(fabric, delivered(certificateDocument(2)), record)
  admit(fabric, delivered(certificateDocument(2)))
  admit(fabric, delivered(certificateDocument(2, { serial: 2, identity: identityOf('anew') })))
  const back = admit(
    fabric,
    delivered(certificateDocument(2, { serial: 2, identity: identityOf('anew') })),
    record,
  )
  t.match(back.refusals, [{ rule: 'signer', gateway: 'g2' }])
  const again = admit(fabric, delivered(certificateDocument(2, { serial: 3 })), record)
  t.same([...(again.snapshot?.gateways.keys() ?? [])], ['g2'], 'and counts when it may')
  t.end()
})

void t.test('a thief who claims a voucher a hundred times is answered in as many short texts', (t) => {
  const ledger = new Ledger(ground)
  const claims = Array.from({ length: 100 }, (_, i) =>
    delivered(
      { type: 'claim', payload: claimOf(2, {}, `thief ${i}`) },
      `claims/${i}.jws`,
      voucherKeyOf('g2'),
    ),
  )
  const documents = [delivered(fabricDocument()), delivered(voucherDocument(2)), ...claims]
  const { refusals } = ledger.admit({ documents, complete: true, unreadable: [] }, moment)
  const conflicts = refusals.filter(({ rule }) => rule === 'claim-conflict')
  t.equal(conflicts.length, 100)
  t.ok(
    conflicts.every(({ reason }) => / and 96 more claims the same voucher, so neither counts$/.test(reason)),
  )
  t.ok(conflicts.every(({ reason }) => reason.length < 250))
  t.end()
})
