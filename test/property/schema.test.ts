/**
 * JSON Schemas and the strict parsers say the same of thousands of payloads, good ones and such as were changed in places: what
 * a parser accepts the schema accepts, and what the schema accepts and the parser refuses is refused by a rule that no schema
 * can express. ajv, which knows nothing of us, reads the schemas.
 */
import { Ajv2020 } from 'ajv/dist/2020.js'
import t from 'tap'
import { problemsOf, shape } from '../../agent/cli/config.ts'
import { schemaFor, schemaTypes } from '../../agent/cli/registry-schema.ts'
import { documentTypes } from '../../agent/trust/parse.ts'
import { decode } from '../../agent/trust/decode.ts'
import type { Decoder } from '../../agent/trust/decode.ts'
import { maxDepth, parseJson } from '../../agent/trust/json.ts'
import * as decoders from '../../agent/trust/payload.ts'
import {
  authority,
  certificateOf,
  claimOf,
  fabricOf,
  identityOf,
  recordOf,
  requestOf,
  voucherOf,
} from '../support/documents.ts'
import { Chance, mutatedJson } from '../support/mutation.ts'

t.setTimeout(300_000)

const site = { name: 's1', provider: 'aws', region: 'us-east-1', labels: { jurisdiction: 'us' } }
const networks = [{ name: 'blue', prefixes: ['10.50.0.0/16', 'fd00:1::/48'] }, { name: 'lan' }]

/** Good ones, with every field that there is. */
const samples: Readonly<Record<string, readonly object[]>> = {
  fabric: [
    fabricOf(),
    {
      ...fabricOf(),
      underlays: [{ name: 'dx', mtu: 8500 }, { name: 'internet' }],
      prefer: ['dx', 'internet'],
      mesh: [{ between: { site: 's1', labels: { tier: 'hub' } }, and: { provider: 'aws', region: 'x' } }],
      probe: { ...fabricOf().probe, underlays: { dx: { intervalMs: 50, retryMs: 20, downAfter: 3 } } },
      removed: ['g7', 'g8'],
      revoked: { serials: [5], identities: [identityOf('g7')] },
    },
  ],
  certificate: [
    certificateOf(1),
    {
      ...certificateOf(1),
      site,
      networks,
      grants: ['shared', 'defaultRoute'],
      prefixes: [{ prefix: '10.1.0.0/16', maxLength: 24 }, { prefix: 'fd00:1::/48' }],
    },
  ],
  record: [
    recordOf(1),
    {
      ...recordOf(1),
      networks,
      endpoints: [
        { underlay: 'internet', address: '2001:db8::1', port: 51820, mtu: 1500 },
        { underlay: 'dx', port: 51820 },
      ],
    },
  ],
  request: [requestOf(1), { ...requestOf(1), site, networks }],
  authority: [
    { fabric: 'prod', serial: 5, retired: [identityOf('old'), identityOf('older')] },
    { fabric: 'prod', serial: 5, retired: [], next: identityOf('next'), proof: 'a.b.c' },
  ],
  voucher: [voucherOf(1)],
  claim: [claimOf(1)],
  config: [
    { fabric: 'prod', authority, site: 's1', registry: 'file:///srv/linkspan' },
    {
      fabric: 'prod',
      authority,
      site,
      gateway: 'g1',
      registry: { url: 'etcd://a:2379', prefix: '/linkspan/prod', user: 'g1', password: '/etc/password' },
      prefixes: ['10.1.0.0/16'],
      endpoints: [{ underlay: 'internet', address: '192.0.2.1', port: 51820, interface: 'eth0', mtu: 1500 }],
      interfaces: ['eth1'],
      exclude: ['10.0.0.0/8'],
      networks: [{ name: 'blue', interfaces: ['eth2'] }],
      services: [{ protocol: 'tcp', port: 22 }],
      metrics: '127.0.0.1:9586',
    },
    { fabric: 'prod', authority, site: 's1', registry: 'https://example.com/prod', metrics: false },
  ],
}

/** What schemas cannot express, as the parsers say it. */
const beyond: readonly RegExp[] = [
  /is (used|given) twice/, // by a field of the elements
  /(has host bits set|is not in canonical form)/,
  /has .* "::"|groups|is (no|not an) (IPv6 )?address|expected an? (address|prefix) such as/, // IPv6 beyond its letters
  /"[0-9a-f:]*(\/\d+)?" /, // the same
  /expected an IPv[46] range of length/,
  /is none of the underlays|no such underlay/,
  /expected \d+ to \d+ for .*, found/, // maxLength against its prefix
  /devices .* have one key/,
  /at most 24 hours after notBefore/,
]
const beyondConfig: readonly RegExp[] = [
  ...beyond,
  /^"[^"]*" |no other host can reach/, // addresses
  /is a name of linkspan's own links|expected a link name/, // . and ..
  /ADDRESS:PORT/,
  /^expected (a URL|hosts)|is nothing that|go together|holds no user/, // registry
]

