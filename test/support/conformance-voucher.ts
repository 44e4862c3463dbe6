/** Conformance: vouchers and their claims. Who comes first has the certificate; what the authority says itself goes before. */
import type { KeyObject } from 'node:crypto'
import type { Claim, Delivered } from '../../agent/model/document.ts'
import { proofOf } from '../../agent/trust/authorities.ts'
import { kidOf } from '../../agent/trust/envelope.ts'
import { graceMs, momentOf } from '../../agent/trust/moment.ts'
import { at, by, edited, one } from './conformance.ts'
import type { Row, Said } from './conformance.ts'
import {
  authority,
  authorityKey,
  claimDocument as claim,
  claimOf,
  fabricDocument as fabric,
  identityKeyOf,
  identityOf,
  keyOf,
  nowMs,
  recordDocument as record,
  voucherDocument as voucher,
  voucherKeyOf,
} from './documents.ts'

const stranger = keyOf('stranger')
const next = keyOf('next authority')
export const hour = 3_600_000
/** The voucher has ended, on every clock. */
export const ended = { moment: momentOf(nowMs + 2 * hour + graceMs) }
/** Gateway 2 as it came by its voucher. */
export const vouched: readonly Said[] = [voucher(2), claim(2), record(2)]
/** Somebody else with the key of gateway 2's voucher, and what he says as gateway 2. */
export const thief = (change: Partial<Claim> = {}): Delivered =>
  at('claims/thief.jws', claim(2, change, 'thief'))
export const thiefRecord = by(identityKeyOf('thief'), record(2), 'records/thief.jws')
/** A claim by another key than the voucher's. */
const claimBy = (key: KeyObject): Delivered =>
  by(key, { type: 'claim', payload: claimOf(2, {}, 'g2', key) }, 'claims/other.jws')
/** Another voucher for gateway 2, and its claim by a reinstalled one. */
const secondKey = voucherKeyOf('second')
const second = voucher(2, { serial: 2, key: kidOf(secondKey) })
const secondClaim = by(
  secondKey,
  { type: 'claim', payload: claimOf(2, { voucher: 2 }, 'g2 again', secondKey) },
  'claims/second.jws',
)
const secondRecord = by(identityKeyOf('g2 again'), record(2), 'records/second.jws')

const claiming: readonly Row[] = [
  {
    rule: 'voucher',
    what: 'voucher, claim and record: a gateway like any other',
    documents: [...one, ...vouched],
    verdict: { left: 'g1 g2', prefixes: { g2: '10.2.0.0/16' } },
  },
  {
    rule: 'voucher',
    what: 'a voucher that nobody claims is nobody',
    documents: [...one, voucher(2), record(2)],
    verdict: { left: 'g1', refused: 'certificate g2' },
  },
  {
    rule: 'voucher',
    what: 'a claim without a voucher',
    documents: [...one, claim(2), record(2)],
    verdict: { left: 'g1', refused: 'voucher g2, certificate g2' },
  },
  {
    rule: 'voucher',
    what: 'a claim by a key that is not that of the voucher',
    documents: [...one, voucher(2), claimBy(stranger), record(2)],
    verdict: { left: 'g1', refused: 'voucher g2, certificate g2' },
  },
  {
    rule: 'voucher',
    what: 'a claim by the authority',
    documents: [...one, voucher(2), claimBy(authorityKey), record(2)],
    verdict: { left: 'g1', refused: 'voucher g2, certificate g2' },
  },
  {
    rule: 'voucher',
    what: "a claim by the key of another gateway's voucher",
    documents: [...one, voucher(2), voucher(3), claimBy(voucherKeyOf('g3')), record(2)],
    verdict: { left: 'g1', refused: 'voucher g2, certificate g2' },
  },
  {
    rule: 'voucher',
    what: 'a claim for another gateway than that of the voucher',
    documents: [...one, voucher(2, { gateway: 'g3' }), claim(2), record(2)],
    verdict: { left: 'g1', refused: 'voucher g2, certificate g2' },
  },
  {
    rule: 'voucher',
    what: 'a claim of an earlier voucher with the same key',
    documents: [...one, voucher(2, { serial: 2 }), claim(2), record(2)],
    verdict: { left: 'g1', refused: 'voucher g2, certificate g2' },
  },
  {
    rule: 'voucher',
    what: 'a newer voucher ends what was claimed by the one before',
    before: [...one, ...vouched],
    documents: [...one, second, claim(2), record(2)],
    verdict: { left: 'g1', refused: 'voucher g2, certificate g2' },
  },
  {
    rule: 'voucher',
    what: 'reinstalled with a newer voucher',
    before: [...one, ...vouched],
    documents: [...one, second, claim(2), secondClaim, record(2), secondRecord],
    verdict: { left: 'g1 g2', refused: 'voucher g2, signer g2' },
  },
  {
    rule: 'voucher',
    what: 'voucher and claim are gone from the registry',
    before: [...one, ...vouched],
    documents: [...one, record(2)],
    verdict: { left: 'g1 g2' },
  },
  {
    rule: 'signer',
    what: 'a record by the key of the voucher',
    documents: [...one, voucher(2), claim(2), by(voucherKeyOf('g2'), record(2))],
    verdict: { left: 'g1', refused: 'signer g2' },
  },
]

