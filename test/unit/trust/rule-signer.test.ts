/** Who may say what: form, signature, fabric, and whose key it is. When documents count is in rule-standing.test.ts. */
import type { Delivered, Document } from '../../../agent/model/document.ts'
import { proofOf } from '../../../agent/trust/authorities.ts'
import { kidOf } from '../../../agent/trust/envelope.ts'
import { at, by } from '../../support/conformance.ts'
import {
  authority,
  authorityKey,
  certificateDocument as certificate,
  deliveredText,
  fabricDocument as fabric,
  identityKeyOf,
  identityOf,
  keyOf,
  recordDocument as record,
  requestDocument as request,
  sealed,
} from '../../support/documents.ts'
import { covers, judges, signerRules } from '../../support/rule-case.ts'
import type { Case } from '../../support/rule-case.ts'

const stranger = keyOf('stranger')
const next = keyOf('next authority')
/** One gateway as it should be. */
const one: readonly Document[] = [fabric(), certificate(1), record(1)]
const g1 = { g1: ['10.1.0.0/16'] }
const both = { ...g1, g2: ['10.2.0.0/16'] }

function altered(document: Document): Delivered {
  const parts = sealed(document).toString().split('.')
  const other = JSON.stringify({ ...document.payload, serial: 99 })
  return deliveredText(
    [parts[0], Buffer.from(other).toString('base64url'), parts[2]].join('.'),
    'altered.jws',
  )
}

/** The authority's key makes `next` its successor. */
const rollover: Document = {
  type: 'authority',
  payload: {
    fabric: 'prod',
    serial: 1,
    next: kidOf(next),
    proof: proofOf('prod', authority, next),
    retired: [],
  },
}
/** The successor turns the first key out. */
const retirement = by(
  next,
  { type: 'authority', payload: { fabric: 'prod', serial: 1, retired: [authority] } },
  'authority/next.jws',
)

