/** Arbitrary bags for the ledger: documents of a handful of gateways that contradict each other in every way there is. */
import fc from 'fast-check'
import type { Bag, Delivered, Document } from '../../agent/model/document.ts'
import type { Certificate, Fabric, GatewayRecord } from '../../agent/model/fabric.ts'
import { address, prefix } from '../../agent/model/prefix.ts'
import { proofOf } from '../../agent/trust/authorities.ts'
import { kidOf } from '../../agent/trust/envelope.ts'
import {
  authorityKey,
  certificateOf,
  claimOf,
  delivered,
  fabricOf,
  identityKeyOf,
  identityOf,
  keyOf,
  nowMs,
  placeOf,
  recordOf,
  tunnelKeysOf,
  voucherKeyOf,
  voucherOf,
} from './documents.ts'

// Small ranges, so that conflicts of every rule are common.
const pick = <T>(...values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values)
const number = fc.integer({ min: 1, max: 5 })
const serial = fc.integer({ min: 1, max: 4 })
export const names = ['g1', 'g2', 'g3', 'g4', 'g5']
const advertised = [
  '10.1.0.0/16',
  '10.1.5.0/24',
  '10.1.5.128/25',
  '10.2.0.0/16',
  '10.0.0.0/8',
  '0.0.0.0/0',
  '127.0.0.0/8',
  '100.127.3.0/24',
  'fd00:1::/48',
  'fd00:1:0:5::/64',
].map(prefix)
const fabricName = fc.oneof(
  { weight: 12, arbitrary: fc.constant('prod') },
  { weight: 1, arbitrary: fc.constant('other') },
)

const fabricDocument: fc.Arbitrary<Document> = fc
  .record({
    fabric: fabricName,
    serial,
    removed: fc.subarray(['g1', 'g2', 'g3']),
    networks: fc.subarray<Fabric['networks'][number]>([
      { name: 'lan', vni: 7001, kind: 'l2' },
      { name: 'blue', vni: 5001, kind: 'l3' },
    ]),
    underlays: pick<Fabric['underlays']>(
      [{ name: 'internet' }],
      [{ name: 'internet' }, { name: 'dx' }],
      [{ name: 'dx' }],
    ),
    revoked: pick<Fabric['revoked']>(
      { serials: [], identities: [] },
      { serials: [2], identities: [] },
      { serials: [], identities: [identityOf('g2')] },
    ),
    mesh: pick<Fabric['mesh']>('all', []),
  })
  .map((change) => ({ type: 'fabric', payload: fabricOf({ ...change, prefer: [] }) }))

const certificateDocument: fc.Arbitrary<Document> = fc
  .tuple(
    number,
    fc.record({
      fabric: fabricName,
      serial,
      number,
      plane: fc.integer({ min: 0, max: 1 }),
      site: pick('s1', 's2', 's3').map((name) => ({ name, provider: '', region: '', labels: {} })),
      identity: fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, pick(...names)),
      notAfter: pick(4_102_444_800_000, 4_102_444_800_000, 4_102_444_800_000, nowMs - 86_400_000),
      notBefore: pick(0, 0, 0, nowMs + 86_400_000),
      prefixes: fc.uniqueArray(
        fc.tuple(pick(...advertised), fc.boolean()).map(([of, open]) => {
          const maxLength = of.includes(':') ? 64 : 25
          return open ? { prefix: of, maxLength } : { prefix: of }
        }),
        { selector: (grant) => grant.prefix, maxLength: 4 },
      ),
      networks: pick<Certificate['networks']>(
        [],
        [{ name: 'lan' }],
        [{ name: 'blue', prefixes: [prefix('10.50.0.0/16')] }],
      ),
      grants: pick<Certificate['grants']>([], ['shared'], ['defaultRoute']),
    }),
  )
  .map(([gateway, { identity, ...change }]) => ({
    type: 'certificate',
    payload: certificateOf(gateway, { ...change, identity: identityOf(identity ?? `g${gateway}`) }),
  }))

const recordDocument: fc.Arbitrary<Document> = fc
  .tuple(
    number,
    fc.record({
      fabric: fabricName,
      serial,
      tunnelKeys: fc.oneof(fc.constant(undefined), pick('g1', 'g2', 'g3')),
      prefixes: fc.subarray(advertised),
      networks: pick<GatewayRecord['networks']>(
        [],
        [{ name: 'lan' }],
        [{ name: 'blue', prefixes: [prefix('10.50.1.0/24')] }],
      ),
      endpoints: pick<GatewayRecord['endpoints']>(
        [{ underlay: 'internet', address: address('192.0.2.9'), port: 51820 }],
        [{ underlay: 'dx', port: 51820 }],
        [{ underlay: 'internet', address: address('127.0.0.1'), port: 51820 }],
      ),
      state: pick<GatewayRecord['state']>('active', 'active', 'active', 'withdrawn', 'draining'),
    }),
  )
  .map(([gateway, { tunnelKeys, ...change }]) => ({
    type: 'record',
    payload: recordOf(gateway, { ...change, tunnelKeys: tunnelKeysOf(tunnelKeys ?? `g${gateway}`) }),
  }))

/** Two keys a gateway, so that one voucher follows another; ended at times. */
const voucherDocument: fc.Arbitrary<Document> = fc
  .tuple(
    pick(4, 5),
    fc.record({
      serial: pick(1, 1, 2),
      by: pick(0, 0, 1),
      ended: pick(false, false, true),
      plane: pick(0, 1),
    }),
  )
  .map(([gateway, { serial: of, by, ended, plane }]) => {
    const until = ended ? nowMs - 7_200_000 : nowMs + 3_600_000
    const key = kidOf(voucherKeyOf(`g${gateway} ${by}`))
    const change = { serial: of, key, until, notBefore: until - 3_600_000, plane, number: gateway }
    return { type: 'voucher', payload: voucherOf(gateway, change) }
  })

