/** Conformance: what only one gateway, or one site, can have. Who had it keeps it; where two come at once, neither gets it. */
import type { Document } from '../../agent/model/document.ts'
import { prefix } from '../../agent/model/prefix.ts'
import { verify } from '../../agent/trust/verify.ts'
import { advertising, by, gateway, one } from './conformance.ts'
import type { Row, Said } from './conformance.ts'
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
  tunnelKeysOf,
} from './documents.ts'

const sameSite = certificateOf(1).site
/** Gateway 2 with the identity, the number, a tunnel key of gateway 1. */
const identity: readonly Said[] = [
  certificate(2, { identity: identityOf('g1') }),
  by(identityKeyOf('g1'), record(2)),
]
const number = gateway(2, { number: 1 })
const tunnelKey = gateway(2, {}, { tunnelKeys: { ...tunnelKeysOf('g2'), 3: tunnelKeyOf('g1 0') } })
/** Nothing is left but who held what: gateway 1, before gateway 2 claimed all of it. */
const marks = verify(
  one.map((each) => delivered(each)),
  { ...ground, moment },
).marks

const alone = (
  [
    ['identity', identity],
    ['number', number],
    ['tunnel-key', tunnelKey],
  ] as const
).flatMap(([rule, rival]): Row[] => [
  {
    rule,
    what: 'two gateways with one that come at once',
    documents: [...one, ...rival],
    verdict: { left: '', refused: `${rule} g1, ${rule} g2` },
  },
  {
    rule,
    what: 'a newcomer with that of a gateway that has it',
    before: one,
    documents: [...one, ...rival],
    verdict: { left: 'g1', refused: `${rule} g2` },
  },
  {
    rule,
    what: 'a newcomer with that of a gateway that is remembered to have it',
    documents: [...one, ...rival],
    context: { marks },
    verdict: { left: 'g1', refused: `${rule} g2` },
  },
  {
    rule,
    what: 'a newcomer with that of a gateway whose documents vanished',
    before: one,
    documents: rival,
    verdict: { left: 'g1', refused: `${rule} g2` },
  },
  {
    rule,
    what: 'a newcomer with that of a gateway that is removed',
    before: one,
    documents: [fabric({ serial: 2, removed: ['g1'] }), ...gateway(1), ...rival],
    verdict: { left: 'g2', refused: 'removed g1' },
  },
  {
    rule,
    what: 'of two that claim it, one is refused for something else',
    documents: [fabric({ removed: ['g1'] }), ...gateway(1), ...rival],
    verdict: { left: 'g2', refused: 'removed g1' },
  },
  {
    rule,
    what: 'two that come at once beside a gateway that has it',
    before: one,
    documents: [...one, ...rival, ...(rule === 'number' ? gateway(3, { number: 1 }) : [])],
    verdict: { left: 'g1', refused: rule === 'number' ? 'number g2, number g3' : `${rule} g2` },
  },
])

const planes: readonly Row[] = [
  {
    rule: 'plane',
    what: 'two gateways of one site with one plane: the higher number is refused',
    documents: [...one, ...gateway(2, { site: sameSite })],
    verdict: { left: 'g1', refused: 'plane g2' },
  },
  {
    rule: 'plane',
    what: 'the lower number comes later: it is a rule of numbers, not of time',
    before: [fabric(), ...gateway(2, { site: sameSite })],
    documents: [...one, ...gateway(2, { site: sameSite })],
    verdict: { left: 'g1', refused: 'plane g2' },
  },
  {
    rule: 'plane',
    what: 'one plane at two sites is no conflict',
    documents: [...one, ...gateway(2)],
    verdict: { left: 'g1 g2' },
  },
  {
    rule: 'plane',
    what: 'who is refused for a number holds no plane',
    documents: [...one, ...number, ...gateway(3, { site: sameSite })],
    verdict: { left: 'g3', refused: 'number g1, number g2' },
  },
  {
    rule: 'plane',
    what: 'a certificate holds its plane without a record',
    documents: [fabric(), certificate(1), ...gateway(2, { site: sameSite })],
    verdict: { left: '', refused: 'plane g2' },
  },
]

const both = { prefixes: [{ prefix: prefix('10.1.0.0/16') }, { prefix: prefix('10.2.0.0/16') }] }
const bothAdvertised = { prefixes: both.prefixes.map((grant) => grant.prefix) }

/** A gateway that is granted `shared`; all but the first with the prefix of the first. */
function sharing(number: number, certificate: { readonly serial?: number } = {}): readonly Document[] {
  return number === 1
    ? gateway(1, { ...certificate, grants: ['shared'] })
    : gateway(number, { ...both, ...certificate, grants: ['shared'] }, bothAdvertised)
}

