/** Conformance: who claims a voucher, and when; what the authority says itself goes before. */
import { momentOf } from '../../agent/trust/moment.ts'
import { at, edited, one } from './conformance.ts'
import type { Row } from './conformance.ts'
import { ended, hour, thief, thiefRecord, vouched } from './conformance-voucher.ts'
import {
  certificateDocument as certificate,
  claimDocument as claim,
  identityOf,
  nowMs,
  recordDocument as record,
  voucherDocument as voucher,
} from './documents.ts'

const times: readonly Row[] = [
  {
    rule: 'voucher-ended',
    what: 'a claim of a voucher that has ended',
    documents: [...one, ...vouched],
    context: ended,
    verdict: { left: 'g1', refused: 'voucher-ended g2, certificate g2' },
  },
  {
    rule: 'voucher-ended',
    what: 'two clocks may differ: within the grace a claim counts',
    documents: [...one, ...vouched],
    context: { moment: momentOf(nowMs + 2 * hour) },
    verdict: { left: 'g1 g2' },
  },
  {
    rule: 'voucher-ended',
    what: 'a claim that was seen in time stays when the voucher ends',
    before: [...one, ...vouched],
    documents: [...one, ...vouched],
    context: ended,
    verdict: { left: 'g1 g2' },
  },
  {
    rule: 'voucher-ended',
    what: 'the voucher was seen in time and the claim was not',
    before: [...one, voucher(2)],
    documents: [...one, ...vouched],
    context: ended,
    verdict: { left: 'g1', refused: 'voucher-ended g2, certificate g2' },
  },
  {
    rule: 'claim-conflict',
    what: 'a newer claim by the same identity is not needed, and changes nothing',
    before: [...one, ...vouched],
    documents: [...one, voucher(2), claim(2, { serial: 9 }), record(2)],
    verdict: { left: 'g1 g2', refused: 'claim-conflict g2' },
  },
  {
    rule: 'document',
    what: 'a voucher for more than 24 hours',
    documents: [...one, voucher(2, { until: nowMs + 23 * hour + 1 }), claim(2), record(2)],
    verdict: { left: 'g1', refused: 'document, voucher g2, certificate g2' },
  },
  {
    rule: 'document',
    what: 'a voucher for exactly 24 hours',
    documents: [...one, voucher(2, { until: nowMs + 23 * hour }), claim(2), record(2)],
    verdict: { left: 'g1 g2' },
  },
  {
    rule: 'document',
    what: 'a voucher that ends before it begins',
    documents: [...one, voucher(2, { until: nowMs - 2 * hour }), claim(2), record(2)],
    verdict: { left: 'g1', refused: 'document, voucher g2, certificate g2' },
  },
  {
    rule: 'document',
    what: 'a voucher that names an identity',
    documents: [...one, edited(voucher(2), '"key":', `"identity":"${identityOf('g2')}","key":`), claim(2)],
    verdict: { left: 'g1', refused: 'document, voucher g2' },
  },
]

const conflicts: readonly Row[] = [
  {
    rule: 'claim-conflict',
    what: 'two identities at once: neither counts',
    documents: [...one, ...vouched, thief(), thiefRecord],
    verdict: { left: 'g1', refused: 'claim-conflict g2, claim-conflict g2, certificate g2, certificate g2' },
  },
  {
    rule: 'claim-conflict',
    what: 'a newer claim by another identity at once: neither counts',
    documents: [...one, ...vouched, thief({ serial: 9 })],
    verdict: { left: 'g1', refused: 'claim-conflict g2, claim-conflict g2, certificate g2' },
  },
  {
    rule: 'claim-conflict',
    what: 'the identity that had it keeps it',
    before: [...one, ...vouched],
    documents: [...one, ...vouched, thief({ serial: 9 }), thiefRecord],
    verdict: { left: 'g1 g2', refused: 'claim-conflict g2, signer g2' },
  },
  {
    rule: 'claim-conflict',
    what: 'the identity that had it keeps it, its claim gone from the registry',
    before: [...one, ...vouched],
    documents: [...one, voucher(2), at('claims/g2.jws', claim(2, { serial: 9 }, 'thief')), record(2)],
    verdict: { left: 'g1 g2', refused: 'claim-conflict g2' },
  },
  {
    rule: 'claim-conflict',
    what: 'two at once and then one of them gone: the other counts',
    before: [...one, ...vouched, thief()],
    documents: [...one, ...vouched],
    verdict: { left: 'g1 g2' },
  },
  {
    rule: 'claim-conflict',
    what: 'one identity that says it twice is one',
    documents: [...one, ...vouched, at('claims/again.jws', claim(2))],
    verdict: { left: 'g1 g2' },
  },
  {
    rule: 'claim-conflict',
    what: 'after the voucher ended somebody else cannot take the right one out',
    before: [...one, ...vouched],
    documents: [...one, ...vouched, thief()],
    context: ended,
    verdict: { left: 'g1 g2', refused: 'voucher-ended g2' },
  },
]

const outranking: readonly Row[] = [
  {
    rule: 'signer',
    what: 'a certificate outranks a claimed voucher, whatever its serial',
    documents: [
      ...one,
      voucher(2, { serial: 9 }),
      claim(2, { voucher: 9 }, 'thief'),
      thiefRecord,
      certificate(2),
      record(2),
    ],
    verdict: { left: 'g1 g2', refused: 'signer g2' },
  },
  {
    rule: 'signer',
    what: 'a certificate outranks a voucher that was claimed before',
    before: [...one, voucher(2), thief(), thiefRecord],
    documents: [...one, voucher(2), thief(), thiefRecord, certificate(2), record(2)],
    verdict: { left: 'g1 g2', refused: 'signer g2' },
  },
  {
    rule: 'claim-conflict',
    what: 'a certificate settles it',
    before: [...one, ...vouched, thief()],
    documents: [...one, ...vouched, thief(), certificate(2)],
    verdict: { left: 'g1 g2' },
  },
  {
    rule: 'voucher-ended',
    what: 'of a gateway that is certified it does not matter',
    documents: [...one, ...vouched, certificate(2)],
    context: ended,
    verdict: { left: 'g1 g2' },
  },
  {
    rule: 'voucher',
    what: 'certified for the identity that claimed it: nothing changes',
    before: [...one, ...vouched],
    documents: [...one, ...vouched, certificate(2)],
    verdict: { left: 'g1 g2' },
  },
  {
    rule: 'voucher',
    what: 'no voucher brings back a gateway whose certificate expired',
    documents: [...one, certificate(2, { notAfter: nowMs - 2 * hour }), ...vouched],
    verdict: { left: 'g1', refused: 'expired g2' },
  },
]

export const contesting: readonly Row[] = [...times, ...conflicts, ...outranking]
