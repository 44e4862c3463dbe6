/**
 * The rules of content as a table: what the documents say, what is refused, and what is left. Who may say it, and when, is
 * in the conformance table (conformance.test.ts).
 */
import t from 'tap'
import type { Document } from '../../../agent/model/document.ts'
import { address, prefix } from '../../../agent/model/prefix.ts'
import { rules } from '../../../agent/trust/rulebook.ts'
import { verify } from '../../../agent/trust/verify.ts'
import {
  certificateDocument as certificate,
  certificateOf,
  delivered,
  fabricDocument as fabric,
  ground,
  identityKeyOf,
  identityOf,
  moment,
  recordDocument as record,
  tunnelKeyOf,
} from '../../support/documents.ts'
import { bytesOf, judges } from '../../support/rule-case.ts'
import type { Case } from '../../support/rule-case.ts'

const p = prefix
const sameSite = certificateOf(1).site

/** One gateway with this grant, advertising this. */
const one = (
  granted: string,
  advertised: string[],
  change: Parameters<typeof certificate>[1] = {},
): Document[] => {
  const [of = '', longest] = granted.split(' up to ')
  const grant = longest === undefined ? { prefix: p(of) } : { prefix: p(of), maxLength: Number(longest) }
  return [
    fabric(),
    certificate(1, { prefixes: [grant], ...change }),
    record(1, { prefixes: advertised.map(p) }),
  ]
}

