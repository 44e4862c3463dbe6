/**
 * What a gateway with a good certificate, or somebody with a bad one, puts into the registry of a running agent: each is
 * refused alone, by its rule, and the kernel does not hear of it. Numbers are those of the fault catalogue; forms that are
 * wrong by themselves are in registry.test.ts, signatures in registry-deceit.test.ts.
 */
import { rmSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Status } from '../../agent/daemon/status.ts'
import type { Document } from '../../agent/model/document.ts'
import type { Certificate, GatewayRecord } from '../../agent/model/fabric.ts'
import { address, prefix } from '../../agent/model/prefix.ts'
import { seal } from '../../agent/trust/envelope.ts'
import type { RuleId } from '../../agent/trust/rulebook.ts'
import { rareProbes } from '../support/lab.ts'
import { identityOf, placeOf, recordOf, signerOf, tunnelKeysOf } from '../support/documents.ts'
import { dump, dumpDiff } from '../support/dump.ts'
import { isolated } from '../support/isolate.ts'
import { certificate, firstPaper, makePaper, record } from '../support/paper.ts'

interface Case {
  readonly fault: number
  readonly what: string
  /** In the record of a gateway that is known, beside what it had. */
  readonly prefixes?: readonly string[]
  readonly endpoints?: GatewayRecord['endpoints']
  /** In its certificate, beside what it had. */
  readonly granted?: Certificate['prefixes']
  /** Of a newcomer. */
  readonly certificate?: Partial<Certificate>
  readonly record?: Partial<GatewayRecord>
  readonly rule: RuleId
}

const hour = 3_600_000
const grant = (text: string, maxLength?: number): Certificate['prefixes'][number] => ({
  prefix: prefix(text),
  ...(maxLength === undefined ? {} : { maxLength }),
})
const all = (text: string): Pick<Case, 'prefixes' | 'granted'> => ({
  prefixes: [text],
  granted: [grant(text)],
})

const cases: readonly Case[] = [
  { fault: 33, what: 'a prefix that is not certified', prefixes: ['10.77.0.0/16'], rule: 'certified' },
  { fault: 33, what: 'a prefix that is wider than certified', prefixes: ['10.0.0.0/8'], rule: 'certified' },
  {
    fault: 33,
    what: 'a prefix longer than its maxLength',
    prefixes: ['10.78.1.0/25'],
    granted: [grant('10.78.0.0/16', 24)],
    rule: 'certified',
  },
  {
    fault: 33,
    what: 'a more-specific inside the space of another site',
    prefixes: ['10.2.9.0/24'],
    granted: [grant('10.2.0.0/16', 24)],
    rule: 'other-site',
  },
  ...['0.0.0.0/0', '::/0', '0.0.0.0/1', '128.0.0.0/1', '::/1', '8000::/1'].map((text): Case => ({
    fault: 34,
    what: text,
    ...all(text),
    rule: 'default-route',
  })),
  ...[
    '127.0.0.0/8',
    '::1/128',
    '169.254.0.0/16',
    '169.254.169.254/32',
    'fe80::/10',
    'fd00:ec2::254/128',
    'fd20:ce::254/128',
    '168.63.129.16/32',
    '224.0.0.0/4',
    'ff00::/8',
  ].map((text): Case => ({ fault: 35, what: text, ...all(text), rule: 'reserved' })),
  { fault: 35, what: "the fabric's own overlay range", ...all('100.127.3.0/24'), rule: 'overlay' },
  {
    fault: 35,
    what: 'an endpoint on an underlay that there is not',
    prefixes: [],
    endpoints: [{ underlay: 'moon', address: address('192.0.2.99'), port: 51820 }],
    rule: 'endpoint',
  },
  {
    fault: 37,
    what: 'the tunnel keys of another gateway',
    record: { tunnelKeys: tunnelKeysOf('g10') },
    rule: 'tunnel-key',
  },
  { fault: 37, what: 'the number, and so the VTEP, of another', certificate: { number: 10 }, rule: 'number' },
  {
    fault: 37,
    what: 'the identity of another',
    certificate: { identity: identityOf('g10') },
    rule: 'identity',
  },
  {
    fault: 38,
    what: 'a certificate that expired',
    certificate: { notBefore: 0, notAfter: Date.now() - 2 * hour },
    rule: 'expired',
  },
  {
    fault: 38,
    what: 'a certificate of tomorrow',
    certificate: { notBefore: Date.now() + 24 * hour },
    rule: 'early',
  },
  { fault: 38, what: 'a certificate of another fabric', certificate: { fabric: 'lub' }, rule: 'fabric' },
]

