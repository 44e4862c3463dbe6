/** Conformance: when documents count. Serials, dates, and what the fabric document takes back. */
import { prefix } from '../../agent/model/prefix.ts'
import { verify } from '../../agent/trust/verify.ts'
import { at, by, gateway, one } from './conformance.ts'
import type { Row } from './conformance.ts'
import {
  certificateDocument as certificate,
  delivered,
  fabricDocument as fabric,
  ground,
  identityKeyOf,
  identityOf,
  moment,
  nowMs,
  recordDocument as record,
} from './documents.ts'

const hour = 3_600_000
const year = 365 * 24 * hour
/** Serials of what counted once; the documents themselves are lost. */
const marks = verify(
  [fabric({ serial: 5 }), certificate(1, { serial: 5 }), record(1, { serial: 5 })].map((each) =>
    delivered(each),
  ),
  { ...ground, moment },
).marks

const serials: readonly Row[] = [
  {
    rule: 'rollback',
    what: 'older ones beside the newest of each',
    documents: [
      at('a1.jws', fabric({ removed: ['g1'] })),
      at('a2.jws', certificate(1, { number: 9 })),
      at('a3.jws', record(1, { state: 'withdrawn' })),
      fabric({ serial: 2 }),
      certificate(1, { serial: 2 }),
      record(1, { serial: 2 }),
    ],
    verdict: { left: 'g1', refused: 'rollback, rollback g1, rollback g1', says: /serial 1, in force is 2/ },
  },
  {
    rule: 'rollback',
    what: 'older ones in the place of those that counted before',
    before: [fabric({ serial: 5 }), certificate(1, { serial: 5 }), record(1, { serial: 5 })],
    documents: [
      fabric({ removed: ['g1'] }),
      certificate(1, { number: 9 }),
      record(1, { state: 'withdrawn' }),
    ],
    verdict: { left: 'g1', refused: 'rollback, rollback g1, rollback g1' },
  },
  {
    rule: 'rollback',
    what: 'older ones where nothing but the marks of what counted is left',
    documents: one,
    context: { marks },
    verdict: { left: '', refused: 'rollback, rollback g1, certificate g1' },
  },
  {
    rule: 'rollback',
    what: 'the same and newer ones where nothing but the marks is left',
    documents: [fabric({ serial: 5 }), certificate(1, { serial: 6 }), record(1, { serial: 7 })],
    context: { marks },
    verdict: { left: 'g1' },
  },
  {
    rule: 'rollback',
    what: 'a certificate that was revoked and replaced comes back',
    before: [fabric(), certificate(1, { serial: 7 }), record(1)],
    documents: [
      fabric(),
      certificate(1, { serial: 7 }),
      record(1),
      at('old.jws', certificate(1, { serial: 6, identity: identityOf('thief') })),
    ],
    verdict: { left: 'g1', refused: 'rollback g1' },
  },
  {
    rule: 'rollback',
    what: 'a withdrawal of long ago beside the record in force',
    before: [fabric(), certificate(1), record(1, { serial: 5 })],
    documents: [
      fabric(),
      certificate(1),
      at('old.jws', record(1, { serial: 4, state: 'withdrawn' })),
      record(1, { serial: 5 }),
    ],
    verdict: { left: 'g1', refused: 'rollback g1' },
  },
  {
    rule: 'rollback',
    what: 'nothing is delivered any longer: nothing ends',
    before: one,
    documents: [],
    verdict: { left: 'g1' },
  },
  {
    rule: 'equivocation',
    what: 'others of the serial of those that counted before, in their places',
    before: one,
    documents: [
      fabric({ removed: ['g1'] }),
      certificate(1, { number: 9 }),
      record(1, { state: 'withdrawn' }),
    ],
    verdict: { left: 'g1', refused: 'equivocation, equivocation g1, equivocation g1' },
  },
  {
    rule: 'equivocation',
    what: 'others of the serial of those that counted before, beside them',
    before: one,
    documents: [
      ...one,
      ...Array.from({ length: 4 }, (_, i) => at(`twin-${i}.jws`, record(1, { weight: 2 + i }))),
    ],
    verdict: {
      left: 'g1',
      refused: 'equivocation g1, equivocation g1, equivocation g1, equivocation g1',
      says: /has the serial 1 of the one in force and says something else/,
    },
  },
  {
    rule: 'equivocation',
    what: 'others of the serial, where nothing but the marks is left',
    documents: [fabric({ serial: 5, prefer: [] }), certificate(1, { serial: 5 }), record(1, { serial: 5 })],
    context: { marks },
    verdict: { left: '', refused: 'equivocation' },
  },
  {
    rule: 'equivocation',
    what: 'two of one serial at once: the same one of them counts everywhere',
    documents: [
      ...one.slice(1),
      at('a.jws', fabric({ serial: 3 })),
      at('b.jws', fabric({ serial: 3, prefer: [] })),
    ],
    verdict: { left: 'g1', refused: 'equivocation' },
  },
  {
    rule: 'equivocation',
    what: 'one document at two places is one document',
    documents: [...one, at('x1.jws', fabric()), at('x2.jws', certificate(1)), at('x3.jws', record(1))],
    verdict: { left: 'g1' },
  },
  {
    rule: 'succession',
    what: 'other overlay ranges',
    before: one,
    documents: [...one, at('x.jws', fabric({ serial: 2, overlay: { ipv4: prefix('100.64.0.0/16') } }))],
    verdict: { left: 'g1', refused: 'succession', says: /the overlay ranges cannot change/ },
  },
  {
    rule: 'succession',
    what: 'an overlay range more',
    before: [fabric({ overlay: { ipv4: prefix('100.127.0.0/16') } }), ...gateway(1)],
    documents: [fabric({ serial: 2 }), ...gateway(1)],
    verdict: { left: 'g1', refused: 'succession' },
  },
  {
    rule: 'succession',
    what: 'an underlay in front of the others',
    before: one,
    documents: [fabric({ serial: 2, underlays: [{ name: 'dx' }, { name: 'internet' }] }), ...gateway(1)],
    verdict: { left: 'g1', refused: 'succession', says: /underlay internet must stay at position 1/ },
  },
  {
    rule: 'succession',
    what: 'an underlay less',
    before: [fabric({ underlays: [{ name: 'internet' }, { name: 'dx' }] }), ...gateway(1)],
    documents: [fabric({ serial: 2 }), ...gateway(1)],
    verdict: { left: 'g1', refused: 'succession' },
  },
  {
    rule: 'succession',
    what: 'an underlay more, behind the others',
    before: one,
    documents: [fabric({ serial: 2, underlays: [{ name: 'internet' }, { name: 'dx' }] }), ...gateway(1)],
    verdict: { left: 'g1' },
  },
]

