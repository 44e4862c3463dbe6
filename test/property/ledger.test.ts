/**
 * The ledger against its specification: after any sequence of bags, in any order within a bag, its outcome is that of
 * verify() over the documents in force; and what did not change keeps its identity.
 */
import fc from 'fast-check'
import t from 'tap'
import type { Bag, Delivered, Document } from '../../agent/model/document.ts'
import type { Certificate, Fabric, GatewayRecord } from '../../agent/model/fabric.ts'
import type { Snapshot } from '../../agent/model/gateway.ts'
import { address, prefix } from '../../agent/model/prefix.ts'
import { Ledger } from '../../agent/trust/ledger.ts'
import type { Refusal } from '../../agent/trust/refusal.ts'
import { proofOf } from '../../agent/trust/authorities.ts'
import { kidOf } from '../../agent/trust/envelope.ts'
import { isRefusal, parseDocument } from '../../agent/trust/parse.ts'
import { subjectOf } from '../../agent/trust/subject.ts'
import { verify } from '../../agent/trust/verify.ts'
import type { Held, Verdict } from '../../agent/trust/verify.ts'
import {
  authorityKey,
  certificateOf,
  claimOf,
  delivered,
  fabricOf,
  ground,
  identityKeyOf,
  identityOf,
  keyOf,
  moment,
  nowMs,
  placeOf,
  recordOf,
  tunnelKeysOf,
  voucherKeyOf,
  voucherOf,
} from '../support/documents.ts'