await isolated(import.meta.url, async (directory) => {
  const known = cases.filter(({ prefixes }) => prefixes !== undefined)
  const { lab, left, right, documents, whole, put, until } = await makePaper(directory, known.length + 2)
  const refusedBy = ({ refusals }: Status, gateway: string): readonly string[] => [
    ...new Set(refusals.filter((refusal) => refusal.gateway === gateway).map(({ rule }) => rule)),
  ]
  const gone = (document: Document): void => {
    rmSync(path.join(lab.registry, placeOf(document)), { force: true })
  }

  const large = (refusals: Status['refusals']): Status['refusals'] =>
    refusals.filter(({ rule }) => rule === 'document')

  let next = firstPaper
  let newcomer = 100
  for (const { fault, what, rule, prefixes, endpoints = [], granted = [], ...change } of cases) {
    await t.test(`fault ${fault}: ${what}`, async (t) => {
      const n = prefixes === undefined ? newcomer++ : next++
      const own = prefix(`10.${n}.0.0/16`)
      const [wrong, said] = [
        certificate(n, { ...(prefixes && { prefixes: [grant(own), ...granted] }), ...change.certificate }),
        record(n, {
          ...(prefixes && { prefixes: [own, ...prefixes.map(prefix)] }),
          endpoints: [{ underlay: 'wan', address: address(`192.0.2.${n}`), port: 51820 }, ...endpoints],
          ...change.record,
        }),
      ]
      put(wrong)
      // A record that nobody could have signed needs none.
      if (change.certificate === undefined) put(said)
      const status = await until(`${what}: refused`, (each) => refusedBy(each, `g${n}`).length > 0)
      t.strictSame(refusedBy(status, `g${n}`), [rule])
      await pause(200)
      t.strictSame(dumpDiff(whole, dump(left.machine)), [], 'the kernel state is the same')
      if (prefixes === undefined) {
        for (const document of [wrong, said]) gone(document)
      } else {
        put(certificate(n))
        put(record(n))
        await until('no refusal', ({ refusals }) => refusals.length === 0)
      }
    })
  }

  await t.test('fault 35: prefixes that are local here, or the address of an endpoint', async (t) => {
    const n = firstPaper
    const local = ['10.1.0.0/24', '192.0.2.0/24', '192.0.2.2/32'].map(prefix)
    put(certificate(n, { prefixes: [grant(`10.${n}.0.0/16`), ...local.map((each) => grant(each))] }))
    put(record(n, { prefixes: [prefix(`10.${n}.0.0/16`), ...local] }))
    const { notes } = await until('a remark for each', (each) =>
      local.every((one) => each.notes.some((note) => note.prefix === one)),
    )
    for (const one of local)
      t.match(notes.find((note) => note.prefix === one)?.reason, /connected to|site originates/)
    const routes = left.machine.run('ip', 'route', 'show', 'table', '19539')
    for (const one of local) t.notMatch(routes, new RegExp(`^${one.replace('/32', '')} nhid`, 'm'), one)
    t.ok(left.machine.pings('192.0.2.2'), 'the underlay keeps working')
    put(certificate(n))
    put(record(n))
    await until('no remark', (each) => local.every((one) => each.notes.every((note) => note.prefix !== one)))
  })

  await t.test('fault 31: a hundred thousand prefixes, and a megabyte', async (t) => {
    const [first, second] = [firstPaper + known.length, firstPaper + known.length + 1]
    const many = Array.from({ length: 100_000 }, (_, i) =>
      prefix(`10.${128 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}/32`),
    )
    const flood: Document = {
      type: 'record',
      payload: { ...recordOf(first, { fabric: 'lab', serial: 9e12 }), prefixes: many },
    }
    const bulk = JSON.stringify({
      ...recordOf(second, { fabric: 'lab', serial: 9e12 }),
      more: 'x'.repeat(1 << 20),
    })
    const seen = documents.length
    put(record(first, { serial: 9e12 }), seal('record', JSON.stringify(flood.payload), signerOf(flood)))
    put(record(second, { serial: 9e12 }), seal('record', bulk, signerOf(record(second))))
    const status = await until(
      'both are shed',
      ({ refusals, registry }) => large(refusals).length + registry.unreadable.length === 2,
    )
    for (const { reason } of [...large(status.refusals), ...status.registry.unreadable]) {
      t.match(reason, /is \d+ bytes long, expected at most|longer than/)
    }
    t.equal(status.peers.length, 1 + seen, 'the node stays up, and they too')
    t.strictSame(dumpDiff(whole, dump(left.machine)), [])
    put(record(first))
    put(record(second))
    await until(
      'both are back',
      ({ refusals, registry }) => large(refusals).length + registry.unreadable.length === 0,
    )
  })

  await t.test('fault 38: a certificate that is revoked', async (t) => {
    const n = firstPaper + 1
    await lab.writeFabric([
      'overlay: { ipv4: 100.127.0.0/16, ipv6: "fd4c:53aa:bb00::/48" }',
      'underlays: [ { name: wan } ]',
      rareProbes,
      `revoked: { serials: [], identities: [ ${identityOf(`g${n}`)} ] }`,
    ])
    const status = await until('refused', (each) => refusedBy(each, `g${n}`).length > 0)
    t.strictSame(refusedBy(status, `g${n}`), ['revoked'])
    t.ok(
      status.peers.every(({ gateway }) => gateway !== `g${n}`),
      'this peer goes, and no other',
    )
    t.equal(status.peers.length, documents.length)
  })

  await t.test('fault 32: a prefix of two sites, and of two gateways of one', async (t) => {
    const [a, b, c] = [200, 201, 202]
    const shared = prefix('10.240.0.0/16')
    const at = (n: number, site: string, plane: number): readonly [Document, Document] => [
      certificate(n, {
        site: { name: site, provider: '', region: '', labels: {} },
        plane,
        prefixes: [grant(shared)],
      }),
      record(n, { prefixes: [shared] }),
    ]
    const made = [...at(a, 'east', 0), ...at(b, 'east', 1), ...at(c, 'west', 0)]
    const routes: string[] = []
    for (const order of [made, [...made].reverse()]) {
      for (const document of order) {
        put(document)
        await pause(100)
      }
      const status = await until(
        'the higher number is refused',
        (each) => refusedBy(each, `g${c}`).length > 0,
      )
      t.strictSame(refusedBy(status, `g${c}`), ['two-sites'])
      t.strictSame([refusedBy(status, `g${a}`), refusedBy(status, `g${b}`)], [[], []])
      const route = left.machine.run('ip', 'route', 'show', 'table', '19539', 'exact', shared)
      const id = /nhid (\d+)/.exec(route)?.[1] ?? ''
      routes.push(left.machine.run('ip', 'nexthop', 'show', 'id', id))
      for (const document of made) gone(document)
    }
    t.match(routes[0], /group \d+\/\d+/, 'both gateways of the one site')
    t.equal(routes[1], routes[0], 'in whatever order they came')
  })

  for (const gateway of [left, right]) t.equal(await gateway.stop(), 0, `${gateway.name} stops`)
})