const cases: readonly Case[] = [
  {
    name: 'as it should be',
    documents: one('10.1.0.0/16', ['10.1.0.0/16']),
    refused: [],
    left: { g1: ['10.1.0.0/16'] },
  },
  {
    name: 'record without certificate',
    documents: [fabric(), record(1)],
    refused: ['certificate g1'],
    left: {},
  },
  { name: 'certificate without record', documents: [fabric(), certificate(1)], refused: [], left: {} },
  {
    name: 'two gateways with one number',
    documents: [fabric(), certificate(1), record(1), certificate(2, { number: 1 }), record(2)],
    refused: ['number g1', 'number g2'],
    left: {},
    reason: /g2 has the number 1 too/,
  },
  {
    name: 'two gateways with one identity key',
    documents: [
      fabric(),
      certificate(1),
      record(1),
      certificate(2, { identity: identityOf('g1') }),
      delivered(record(2), undefined, identityKeyOf('g1')),
    ],
    refused: ['identity g1', 'identity g2'],
    left: {},
  },
  {
    name: 'two gateways with one tunnel key, on different devices',
    documents: [
      fabric(),
      certificate(1),
      record(1, { tunnelKeys: { 0: tunnelKeyOf('x') } }),
      certificate(2),
      record(2, { tunnelKeys: { 3: tunnelKeyOf('x') } }),
    ],
    refused: ['tunnel-key g1', 'tunnel-key g2'],
    left: {},
  },
  {
    name: 'two gateways of one site with one plane: the higher number is refused',
    documents: [
      fabric(),
      certificate(2),
      record(2),
      certificate(1, { site: certificateOf(2).site }),
      record(1),
    ],
    refused: ['plane g2'],
    left: { g1: ['10.1.0.0/16'] },
    reason: /g1 \(number 1\) has plane 0 of site s2/,
  },
  {
    name: 'one plane at two sites is no conflict',
    documents: [fabric(), certificate(1), record(1), certificate(2), record(2)],
    refused: [],
    left: { g1: ['10.1.0.0/16'], g2: ['10.2.0.0/16'] },
  },
  {
    name: 'who is refused for a number holds no plane',
    documents: [
      fabric(),
      certificate(1),
      record(1),
      certificate(2, { number: 1 }),
      certificate(3, { site: sameSite }),
      record(3),
    ],
    refused: ['number g1', 'number g2'],
    left: { g3: ['10.3.0.0/16'] },
  },
  {
    name: 'one prefix at two sites: refused for the higher number, that prefix alone',
    documents: [
      fabric(),
      certificate(1),
      record(1),
      certificate(2, { prefixes: [{ prefix: p('10.1.0.0/16') }, { prefix: p('10.2.0.0/16') }] }),
      record(2, { prefixes: [p('10.1.0.0/16'), p('10.2.0.0/16')] }),
    ],
    refused: ['two-sites g2'],
    left: { g1: ['10.1.0.0/16'], g2: ['10.2.0.0/16'] },
    reason: /site s1 advertises it by g1, number 1/,
  },
  {
    name: 'one prefix at one site by two gateways',
    documents: [
      fabric(),
      certificate(1),
      record(1),
      certificate(2, { site: sameSite, plane: 1, prefixes: [{ prefix: p('10.1.0.0/16') }] }),
      record(2, { prefixes: [p('10.1.0.0/16')] }),
    ],
    refused: [],
    left: { g1: ['10.1.0.0/16'], g2: ['10.1.0.0/16'] },
  },
  {
    name: 'nested prefixes of two sites stand both',
    documents: [
      fabric(),
      certificate(1, { prefixes: [{ prefix: p('10.0.0.0/8') }] }),
      record(1, { prefixes: [p('10.0.0.0/8')] }),
      certificate(2),
      record(2),
    ],
    refused: [],
    left: { g1: ['10.0.0.0/8'], g2: ['10.2.0.0/16'] },
  },
  {
    name: 'uncertified prefix, alone',
    documents: one('10.1.0.0/16', ['10.1.0.0/16', '10.9.0.0/16']),
    refused: ['certified g1'],
    left: { g1: ['10.1.0.0/16'] },
  },
  {
    name: 'more-specific without maxLength',
    documents: one('10.1.0.0/16', ['10.1.5.0/24']),
    refused: ['certified g1'],
    left: { g1: [] },
    reason: /longer than the certificate allows: 10\.1\.0\.0\/16 up to length 16/,
  },
  {
    name: 'more-specific up to maxLength',
    documents: one('10.1.0.0/16 up to 24', ['10.1.5.0/24', '10.1.6.0/25']),
    refused: ['certified g1'],
    left: { g1: ['10.1.5.0/24'] },
  },
  {
    name: 'less specific than certified',
    documents: one('10.1.0.0/16 up to 24', ['10.0.0.0/8']),
    refused: ['certified g1'],
    left: { g1: [] },
  },
  {
    name: 'more-specific inside space certified to another site',
    documents: [
      ...one('10.1.0.0/16 up to 24', ['10.1.5.0/24', '10.1.6.0/24']),
      certificate(2, { prefixes: [{ prefix: p('10.1.5.0/24') }] }),
    ],
    refused: ['other-site g1'],
    left: { g1: ['10.1.6.0/24'] },
  },
  {
    name: 'the same space certified to the same site',
    documents: [
      ...one('10.1.0.0/16 up to 24', ['10.1.5.0/24']),
      certificate(2, { site: sameSite, plane: 1, prefixes: [{ prefix: p('10.1.5.0/24') }] }),
    ],
    refused: [],
    left: { g1: ['10.1.5.0/24'] },
  },
  {
    name: 'own certificate inside a wider one of another site',
    documents: [
      ...one('10.1.0.0/16 up to 24', ['10.1.5.0/24']),
      certificate(2, { prefixes: [{ prefix: p('10.0.0.0/8') }] }),
    ],
    refused: [],
    left: { g1: ['10.1.5.0/24'] },
  },
  ...['0.0.0.0/0', '0.0.0.0/1', '128.0.0.0/1', '::/0', '::/1', '8000::/1', '2000::/3'].map((of): Case => ({
    name: `${of} without the grant`,
    documents: one(of, [of]),
    refused: ['default-route g1', 'default-route g1'],
    left: { g1: [] },
  })),
  {
    name: 'default route with the grant',
    documents: one('0.0.0.0/0', ['0.0.0.0/0'], { grants: ['defaultRoute'] }),
    refused: [],
    left: { g1: ['0.0.0.0/0'] },
  },
  {
    name: 'loopback out of a granted default route',
    documents: one('0.0.0.0/0 up to 32', ['127.0.0.0/8', '8.8.8.0/24'], { grants: ['defaultRoute'] }),
    refused: ['reserved g1'],
    left: { g1: ['8.8.8.0/24'] },
  },
  ...[
    '127.0.0.0/8',
    '127.0.0.1/32',
    '169.254.0.0/16',
    '169.254.169.254/32',
    '168.63.129.16/32',
    '168.0.0.0/6',
    '224.0.0.0/4',
    '239.1.2.3/32',
    '255.255.255.255/32',
    '0.0.0.0/8',
    '::1/128',
    '::/128',
    'fe80::/10',
    'fe80::1/128',
    'ff02::/16',
    'fd00:ec2::/32',
    '::ffff:10.1.0.0/112',
  ].map((of): Case => ({
    name: `${of} is reserved`,
    documents: one(canonical(of), [canonical(of)]),
    refused: ['reserved g1', 'reserved g1'],
    left: { g1: [] },
  })),
  ...['100.127.0.0/16', '100.127.5.0/24', '100.0.0.0/8', 'fd4c:53aa:bb00:1::/64'].map((of): Case => ({
    name: `${of} shares addresses with the overlay`,
    documents: one(of, [of]),
    refused: ['overlay g1', 'overlay g1'],
    left: { g1: [] },
  })),
  {
    name: 'endpoint on an unknown underlay, alone',
    documents: [
      fabric(),
      certificate(1),
      record(1, {
        endpoints: [
          { underlay: 'internet', address: address('192.0.2.1'), port: 51820 },
          { underlay: 'dx', address: address('192.0.2.1'), port: 51820 },
        ],
      }),
    ],
    refused: ['endpoint g1'],
    left: { g1: ['10.1.0.0/16'] },
  },
  ...['127.0.0.1', '169.254.169.254', '0.0.0.0', '224.0.0.1', '::1', 'fe80::1', 'ff02::1', '100.127.0.2'].map(
    (at): Case => ({
      name: `endpoint ${at}`,
      documents: [
        fabric(),
        certificate(1),
        record(1, { endpoints: [{ underlay: 'internet', address: address(at), port: 51820 }] }),
      ],
      refused: ['endpoint g1'],
      left: { g1: ['10.1.0.0/16'] },
    }),
  ),
  {
    name: 'network that is not certified',
    documents: [fabric(), certificate(1), record(1, { networks: [{ name: 'lan' }] })],
    refused: ['network g1'],
    left: { g1: ['10.1.0.0/16'] },
  },
  {
    name: 'network that the fabric does not have',
    documents: [
      fabric(),
      certificate(1, { networks: [{ name: 'lam' }] }),
      record(1, { networks: [{ name: 'lam' }] }),
    ],
    refused: ['network g1', 'network g1'],
    left: { g1: ['10.1.0.0/16'] },
  },
  {
    name: 'tenant prefix that is not certified',
    documents: [
      fabric({ networks: [{ name: 'blue', vni: 5001, kind: 'l3' }] }),
      certificate(1, { networks: [{ name: 'blue', prefixes: [p('10.50.0.0/16')] }] }),
      record(1, { networks: [{ name: 'blue', prefixes: [p('10.50.1.0/24'), p('10.51.0.0/16')] }] }),
    ],
    refused: ['network g1'],
    left: { g1: ['10.1.0.0/16'] },
  },
]

function canonical(of: string): string {
  return of === '::ffff:10.1.0.0/112' ? '::ffff:a01:0/112' : of
}

judges(cases)

void t.test('refusals of one rule are summed up', (t) => {
  const many = Array.from({ length: 500 }, (_, i) => `10.200.${i >> 1}.${(i & 1) * 128}/25`)
  const { refusals } = verify(bytesOf(one('10.1.0.0/16', many)), { ...ground, moment })
  t.equal(refusals.length, 9)
  t.ok(refusals.some((refusal) => refusal.reason === '492 more refused by the rule "certified"'))
  t.end()
})

void t.test('every rule says what it checks', (t) => {
  for (const text of Object.values(rules)) t.match(text, /^[a-z].{20,}[^.]$/)
  t.end()
})