const dates: readonly Row[] = [
  {
    rule: 'early',
    what: 'a certificate that begins more than an hour from now',
    documents: [...one, ...gateway(2, { notBefore: nowMs + hour + 1 })],
    verdict: { left: 'g1', refused: 'early g2', says: /begins at 2025-11-21T/ },
  },
  {
    rule: 'early',
    what: 'a certificate that begins within the hour by which clocks may differ',
    documents: [...one, ...gateway(2, { notBefore: nowMs + hour })],
    verdict: { left: 'g1 g2' },
  },
  {
    rule: 'early',
    what: 'a certificate that may have begun, by a clock that may be slow',
    documents: [...one, ...gateway(2, { notBefore: nowMs + 2 * hour })],
    context: { moment: { sureMs: nowMs, likelyMs: nowMs + hour } },
    verdict: { left: 'g1 g2' },
  },
  {
    rule: 'early',
    what: 'the own certificate, not yet begun, has nothing to close',
    documents: [...one, ...gateway(2, { notBefore: nowMs + hour + 1 })],
    context: { self: 'g2' },
    verdict: { left: 'g1', refused: 'early g2' },
  },
  {
    rule: 'expired',
    what: 'a certificate that ended more than an hour ago',
    documents: [...one, ...gateway(2, { notAfter: nowMs - hour - 1 })],
    verdict: { left: 'g1', refused: 'expired g2', says: /expired at 2025-11-21T/ },
  },
  {
    rule: 'expired',
    what: 'a certificate that ended within the hour',
    documents: [...one, ...gateway(2, { notAfter: nowMs - hour })],
    verdict: { left: 'g1 g2' },
  },
  {
    rule: 'expired',
    what: 'a certificate that ended by a clock that may have jumped',
    documents: [...one, ...gateway(2, { notAfter: nowMs })],
    context: { moment: { sureMs: nowMs, likelyMs: nowMs + year } },
    verdict: { left: 'g1 g2' },
  },
  {
    rule: 'expired',
    what: 'a certificate that ended while it was in force',
    before: [...one, ...gateway(2, { notAfter: nowMs + hour })],
    documents: [...one, ...gateway(2, { notAfter: nowMs + hour })],
    context: { moment: { sureMs: nowMs + 2 * hour + 1, likelyMs: nowMs + 2 * hour + 1 } },
    verdict: { left: 'g1', refused: 'expired g2' },
  },
  {
    rule: 'expired',
    what: 'a certificate that ended, and was renewed in time',
    before: [...one, ...gateway(2, { notAfter: nowMs })],
    documents: [...one, ...gateway(2, { serial: 2 })],
    context: { moment: { sureMs: nowMs + year, likelyMs: nowMs + year }, self: 'g2' },
    verdict: { left: 'g1 g2' },
  },
  {
    rule: 'expired',
    what: 'the own certificate that ended, beside the one that renews it',
    before: one,
    documents: [
      fabric(),
      at('x.jws', certificate(1, { notAfter: nowMs - hour - 1 })),
      certificate(1, { serial: 2 }),
      record(1),
    ],
    context: { self: 'g1' },
    verdict: { left: 'g1', refused: 'rollback g1' },
  },
  {
    rule: 'expired',
    what: 'the own certificate ended: barred, not gone',
    documents: [...one, ...gateway(2, { notAfter: nowMs - hour - 1 })],
    context: { self: 'g2' },
    verdict: { left: 'g1 g2', barred: 'g2', refused: 'expired g2' },
  },
  {
    rule: 'stale',
    what: 'a gateway never seen, while the fabric document is stale',
    before: one,
    documents: [fabric({ serial: 2, freshUntil: nowMs - hour - 1 }), ...gateway(1), ...gateway(2)],
    verdict: { left: 'g1', refused: 'stale g2, certificate g2' },
  },
  {
    rule: 'stale',
    what: 'news of a gateway that was seen, while the fabric document is stale',
    before: one,
    documents: [
      fabric({ serial: 2, freshUntil: nowMs - hour - 1 }),
      ...gateway(
        1,
        { serial: 2, prefixes: [{ prefix: prefix('10.9.0.0/16') }] },
        { serial: 2, prefixes: [prefix('10.9.0.0/16')] },
      ),
    ],
    verdict: { left: 'g1', prefixes: { g1: '10.9.0.0/16' } },
  },
  {
    rule: 'stale',
    what: 'a fabric document that is due within the hour, or by a clock that may have jumped',
    documents: [fabric({ freshUntil: nowMs - hour }), ...gateway(1)],
    context: { moment: { sureMs: nowMs, likelyMs: nowMs + year } },
    verdict: { left: 'g1' },
  },
  {
    rule: 'stale',
    what: 'it becomes stale while gateways run: nothing stops, a withdrawal still counts',
    before: [...one, ...gateway(2)],
    documents: [...one, certificate(2), record(2, { serial: 2, state: 'withdrawn' }), ...gateway(3)],
    context: { moment: { sureMs: nowMs + year, likelyMs: nowMs + year } },
    verdict: { left: 'g1', refused: 'stale g3, certificate g3' },
  },
]