// Small ranges, so that conflicts of every rule are common.
const pick = <T>(...values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values)
const number = fc.integer({ min: 1, max: 5 })
const serial = fc.integer({ min: 1, max: 4 })
const names = ['g1', 'g2', 'g3', 'g4', 'g5']
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
      grants: pick<Certificate['grants']>([], [], ['defaultRoute']),
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
const chain = [authorityKey, keyOf('authority 2'), keyOf('authority 3')]
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
const file: fc.Arbitrary<Delivered> = fc.oneof(
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
const voucherFile: fc.Arbitrary<Delivered> = fc.oneof(
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

const bagOf = (of: fc.Arbitrary<Delivered>, places: readonly string[] = []): fc.Arbitrary<Bag> =>
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

/** Which documents are in force, written as simply as can be: all files and all that counted, judged anew each time. */
class Model {
  readonly #files = new Map<string, Delivered>()
  #verdict: Verdict | undefined

  admit(of: Bag): Verdict {
    for (const one of of.documents) this.#files.set(one.origin, one)
    const there = new Set(of.documents.map(({ origin }) => origin))
    const gone = of.complete ? [...this.#files.keys()] : (of.gone ?? [])
    for (const origin of gone) if (!there.has(origin)) this.#files.delete(origin)
    return this.#judge(this.#verdict?.inForce ?? [])
  }

  #judge(kept: readonly Held[]): Verdict {
    const files = [...this.#files.values()]
    const spoken = files
      .map((file) => parseDocument(file))
      .flatMap((one) => (isRefusal(one) ? [] : [`${one.hash} ${one.kid}`]))
    const others = kept.filter(({ hash, kid }) => !spoken.includes(`${hash} ${kid}`))
    const before = this.#verdict
    const incumbent = before?.snapshot?.fabric
    const documents = [...files, ...others.map(({ origin, document, kid }) => keptOf(origin, document, kid))]
    const verdict = verify(documents, {
      ...ground,
      moment,
      ...(before === undefined ? {} : { marks: before.marks }),
      ...(incumbent === undefined ? {} : { incumbent }),
      ...(before === undefined ? {} : { authorities: before.authorities }),
    })
    // What counted and may not speak any longer is gone, and nobody is left to be told.
    const standing = others.filter((one) => verdict.inForce.some(({ hash }) => hash === one.hash))
    const superseded = (one: Held): boolean =>
      verdict.inForce.some((winner) => subjectOf(winner) === subjectOf(one) && winner.hash !== one.hash)
    if (standing.length < others.length) return this.#judge(standing.filter((one) => !superseded(one)))
    this.#verdict = verdict
    return verdict
  }
}

function keptOf(origin: string, document: Document, kid: string): Delivered {
  const vouchers = names.flatMap((name) => [voucherKeyOf(`${name} 0`), voucherKeyOf(`${name} 1`)])
  const key = [...chain, ...names.map(identityKeyOf), ...vouchers].find((one) => kidOf(one) === kid)
  return delivered(document, origin, key)
}

const plain = (snapshot: Snapshot | undefined): unknown =>
  snapshot && {
    fabric: snapshot.fabric,
    gateways: [...snapshot.gateways],
    sites: [...snapshot.sites],
  }
const sorted = (refusals: readonly Refusal[]): string[] =>
  refusals.map((refusal) => JSON.stringify(refusal)).sort()

/** The counterexample as documents instead of bytes. */
function report(run: fc.RunDetails<[Bag[]]>): void {
  if (!run.failed) return
  const bags = (run.counterexample?.[0] ?? []).map(({ documents, complete, gone }) => {
    const texts = documents.map((one) => {
      const parsed = parseDocument(one)
      if (isRefusal(parsed)) return `  ${one.origin}: ${parsed.reason}`
      const { kid, document: of } = parsed
      return `  ${one.origin}: ${of.type} by ${kid.slice(0, 6)} ${JSON.stringify(of.payload)}`
    })
    return [`complete ${complete}, gone ${(gone ?? []).join(' ')}`, ...texts].join('\n')
  })
  const { seed, counterexamplePath } = run
  const error = String(run.errorInstance)
  throw new Error(`seed ${seed} path ${counterexamplePath ?? ''}\n${bags.join('\n')}\n${error}`)
}

t.setTimeout(0)
const runs = Number(process.env['LINKSPAN_RUNS'] ?? 300)

/** Runs the property; answers what came up. */
function outcomes(bag: fc.Arbitrary<Bag>, numRuns: number): ReadonlyMap<string, number> {
  const seen = new Map<string, number>()
  fc.assert(
    fc.property(fc.array(bag, { minLength: 1, maxLength: 10 }), (bags) => {
      const ledger = new Ledger(ground)
      const model = new Model()
      let before: Snapshot | undefined
      for (const one of bags) {
        const admission = ledger.admit(one, moment)
        const wanted = model.admit(one)
        const [left, right] = [admission, wanted].map(({ snapshot }) => JSON.stringify(plain(snapshot)))
        if (left !== right) throw new Error(`snapshot\n${left ?? ''}\n${right ?? ''}`)
        const [got, should] = [sorted(admission.refusals), sorted(wanted.refusals)]
        if (got.join('\n') !== should.join('\n'))
          throw new Error(`refusals\n${got.join('\n')}\n---\n${should.join('\n')}`)
        for (const { rule, reason } of wanted.refusals) {
          seen.set(rule, (seen.get(rule) ?? 0) + 1)
          if (reason.includes('had it first')) seen.set(`${rule} held`, 1)
        }
        if (admission.changed !== (before !== admission.snapshot)) throw new Error('changed is wrong')
        for (const [name, gateway] of admission.snapshot?.gateways ?? []) {
          const old = before?.gateways.get(name)
          if (old !== gateway && JSON.stringify(old) === JSON.stringify(gateway))
            throw new Error(`${name} lost its identity`)
        }
        before = admission.snapshot
      }
    }),
    { numRuns, seed: Number(process.env['LINKSPAN_SEED'] ?? 1763700000), reporter: report },
  )
  return seen
}

void t.test('after any sequence of bags the outcome is that of verify()', (t) => {
  const seen = outcomes(bagOf(file), runs)
  // A property over conflicts proves little where no conflict came up.
  const common = [
    'two-sites',
    'number',
    'plane',
    'identity',
    'tunnel-key',
    'number held',
    'identity held',
    'tunnel-key held',
    'other-site',
    'certified',
    'removed',
    'endpoint',
  ]
  for (const rule of [
    ...common,
    'authority',
    'signer',
    'rollback',
    'equivocation',
    'early',
    'expired',
    'fabric',
    'network',
    'overlay',
    'reserved',
    'succession',
  ]) {
    t.ok(seen.has(rule), `the rule ${rule} came up`)
  }
  t.end()
})

void t.test('with vouchers, too', (t) => {
  const seen = outcomes(bagOf(voucherFile, ['claims/g4.jws', 'vouchers/g5.jws']), Math.ceil(runs / 2))
  for (const rule of ['voucher', 'voucher-ended', 'claim-conflict', 'authority', 'rollback', 'equivocation'])
    t.ok(seen.has(rule), `the rule ${rule} came up`)
  t.end()
})

void t.test('permuting the documents of a bag changes nothing', (t) => {
  const scene = fc
    .uniqueArray(voucherFile, { selector: ({ origin }) => origin, minLength: 4, maxLength: 12 })
    .chain((documents) =>
      fc.tuple(fc.constant(documents), fc.shuffledSubarray(documents, { minLength: documents.length })),
    )
  fc.assert(
    fc.property(scene, ([documents, shuffled]) => {
      const outcome = (of: Delivered[]): string => {
        const admission = new Ledger(ground).admit({ documents: of, complete: true, unreadable: [] }, moment)
        const verdict = verify(of, { ...ground, moment })
        return JSON.stringify([
          plain(admission.snapshot),
          admission.refusals,
          plain(verdict.snapshot),
          verdict.refusals,
        ])
      }
      return outcome(documents) === outcome(shuffled)
    }),
    { numRuns: runs, seed: Number(process.env['LINKSPAN_SEED'] ?? 1763700000) },
  )
  t.pass('the same snapshot and refusals in any order')
  t.end()
})