const sites: readonly Row[] = [
  {
    rule: 'two-sites',
    what: 'one prefix at two sites: refused for the higher number, that prefix alone',
    documents: [...one, ...gateway(2, both, bothAdvertised)],
    verdict: { left: 'g1 g2', refused: 'two-sites g2', prefixes: { g1: '10.1.0.0/16', g2: '10.2.0.0/16' } },
  },
  {
    rule: 'two-sites',
    what: 'the lower number comes later: it is a rule of numbers, not of time',
    before: [fabric(), ...gateway(2, both, bothAdvertised)],
    documents: [...one, ...gateway(2, both, bothAdvertised)],
    verdict: { left: 'g1 g2', refused: 'two-sites g2', prefixes: { g1: '10.1.0.0/16', g2: '10.2.0.0/16' } },
  },
  {
    rule: 'two-sites',
    what: 'both granted `shared`: it stands at both, and the plan uses one at a time',
    documents: [fabric(), ...sharing(1), ...sharing(2)],
    verdict: {
      left: 'g1 g2',
      prefixes: { g1: '10.1.0.0/16', g2: '10.1.0.0/16 10.2.0.0/16' },
      shared: { g1: '10.1.0.0/16', g2: '10.1.0.0/16' },
    },
  },
  {
    rule: 'two-sites',
    what: 'only the lower number is granted `shared`',
    documents: [fabric(), ...sharing(1), ...gateway(2, both, bothAdvertised)],
    verdict: {
      left: 'g1 g2',
      refused: 'two-sites g2',
      prefixes: { g1: '10.1.0.0/16', g2: '10.2.0.0/16' },
      shared: { g1: '', g2: '' },
      says: /advertises it by g1, number 1/,
    },
  },
  {
    rule: 'two-sites',
    what: 'only the higher number is granted `shared`',
    documents: [...one, ...sharing(2)],
    verdict: { left: 'g1 g2', refused: 'two-sites g2', prefixes: { g1: '10.1.0.0/16', g2: '10.2.0.0/16' } },
  },
  {
    rule: 'two-sites',
    what: 'the grant comes later: the other site is let in',
    before: [...one, ...sharing(2)],
    documents: [fabric(), ...sharing(1, { serial: 9 }), ...sharing(2)],
    verdict: { left: 'g1 g2', shared: { g1: '10.1.0.0/16', g2: '10.1.0.0/16' } },
  },
  {
    rule: 'two-sites',
    what: 'the grant is taken away: the other site goes out',
    before: [fabric(), ...sharing(1), ...sharing(2)],
    documents: [fabric(), ...gateway(1, { serial: 9 }), ...sharing(2)],
    verdict: { left: 'g1 g2', refused: 'two-sites g2', shared: { g1: '', g2: '' } },
  },
  {
    rule: 'two-sites',
    what: 'one gateway of the site with the lowest number has no grant: the site has it alone',
    documents: [
      fabric(),
      ...sharing(1),
      ...gateway(
        3,
        { prefixes: [{ prefix: prefix('10.1.0.0/16') }], site: sameSite, plane: 1 },
        { prefixes: [prefix('10.1.0.0/16')] },
      ),
      ...sharing(2),
    ],
    verdict: {
      left: 'g1 g2 g3',
      refused: 'two-sites g2',
      prefixes: { g1: '10.1.0.0/16', g2: '10.2.0.0/16', g3: '10.1.0.0/16' },
    },
  },
  {
    rule: 'two-sites',
    what: 'one gateway of the other site has no grant: it loses its claim alone',
    documents: [
      fabric(),
      ...sharing(1),
      ...sharing(2),
      ...gateway(3, { ...both, site: certificateOf(2).site, plane: 1 }, bothAdvertised),
    ],
    verdict: {
      left: 'g1 g2 g3',
      refused: 'two-sites g3',
      prefixes: { g2: '10.1.0.0/16 10.2.0.0/16', g3: '10.2.0.0/16' },
      shared: { g1: '10.1.0.0/16', g2: '10.1.0.0/16', g3: '' },
    },
  },
  {
    rule: 'two-sites',
    what: 'of three sites two are granted `shared`: the third loses its claim alone',
    documents: [fabric(), ...sharing(1), ...gateway(2, both, bothAdvertised), ...sharing(3)],
    verdict: {
      left: 'g1 g2 g3',
      refused: 'two-sites g2, two-sites g3',
      shared: { g1: '10.1.0.0/16', g2: '', g3: '10.1.0.0/16' },
    },
  },
  {
    rule: 'two-sites',
    what: 'the grant and no rival: nothing is shared',
    documents: [fabric(), ...sharing(1)],
    verdict: { left: 'g1', shared: { g1: '' } },
  },
  {
    rule: 'two-sites',
    what: 'who shared it withdraws: nothing is shared any more',
    before: [fabric(), ...sharing(1), ...sharing(2)],
    documents: [record(2, { ...bothAdvertised, serial: 9, state: 'withdrawn' })],
    verdict: { left: 'g1', shared: { g1: '' } },
  },
  {
    rule: 'other-site',
    what: 'a more-specific by maxLength inside space that sites share is inside space of another site',
    documents: [
      fabric(),
      ...sharing(1),
      ...gateway(
        2,
        { prefixes: [{ prefix: prefix('10.1.0.0/16'), maxLength: 24 }], grants: ['shared'] },
        { prefixes: [prefix('10.1.0.0/16'), prefix('10.1.5.0/24')] },
      ),
    ],
    verdict: { left: 'g1 g2', refused: 'other-site g2', prefixes: { g2: '10.1.0.0/16' } },
  },
  {
    rule: 'two-sites',
    what: 'the lower number no longer advertises it: the other has it',
    before: [...one, ...gateway(2, both, bothAdvertised)],
    documents: [
      fabric(),
      certificate(1),
      record(1, { serial: 2, prefixes: [] }),
      ...gateway(2, both, bothAdvertised),
    ],
    verdict: { left: 'g1 g2', prefixes: { g1: '', g2: '10.1.0.0/16 10.2.0.0/16' } },
  },
  {
    rule: 'two-sites',
    what: 'one prefix at one site by two gateways is no conflict',
    documents: [
      ...one,
      ...gateway(2, { ...both, site: sameSite, plane: 1 }, { prefixes: [prefix('10.1.0.0/16')] }),
    ],
    verdict: { left: 'g1 g2', prefixes: { g1: '10.1.0.0/16', g2: '10.1.0.0/16' } },
  },
  {
    rule: 'two-sites',
    what: 'nested prefixes of two sites stand both: the longer one wins in the kernel',
    documents: advertising('10.0.0.0/8', '10.0.0.0/8'),
    verdict: { left: 'g1 g2', prefixes: { g1: '10.1.0.0/16', g2: '10.0.0.0/8' } },
  },
  {
    rule: 'other-site',
    what: 'a more-specific by maxLength inside space certified to another site',
    documents: advertising('10.0.0.0/8 up to 24', '10.1.5.0/24 10.9.5.0/24'),
    verdict: { left: 'g1 g2', refused: 'other-site g2', prefixes: { g1: '10.1.0.0/16', g2: '10.9.5.0/24' } },
  },
  {
    rule: 'other-site',
    what: 'exactly the space certified to another site, by maxLength',
    documents: advertising('10.0.0.0/8 up to 24', '10.1.0.0/16'),
    verdict: { left: 'g1 g2', refused: 'other-site g2', prefixes: { g1: '10.1.0.0/16', g2: '' } },
  },
  {
    rule: 'other-site',
    what: 'the other site is certified for it and says nothing: its space all the same',
    documents: [
      ...advertising('10.0.0.0/8 up to 24', '10.1.5.0/24').filter(
        (said) => said.type !== 'record' || said.payload.gateway !== 'g1',
      ),
    ],
    verdict: { left: 'g2', refused: 'other-site g2', prefixes: { g2: '' } },
  },
  {
    rule: 'other-site',
    what: 'the other site is certified later',
    before: [fabric(), ...advertising('10.0.0.0/8 up to 24', '10.1.5.0/24').slice(3)],
    documents: advertising('10.0.0.0/8 up to 24', '10.1.5.0/24'),
    verdict: { left: 'g1 g2', refused: 'other-site g2', prefixes: { g2: '' } },
  },
  {
    rule: 'other-site',
    what: 'the same space certified to a gateway of the same site',
    documents: advertising('10.0.0.0/8 up to 24', '10.1.5.0/24', { site: sameSite, plane: 1 }),
    verdict: { left: 'g1 g2', prefixes: { g2: '10.1.5.0/24' } },
  },
  {
    rule: 'other-site',
    what: 'a certificate for exactly that prefix inside the space of another site',
    documents: advertising('10.1.5.0/24', '10.1.5.0/24'),
    verdict: { left: 'g1 g2', prefixes: { g1: '10.1.0.0/16', g2: '10.1.5.0/24' } },
  },
]

export const claim: readonly Row[] = [...alone, ...planes, ...sites]