/** Gateway 2 with a certificate of serial 7, and what the fabric document says of it. */
const takenBack = [
  { rule: 'removed', what: 'a removed gateway', change: { removed: ['g2'] } },
  {
    rule: 'revoked',
    what: 'a serial that is revoked',
    change: { revoked: { serials: [7], identities: [] } },
  },
  {
    rule: 'revoked',
    what: 'an identity that is revoked',
    change: { revoked: { serials: [], identities: [identityOf('g2')] } },
  },
] as const

const taken: readonly Row[] = [
  ...takenBack.flatMap(({ rule, what, change }): Row[] => [
    {
      rule,
      what,
      documents: [fabric(change), ...gateway(1), ...gateway(2, { serial: 7 })],
      verdict: { left: 'g1', refused: `${rule} g2` },
    },
    {
      rule,
      what: `${what}, while it runs`,
      before: [...one, ...gateway(2, { serial: 7 })],
      documents: [fabric({ serial: 2, ...change })],
      verdict: { left: 'g1', refused: `${rule} g2` },
    },
    {
      rule,
      what: `${what}, ourselves: barred, not gone`,
      documents: [fabric(change), ...gateway(1), ...gateway(2, { serial: 7 })],
      context: { self: 'g2' },
      verdict: { left: 'g1 g2', barred: 'g2', refused: `${rule} g2` },
    },
  ]),
  {
    rule: 'removed',
    what: 'a gateway is taken back: removed no longer',
    before: [fabric({ removed: ['g2'] }), ...gateway(1), ...gateway(2)],
    documents: [fabric({ serial: 2 })],
    verdict: { left: 'g1 g2' },
  },
  {
    rule: 'removed',
    what: 'removed, revoked and expired is said once',
    documents: [
      fabric({ removed: ['g1'], revoked: { serials: [1], identities: [] } }),
      ...gateway(1, { notAfter: 0 }),
    ],
    context: { self: 'g1' },
    verdict: { left: 'g1', barred: 'g1', refused: 'removed g1' },
  },
  {
    rule: 'revoked',
    what: 'a certificate issued after the revocation of a serial',
    documents: [fabric({ revoked: { serials: [7], identities: [] } }), ...gateway(1, { serial: 8 })],
    verdict: { left: 'g1' },
  },
  {
    rule: 'revoked',
    what: 'a certificate issued after the revocation of an identity, for the same identity',
    documents: [
      fabric({ revoked: { serials: [], identities: [identityOf('g1')] } }),
      ...gateway(1, { serial: 8 }),
    ],
    verdict: { left: '', refused: 'revoked g1' },
  },
  {
    rule: 'revoked',
    what: 'reinstalled after the revocation of its identity',
    before: one,
    documents: [
      fabric({ serial: 2, revoked: { serials: [], identities: [identityOf('g1')] } }),
      certificate(1, { serial: 8, identity: identityOf('g1 again') }),
      by(identityKeyOf('g1 again'), record(1)),
    ],
    verdict: { left: 'g1' },
  },
  {
    rule: 'certificate',
    what: 'a gateway that withdraws, and one that drains',
    before: [...one, ...gateway(2), ...gateway(3)],
    documents: [
      ...one,
      certificate(2),
      record(2, { serial: 2, state: 'withdrawn' }),
      certificate(3),
      record(3, { serial: 2, state: 'draining' }),
    ],
    verdict: { left: 'g1 g3' },
  },
]

export const standing: readonly Row[] = [...serials, ...dates, ...taken]
