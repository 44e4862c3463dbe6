/** When documents count: dates, serials, and what the fabric document takes back. Who may say them is in rule-signer.test.ts. */
import type { Delivered, Document } from '../../../agent/model/document.ts'
import { prefix } from '../../../agent/model/prefix.ts'
import {
  certificateDocument as certificate,
  delivered,
  fabricDocument as fabric,
  identityOf,
  nowMs,
  recordDocument as record,
} from '../../support/documents.ts'
import { covers, judges, standingRules } from '../../support/rule-case.ts'
import type { Case } from '../../support/rule-case.ts'

const hour = 3_600_000
/** One gateway as it should be. */
const one: readonly Document[] = [fabric(), certificate(1), record(1)]
const g1 = { g1: ['10.1.0.0/16'] }
const both = { ...g1, g2: ['10.2.0.0/16'] }

/** At another place than its own. */
function at(origin: string, document: Document): Delivered {
  return delivered(document, origin)
}

const dates: readonly Case[] = [
  {
    name: 'a certificate that begins later than an hour from now',
    documents: [fabric(), certificate(1, { notBefore: nowMs + hour + 1 }), record(1)],
    refused: ['early g1'],
    left: {},
    reason: /begins at 2025-11-21T/,
  },
  {
    name: 'a certificate that begins within the hour by which clocks may differ',
    documents: [fabric(), certificate(1, { notBefore: nowMs + hour }), record(1)],
    refused: [],
    left: g1,
  },
  {
    name: 'a certificate that may have begun, by a clock that may be slow',
    documents: [fabric(), certificate(1, { notBefore: nowMs + 2 * hour }), record(1)],
    context: { moment: { sureMs: nowMs, likelyMs: nowMs + hour } },
    refused: [],
    left: g1,
  },
  {
    name: 'a certificate that expired more than an hour ago',
    documents: [fabric(), certificate(1, { notAfter: nowMs - hour - 1 }), record(1)],
    refused: ['expired g1'],
    left: {},
    reason: /expired at 2025-11-21T/,
  },
  {
    name: 'a certificate that expired within the hour',
    documents: [fabric(), certificate(1, { notAfter: nowMs - hour }), record(1)],
    refused: [],
    left: g1,
  },
  {
    name: 'a certificate that has expired by a clock that may be fast',
    documents: [fabric(), certificate(1, { notAfter: nowMs }), record(1)],
    context: { moment: { sureMs: nowMs, likelyMs: nowMs + 400 * 24 * hour } },
    refused: [],
    left: g1,
  },
  {
    name: 'the own certificate, expired: barred, not gone',
    documents: [...one, certificate(2, { notAfter: nowMs - hour - 1 }), record(2)],
    context: { self: 'g2' },
    refused: ['expired g2'],
    left: both,
    barred: ['g2'],
  },
  {
    name: 'the own certificate, not yet begun: not in, and not barred',
    documents: [...one, certificate(2, { notBefore: nowMs + hour + 1 }), record(2)],
    context: { self: 'g2' },
    refused: ['early g2'],
    left: g1,
  },
  {
    name: 'a renewed certificate takes the place of one that expired',
    before: one,
    documents: [
      fabric(),
      at('x.jws', certificate(1, { notAfter: nowMs - hour - 1 })),
      certificate(1, { serial: 2 }),
      record(1),
    ],
    context: { self: 'g1' },
    refused: ['rollback g1'],
    left: g1,
  },
  {
    name: 'a stale fabric document, and a gateway never seen',
    before: one,
    documents: [
      fabric({ serial: 2, freshUntil: nowMs - hour - 1 }),
      certificate(1),
      record(1),
      certificate(2),
      record(2),
    ],
    refused: ['stale g2', 'certificate g2'],
    left: g1,
  },
  {
    name: 'a stale fabric document keeps nobody from news',
    before: one,
    documents: [
      fabric({ serial: 2, freshUntil: nowMs - hour - 1 }),
      certificate(1, { serial: 2, prefixes: [{ prefix: prefix('10.9.0.0/16') }] }),
      record(1, { serial: 2, prefixes: [prefix('10.9.0.0/16')] }),
    ],
    refused: [],
    left: { g1: ['10.9.0.0/16'] },
  },
  {
    name: 'a fabric document that is due within the hour is not stale',
    documents: [fabric({ freshUntil: nowMs - hour }), certificate(1), record(1)],
    refused: [],
    left: g1,
  },
  {
    name: 'a fabric document that is stale by a clock that may be fast',
    documents: [fabric({ freshUntil: nowMs }), certificate(1), record(1)],
    context: { moment: { sureMs: nowMs, likelyMs: nowMs + 400 * 24 * hour } },
    refused: [],
    left: g1,
  },
]