const claimFile: fc.Arbitrary<Delivered> = fc
  .tuple(
    pick(4, 5),
    fc.record({ voucher: pick(1, 1, 2), by: pick(0, 0, 1), of: pick('g1', 'g4'), own: fc.boolean() }),
  )
  .chain(([gateway, { voucher, by, of, own }]) => {
    const key = voucherKeyOf(`g${gateway} ${by}`)
    const payload = claimOf(gateway, { voucher }, own ? `g${gateway}` : of, key)
    const origins = [`claims/g${gateway}.jws`, `claims/other.jws`]
    return pick(...origins).map((origin) => delivered({ type: 'claim', payload }, origin, key))
  })

/** Keys of the authority, the root first. */
export const chain = [authorityKey, keyOf('authority 2'), keyOf('authority 3')]
const kids = chain.map(kidOf)

/** One that adds the next key or retires others, by a key of the chain; its proof is missing or wrong at times. */
const authorityFile: fc.Arbitrary<Delivered> = fc
  .record({
    by: fc.nat({ max: 2 }),
    next: fc.option(fc.nat({ max: 2 }), { nil: undefined }),
    retired: fc.subarray(kids, { maxLength: 1 }),
    proven: pick(true, true, true, false),
    serial,
  })
  .map(({ by, next, retired, proven, serial: number }) => {
    const key = chain[by] ?? authorityKey
    const nextKey = next === undefined ? undefined : chain[next]
    const proof = nextKey && proven ? { proof: proofOf('prod', kidOf(key), nextKey) } : {}
    const payload = {
      fabric: 'prod',
      serial: number,
      retired,
      ...(nextKey === undefined ? {} : { next: kidOf(nextKey), ...proof }),
    }
    return delivered({ type: 'authority', payload }, `authority/${by}.jws`, key)
  })

const document = fc.oneof(
  { weight: 1, arbitrary: fabricDocument },
  { weight: 4, arbitrary: certificateDocument },
  { weight: 5, arbitrary: recordDocument },
)

/** One file of a bag: a good document in its place or in another, or nonsense where a document was. */
export const file: fc.Arbitrary<Delivered> = fc.oneof(
  { weight: 10, arbitrary: document.map((of) => delivered(of)) },
  { weight: 2, arbitrary: authorityFile },
  {
    weight: 2,
    arbitrary: fc
      .tuple(document, pick(...chain))
      .map(([of, key]) => delivered(of, placeOf(of), of.type === 'record' ? undefined : key)),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(document, pick(...names))
      .map(([of, name]) => delivered(of, placeOf(of), identityKeyOf(name))),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(document, pick('a.jws', 'z.jws')).map(([of, origin]) => delivered(of, origin)),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(document, fc.nat({ max: 400 }))
      .map(([of, length]) => ({ origin: placeOf(of), bytes: delivered(of).bytes.subarray(0, length) })),
  },
)

/** The same with vouchers and claims, of two gateways that certificates come to as well. */
export const voucherFile: fc.Arbitrary<Delivered> = fc.oneof(
  { weight: 5, arbitrary: file },
  {
    weight: 3,
    arbitrary: fc
      .tuple(voucherDocument, pick(authorityKey, authorityKey, ...chain), pick(undefined, undefined, 'a.jws'))
      .map(([of, key, origin]) => delivered(of, origin ?? placeOf(of), key)),
  },
  { weight: 4, arbitrary: claimFile },
  { weight: 1, arbitrary: pick(4, 5).map((of) => delivered({ type: 'record', payload: recordOf(of) })) },
)

/** Documents in order, of gateways of three sites that all want the same: who may share it with whom comes and goes. */
export const sharingFile: fc.Arbitrary<Delivered> = fc
  .record({
    gateway: number,
    serial,
    site: pick('s1', 's2', 's3'),
    open: fc.boolean(),
    prefixes: fc.subarray(advertised.slice(0, 4)),
    grants: pick<Certificate['grants']>([], ['shared'], ['shared'], ['shared']),
    state: pick<GatewayRecord['state']>('active', 'active', 'active', 'withdrawn', 'draining'),
    isCertificate: fc.boolean(),
  })
  .map(({ gateway, serial: of, site, open, prefixes, grants, state, isCertificate }) => {
    const change = { serial: of, grants, plane: gateway % 4 }
    const place = { site: { name: site, provider: '', region: '', labels: {} } }
    const certified = advertised
      .slice(0, 4)
      .map((one) => ({ prefix: one, ...(open ? { maxLength: 25 } : {}) }))
    return delivered(
      isCertificate
        ? {
            type: 'certificate',
            payload: certificateOf(gateway, { ...change, ...place, prefixes: certified }),
          }
        : { type: 'record', payload: recordOf(gateway, { serial: of, prefixes, state }) },
    )
  })

export const bagOf = (of: fc.Arbitrary<Delivered>, places: readonly string[] = []): fc.Arbitrary<Bag> =>
  fc
    .record({
      documents: fc.uniqueArray(of, { selector: ({ origin }) => origin, maxLength: 8 }),
      complete: fc.oneof(
        { weight: 3, arbitrary: fc.constant(false) },
        { weight: 1, arbitrary: fc.constant(true) },
      ),
      gone: fc.subarray(['records/g1.jws', 'certificates/g2.jws', 'fabric.jws', 'a.jws', ...places]),
    })
    .map(({ gone, ...rest }) => ({ ...rest, gone, unreadable: [] }))