const standing: readonly Row[] = [
  {
    rule: 'authority',
    what: 'a voucher by a stranger',
    documents: [...one, by(stranger, voucher(2)), claim(2), record(2)],
    verdict: { left: 'g1', refused: 'authority g2, voucher g2, certificate g2' },
  },
  {
    rule: 'authority',
    what: 'a voucher by a certified gateway',
    documents: [...one, by(identityKeyOf('g1'), voucher(2)), claim(2), record(2)],
    verdict: { left: 'g1', refused: 'authority g2, voucher g2, certificate g2' },
  },
  {
    rule: 'authority',
    what: 'a claimed voucher that counted before its key was retired stays',
    before: [fabric(), ...vouched],
    documents: [fabric(), ...vouched, ...retirement()],
    verdict: { left: 'g2' },
  },
  {
    rule: 'authority',
    what: 'a claimed voucher signed anew before its key was retired',
    before: [fabric(), ...vouched],
    documents: [fabric(), by(next, voucher(2)), claim(2), record(2), ...retirement()],
    verdict: { left: 'g2' },
  },
  {
    rule: 'rollback',
    what: 'an older voucher, claimed, after a newer one',
    before: [...one, second],
    documents: [...one, ...vouched],
    verdict: { left: 'g1', refused: 'rollback g2, voucher g2, certificate g2' },
  },
  {
    rule: 'claim-conflict',
    what: 'an older claim by the same identity',
    before: [...one, voucher(2), claim(2, { serial: 5 }), record(2)],
    documents: [...one, ...vouched],
    verdict: { left: 'g1 g2', refused: 'claim-conflict g2' },
  },
  {
    rule: 'equivocation',
    what: 'two vouchers with one serial: the one that counted stays',
    before: [...one, ...vouched],
    documents: [...one, voucher(2, { prefixes: [] }), claim(2), record(2)],
    verdict: { left: 'g1 g2', refused: 'equivocation g2', prefixes: { g2: '10.2.0.0/16' } },
  },
  {
    rule: 'removed',
    what: 'a gateway that came by a voucher',
    before: [...one, ...vouched],
    documents: [fabric({ serial: 2, removed: ['g2'] }), ...one.slice(1), ...vouched],
    verdict: { left: 'g1', refused: 'removed g2' },
  },
  {
    rule: 'revoked',
    what: 'the serial of a claimed voucher',
    before: [...one.slice(0, 1), voucher(2, { serial: 7 }), claim(2, { voucher: 7 }), record(2)],
    documents: [fabric({ serial: 2, revoked: { serials: [7], identities: [] } }), record(2)],
    verdict: { left: '', refused: 'revoked g2' },
  },
  {
    rule: 'revoked',
    what: 'the identity that claimed a voucher',
    before: [...one, ...vouched],
    documents: [
      fabric({ serial: 2, revoked: { serials: [], identities: [identityOf('g2')] } }),
      ...one.slice(1),
      ...vouched,
    ],
    verdict: { left: 'g1', refused: 'revoked g2' },
  },
  {
    rule: 'expired',
    what: 'a claimed voucher after its notAfter',
    before: [...one, ...vouched],
    documents: [...one, ...vouched],
    context: { moment: momentOf(4_102_444_800_000 + 2 * graceMs) },
    verdict: { left: '', refused: 'expired g1, expired g2' },
  },
  {
    rule: 'expired',
    what: 'our own claimed voucher after its notAfter: barred, as with a certificate',
    before: [...one, voucher(2, { notAfter: nowMs + hour }), claim(2), record(2)],
    documents: [...one, voucher(2, { notAfter: nowMs + hour }), claim(2), record(2)],
    context: { moment: momentOf(nowMs + 3 * hour), self: 'g2' },
    verdict: { left: 'g1 g2', refused: 'expired g2', barred: 'g2' },
  },
  {
    rule: 'early',
    what: 'a claimed voucher that has not begun',
    documents: [
      ...one,
      voucher(2, { notBefore: nowMs + 2 * hour, until: nowMs + 3 * hour }),
      claim(2),
      record(2),
    ],
    verdict: { left: 'g1', refused: 'early g2' },
  },
  {
    rule: 'number',
    what: 'a voucher for the number of a gateway that runs',
    before: one,
    documents: [...one, voucher(2, { number: 1 }), claim(2), record(2)],
    verdict: { left: 'g1', refused: 'number g2' },
  },
  {
    rule: 'reserved',
    what: 'a voucher for the loopback range',
    documents: [
      ...one,
      edited(voucher(2), '10.2.0.0/16', '127.0.0.0/16'),
      claim(2),
      record(2, { prefixes: [] }),
    ],
    verdict: { left: 'g1 g2', refused: 'reserved g2', prefixes: { g2: '' } },
  },
  {
    rule: 'stale',
    what: 'a claim that was never seen, while the fabric document is stale',
    before: [...one, voucher(2)],
    documents: [...one, ...vouched],
    context: { moment: momentOf(nowMs + 91 * 24 * hour) },
    verdict: { left: 'g1', refused: 'voucher-ended g2, certificate g2' },
  },
  {
    rule: 'stale',
    what: 'a claim of a voucher that holds, while the fabric document is stale',
    documents: [fabric({ freshUntil: nowMs - 2 * hour }), ...vouched],
    verdict: { left: '', refused: 'stale g2, certificate g2' },
  },
  {
    rule: 'stale',
    what: 'a claim that was seen before stays, while the fabric document is stale',
    before: [...one, ...vouched],
    documents: [...one, ...vouched],
    context: { moment: momentOf(nowMs + 91 * 24 * hour) },
    verdict: { left: 'g1 g2' },
  },
]