const taken: readonly Case[] = [
  ...[
    { what: 'a removed gateway', rule: 'removed' as const, change: { removed: ['g2'] } },
    {
      what: 'a revoked serial',
      rule: 'revoked' as const,
      change: { revoked: { serials: [7], identities: [] } },
    },
    {
      what: 'a revoked identity',
      rule: 'revoked' as const,
      change: { revoked: { serials: [], identities: [identityOf('g2')] } },
    },
  ].flatMap(({ what, rule, change }): Case[] => {
    const documents = [fabric(change), certificate(1), record(1), certificate(2, { serial: 7 }), record(2)]
    return [
      { name: what, documents, refused: [`${rule} g2`], left: g1 },
      {
        name: `${what}, ourselves: barred, not gone`,
        documents,
        context: { self: 'g2' },
        refused: [`${rule} g2`],
        left: both,
        barred: ['g2'],
      },
    ]
  }),
  {
    name: 'ourselves twice over: removed, revoked and expired is said once',
    documents: [
      fabric({ removed: ['g1'], revoked: { serials: [1], identities: [] } }),
      certificate(1, { notAfter: 0 }),
      record(1),
    ],
    context: { self: 'g1' },
    refused: ['removed g1'],
    left: g1,
    barred: ['g1'],
  },
  {
    name: 'a new certificate after a revocation by serial',
    documents: [
      fabric({ revoked: { serials: [1], identities: [] } }),
      certificate(1, { serial: 2 }),
      record(1),
    ],
    context: { self: 'g1' },
    refused: [],
    left: g1,
  },
]

const order: readonly Case[] = [
  {
    name: 'older ones beside the newest of each',
    documents: [
      at('a1.jws', fabric()),
      at('a2.jws', certificate(1)),
      at('a3.jws', record(1)),
      fabric({ serial: 2 }),
      certificate(1, { serial: 2 }),
      record(1, { serial: 2 }),
    ],
    refused: ['rollback ', 'rollback g1', 'rollback g1'],
    left: g1,
    reason: /serial 1, in force is 2/,
  },
  {
    name: 'a rollback of all that counted before',
    before: [fabric({ serial: 5 }), certificate(1, { serial: 5 }), record(1, { serial: 5 })],
    documents: one,
    refused: ['rollback g1', 'rollback ', 'certificate g1'],
    left: {},
  },
  {
    name: 'a record rolled back, beside the one in force',
    before: [fabric(), certificate(1), record(1, { serial: 5 })],
    documents: [
      fabric(),
      certificate(1),
      at('old.jws', record(1, { serial: 4, state: 'withdrawn' })),
      record(1, { serial: 5 }),
    ],
    refused: ['rollback g1'],
    left: g1,
  },
  {
    name: 'what counted before stays, whatever else has its serial',
    before: one,
    documents: [
      ...one,
      ...Array.from({ length: 8 }, (_, i) => at(`twin-${i}.jws`, record(1, { weight: 2 + i, prefixes: [] }))),
    ],
    refused: Array.from({ length: 8 }, () => 'equivocation g1' as const),
    left: g1,
    reason: /has the serial 1 of the one in force and says something else/,
  },
  {
    name: 'of two with one serial that come at once, one counts and the other is told',
    documents: [
      at('a.jws', fabric({ serial: 3 })),
      at('b.jws', fabric({ serial: 3, prefer: [] })),
      certificate(1),
      record(1),
    ],
    refused: ['equivocation '],
    left: g1,
  },
  {
    name: 'one document at two places is one document',
    documents: [
      ...one,
      at('copy-1.jws', fabric()),
      at('copy-2.jws', certificate(1)),
      at('copy-3.jws', record(1)),
    ],
    refused: [],
    left: g1,
  },
  {
    name: 'other overlay ranges',
    before: one,
    documents: [...one, at('x.jws', fabric({ serial: 2, overlay: { ipv4: prefix('100.64.0.0/16') } }))],
    refused: ['succession '],
    left: g1,
    reason: /the overlay ranges cannot change/,
  },
  {
    name: 'underlays in another order',
    before: [fabric({ underlays: [{ name: 'internet' }, { name: 'dx' }] }), certificate(1), record(1)],
    documents: [
      fabric({ underlays: [{ name: 'internet' }, { name: 'dx' }] }),
      certificate(1),
      record(1),
      at('x.jws', fabric({ serial: 2, underlays: [{ name: 'dx' }, { name: 'internet' }] })),
    ],
    refused: ['succession '],
    left: g1,
    reason: /underlay internet must stay at position 1/,
  },
  {
    name: 'an underlay more, at the end',
    before: one,
    documents: [
      fabric({ serial: 2, underlays: [{ name: 'internet' }, { name: 'dx' }] }),
      certificate(1),
      record(1),
    ],
    refused: [],
    left: g1,
  },
]

const cases = [...dates, ...taken, ...order]
judges(cases)
covers(cases, standingRules)