type Verdict = readonly string[]

/** Why a parser refuses; empty where it accepts. */
function strict(type: string, value: unknown): Verdict {
  if (type === 'config') {
    const parsed = shape.safeParse(value, { reportInput: true })
    return parsed.success ? [] : problemsOf(parsed.error.issues).map(({ reason }) => reason)
  }
  const decoder = (decoders as Readonly<Record<string, unknown>>)[type] as Decoder<unknown>
  const decoded = decode(decoder, value)
  return 'value' in decoded ? [] : decoded.map(({ reason }) => reason)
}

void t.test('there is a schema for every type', (t) => {
  t.strictSame(schemaTypes.toSorted(), [...documentTypes, 'config'].sort())
  t.throws(() => schemaFor('recrod'), { code: 'usage', next: /record/ })
  t.end()
})

for (const type of schemaTypes) {
  void t.test(type, (t) => {
    const validate = new Ajv2020({ strict: true, strictTypes: false, allErrors: false }).compile(
      schemaFor(type),
    )
    const good = samples[type] ?? []
    for (const sample of good) {
      const value: unknown = JSON.parse(JSON.stringify(sample))
      t.strictSame(strict(type, value), [], 'a good one is accepted')
      t.ok(validate(value), JSON.stringify(validate.errors))
    }
    const chance = new Chance(7)
    const counts = { accepted: 0, refused: 0, beyond: 0 }
    const strange: string[] = []
    for (let i = 0; i < 5000; i++) {
      const text = mutatedJson(chance, chance.pick(good), 1 + chance.below(3))
      const parsed = parseJson(text)
      if (!('value' in parsed)) continue
      const reasons = strict(type, parsed.value)
      const isValid = validate(parsed.value)
      if (isValid && reasons.length === 0) counts.accepted++
      else if (!isValid && reasons.length > 0) counts.refused++
      else if (
        isValid &&
        reasons.every((reason) =>
          (type === 'config' ? beyondConfig : beyond).some((rule) => rule.test(reason)),
        )
      )
        counts.beyond++
      else strange.push(`${text.slice(0, 2000)}\n${reasons.join('; ')} ${JSON.stringify(validate.errors)}`)
    }
    t.strictSame(strange.slice(0, 3), [], `${strange.length} where they differ`)
    t.ok(counts.accepted > 50 && counts.refused > 500, JSON.stringify(counts))
    t.comment(JSON.stringify(counts))
    t.end()
  })
}

void t.test('what is rarely hit by chance', (t) => {
  const fabric = fabricOf()
  for (const wrong of [
    { ...fabric, policy: { default: 'allow', rules: [{}] } },
    { ...fabric, policy: { default: 'deny', rules: [] } },
    { ...fabric, overlay: {} },
    { ...fabric, underlays: [] },
    { ...fabric, removed: ['g1', 'g1'] },
    { ...fabric, underlays: ['a', 'b', 'c', 'd', 'e'].map((name) => ({ name })), prefer: ['a'] },
  ]) {
    t.notOk(new Ajv2020({ strictTypes: false }).compile(schemaFor('fabric'))(wrong))
    t.not(strict('fabric', wrong).length, 0)
  }
  t.end()
})

void t.test('nothing nests deeper than it may', (t) => {
  interface Part {
    readonly properties?: Readonly<Record<string, Part>>
    readonly items?: Part
    readonly additionalProperties?: Part | false
    readonly anyOf?: readonly Part[]
  }
  const depthOf = ({ properties, items, additionalProperties, anyOf = [] }: Part): number => {
    const inner = [...Object.values(properties ?? {})]
    if (items !== undefined) inner.push(items)
    if (typeof additionalProperties === 'object') inner.push(additionalProperties)
    const own = properties ?? items ?? additionalProperties
    return Math.max(own === undefined ? 0 : 1 + Math.max(0, ...inner.map(depthOf)), ...anyOf.map(depthOf))
  }
  for (const type of documentTypes) t.ok(depthOf(schemaFor(type)) < maxDepth, type)
  t.end()
})