const forgeries: readonly Row[] = [
  {
    rule: 'signature',
    what: 'a voucher that was altered',
    documents: [...one, altered(voucher(2)), claim(2), record(2)],
    verdict: { left: 'g1', refused: 'signature, voucher g2, certificate g2' },
  },
  {
    rule: 'signature',
    what: 'a claim that was altered',
    documents: [...one, voucher(2), altered(claim(2)), record(2)],
    verdict: { left: 'g1', refused: 'signature, certificate g2' },
  },
  {
    rule: 'signature',
    what: "a claim for another gateway's identity, without its word",
    documents: [...one, voucher(2), claim(2, { identity: identityOf('g1') }), record(2)],
    verdict: { left: 'g1', refused: 'signature g2, certificate g2' },
  },
  {
    rule: 'signature',
    what: 'a claim with the word of the identity for another voucher',
    documents: [
      ...one,
      voucher(2),
      claim(2, { proof: claimOf(2, {}, 'g2', voucherKeyOf('second')).proof }),
      record(2),
    ],
    verdict: { left: 'g1', refused: 'signature g2, certificate g2' },
  },
]

/** The next key follows the first and retires it; the fabric document that counted stays. */
function retirement(): readonly Said[] {
  const link = { fabric: 'prod', serial: 1, next: kidOf(next), proof: proofOf('prod', authority, next) }
  const end = { fabric: 'prod', serial: 1, retired: [authority] }
  return [
    by(authorityKey, { type: 'authority', payload: { ...link, retired: [] } }, 'authority/1.jws'),
    by(next, { type: 'authority', payload: end }, 'authority/2.jws'),
  ]
}

/** One bit of the signature is another. */
function altered(document: Parameters<typeof by>[1]): Delivered {
  const { origin, bytes } = at(`${document.type}s/altered.jws`, document)
  const other = Buffer.from(bytes)
  const place = other.length - 12
  other[place] = other[place] === 0x41 ? 0x42 : 0x41
  return { origin, bytes: other }
}

export const vouching: readonly Row[] = [...claiming, ...standing, ...forgeries]