const cases: readonly Case[] = [
  { name: 'as it should be', documents: one, refused: [], left: g1 },
  {
    name: 'what is no document, alone',
    documents: [...one, deliveredText('{}', 'records/g2.jws')],
    refused: ['document '],
    left: g1,
    reason: /is not signed/,
  },
  {
    name: 'a payload that was altered on its way',
    documents: [...one, altered(record(1)), altered(certificate(1)), altered(fabric())].map((each, i) =>
      'bytes' in each ? { ...each, origin: `altered-${i}.jws` } : each,
    ),
    refused: ['signature ', 'signature ', 'signature '],
    left: g1,
  },
  {
    name: 'documents of another fabric, rightly signed',
    documents: [
      ...one,
      at('x1.jws', fabric({ fabric: 'test', serial: 9, removed: ['g1'] })),
      at('x2.jws', certificate(1, { fabric: 'test', serial: 9, number: 7 })),
      at('x3.jws', record(1, { fabric: 'test', serial: 9, state: 'withdrawn' })),
    ],
    refused: ['fabric ', 'fabric g1', 'fabric g1'],
    left: g1,
    reason: /belongs to the fabric test, this is prod/,
  },
  {
    name: 'a gateway that certifies itself',
    documents: [fabric(), by(identityKeyOf('g1'), certificate(1)), record(1)],
    refused: ['authority g1', 'certificate g1'],
    left: {},
    reason: /is not the authority's/,
  },
  {
    name: "a stranger's certificate, however new",
    documents: [...one, by(stranger, certificate(1, { serial: 9, identity: kidOf(stranger) }), 'x.jws')],
    refused: ['authority g1'],
    left: g1,
  },
  {
    name: "a stranger's fabric document, however new",
    documents: [...one, by(stranger, fabric({ serial: 9, removed: ['g1'] }), 'x.jws')],
    refused: ['authority '],
    left: g1,
  },
  {
    name: "nothing but a stranger's fabric document",
    documents: [by(stranger, fabric()), certificate(1), record(1)],
    refused: ['authority '],
    left: {},
  },
  {
    name: 'a fabric document by a gateway',
    documents: [...one, by(identityKeyOf('g1'), fabric({ serial: 9 }), 'x.jws')],
    refused: ['authority '],
    left: g1,
  },
  {
    name: "a stranger who makes himself the authority's successor",
    documents: [
      ...one,
      by(stranger, {
        type: 'authority',
        payload: {
          fabric: 'prod',
          serial: 9,
          next: kidOf(next),
          proof: proofOf('prod', kidOf(stranger), next),
          retired: [authority],
        },
      }),
      by(next, certificate(2)),
      record(2),
    ],
    refused: ['authority ', 'authority g2', 'certificate g2'],
    left: g1,
  },
  {
    name: 'the next key of the authority, beside the first',
    documents: [...one, rollover, by(next, certificate(2)), record(2)],
    refused: [],
    left: both,
  },
  {
    name: 'the next key without its own word',
    documents: [
      ...one,
      { type: 'authority', payload: { fabric: 'prod', serial: 1, next: kidOf(next), retired: [] } },
      by(next, certificate(2)),
      record(2),
    ],
    refused: ['signature ', 'authority g2', 'certificate g2'],
    left: g1,
  },
  {
    name: 'a retired key',
    documents: [
      by(next, fabric()),
      certificate(1),
      record(1),
      by(next, certificate(2)),
      record(2),
      rollover,
      retirement,
    ],
    refused: ['authority g1', 'certificate g1'],
    left: { g2: ['10.2.0.0/16'] },
    reason: /which the authority retired/,
  },
  {
    name: 'the fabric document of a retired key, where it counted before: without one there would be no fabric',
    before: [fabric(), by(next, certificate(1)), record(1), rollover],
    documents: [fabric(), by(next, certificate(1)), record(1), rollover, retirement],
    refused: [],
    left: g1,
  },
  {
    name: 'a new fabric document of a retired key',
    before: [fabric(), by(next, certificate(1)), record(1), rollover, retirement],
    documents: [
      by(next, fabric()),
      by(next, certificate(1)),
      record(1),
      rollover,
      retirement,
      by(authorityKey, fabric({ serial: 2, removed: ['g1'] }), 'x.jws'),
    ],
    refused: ['authority '],
    left: g1,
    reason: /retired/,
  },
  {
    name: 'a record by another gateway',
    documents: [fabric(), certificate(1), by(identityKeyOf('g2'), record(1)), certificate(2), record(2)],
    refused: ['signer g1'],
    left: { g2: ['10.2.0.0/16'] },
  },
  {
    name: 'a record by the authority',
    documents: [fabric(), certificate(1), by(authorityKey, record(1))],
    refused: ['signer g1'],
    left: {},
  },
  {
    name: "a newer record by another does not take the right one's place",
    documents: [
      ...one,
      by(identityKeyOf('g2'), record(1, { serial: 9, state: 'withdrawn' }), 'records/x.jws'),
    ],
    refused: ['signer g1'],
    left: g1,
  },
  { name: 'a request by its own key', documents: [...one, request(2)], refused: [], left: g1 },
  {
    name: 'a request by another key',
    documents: [...one, by(identityKeyOf('g1'), request(2))],
    refused: ['signer g2'],
    left: g1,
  },
  {
    name: 'a record of the identity before, after a reinstall',
    before: one,
    documents: [
      fabric(),
      certificate(1, { serial: 2, identity: identityOf('g1 again') }),
      record(1, { serial: 9 }),
    ],
    refused: ['signer g1'],
    left: {},
  },
  {
    name: 'the first record of a new identity, whatever the serial of the one before',
    before: [fabric(), certificate(1), record(1, { serial: 9 })],
    documents: [
      fabric(),
      certificate(1, { serial: 2, identity: identityOf('g1 again') }),
      by(identityKeyOf('g1 again'), record(1)),
    ],
    refused: [],
    left: g1,
  },
]

judges(cases)
covers(cases, signerRules)
