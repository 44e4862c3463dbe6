/** config.yml: what is accepted, and how each mistake is shown. `registry:` is in config-registry.test.ts. */
import t from 'tap'
import { configOf, readConfig } from '../../../agent/cli/config.ts'
import { YamlFile } from '../../../agent/cli/yaml.ts'
import { LinkspanError } from '../../../agent/errors.ts'
import { ownOf } from '../../../agent/model/config.ts'
import type { Config } from '../../../agent/model/config.ts'
import { address } from '../../../agent/model/prefix.ts'
import { authority, fabricOf } from '../../support/documents.ts'

const file = '/etc/linkspan/config.yml'
const config = (text: string): Config => configOf(YamlFile.parse(file, Buffer.from(text)))
const least = `fabric: prod\nsite: aws\ngateway: aws-a\nregistry: file:///srv/registry\nauthority: ${authority}\n`

function errorOf(text: string | Uint8Array): LinkspanError {
  try {
    configOf(YamlFile.parse(file, Buffer.from(text)))
  } catch (error) {
    if (error instanceof LinkspanError) return error
    throw error
  }
  throw new Error(`accepted: ${String(text)}`)
}

void t.test('the least there can be', (t) => {
  t.same(config(least), {
    file,
    fabric: 'prod',
    authority,
    site: { name: 'aws', provider: '', region: '', labels: {} },
    registry: { kind: 'file', directory: '/srv/registry' },
    prefixes: [],
    metrics: { address: '127.0.0.1', port: 9586 },
    canary: [],
    own: { gateway: 'aws-a', site: 'aws', exclude: [], networks: [], services: [], registryAddresses: [] },
  })
  t.end()
})

void t.test('everything', (t) => {
  const all = config(`
fabric: prod
authority: ${authority}
site: { name: aws, provider: aws, region: us-east-1, labels: { jurisdiction: us } }
gateway: aws-a
registry: file:///srv/registry/
prefixes: [10.1.0.0/16, fd00:1::/48]
endpoints:
  - { underlay: dx, address: 10.200.0.1, port: 40000, interface: eth1, mtu: 8500 }
  - underlay: internet   # behind NAT
interfaces: [eth2]
exclude: [10.0.0.0/24]
networks: [{ name: lan, interfaces: [eth3] }]
services: [{ protocol: tcp, port: 22 }]
metrics: "[::1]:9100"
health: 10.1.0.1:9587
canary: [10.1.0.10, "10.1.0.11:443", "[fd00:1::10]:22", "fd00:1::11"]
hooks: { site-active: { program: /opt/hook, limitSeconds: 60 } }
`)
  t.same(all.own.endpoints, [
    { underlay: 'dx', address: '10.200.0.1', port: 40000, interface: 'eth1', mtu: 8500 },
    { underlay: 'internet', port: 51820 },
  ])
  t.same(all.own.interfaces, ['eth2'])
  t.same(all.metrics, { address: '::1', port: 9100 })
  t.same(all.health, { address: '10.1.0.1', port: 9587 })
  t.same(all.canary, [
    { address: '10.1.0.10' },
    { address: '10.1.0.11', port: 443 },
    { address: 'fd00:1::10', port: 22 },
    { address: 'fd00:1::11' },
  ])
  t.same(all.hooks, { siteActive: { program: '/opt/hook', limitSeconds: 60, auditSeconds: 300 } })
  t.same(config(`${least}hooks: { site-active: /opt/hook }\n`).hooks, {
    siteActive: { program: '/opt/hook', limitSeconds: 120, auditSeconds: 300 },
  })
  t.same(all.registry, { kind: 'file', directory: '/srv/registry' })
  t.equal(config(`${least}metrics: false\n`).metrics, false)
  t.equal(config(`${least}voucher: /run/voucher\n`).voucher, '/run/voucher')
  t.end()
})

void t.test('the default endpoint', (t) => {
  const fabric = fabricOf({ underlays: [{ name: 'dx' }, { name: 'internet' }] })
  const both = [address('192.0.2.7'), address('2001:db8::7')]
  t.same(ownOf(config(least), fabric, both).endpoints, [
    { underlay: 'internet', port: 51820, address: '192.0.2.7' },
    { underlay: 'internet', port: 51820, address: '2001:db8::7' },
  ])
  t.same(ownOf(config(least), fabric, []).endpoints, [{ underlay: 'internet', port: 51820 }])
  const inside = fabricOf({ underlays: [{ name: 'dx' }, { name: 'er' }] })
  t.same(ownOf(config(least), inside, []).endpoints, [{ underlay: 'dx', port: 51820 }], 'else the first')
  t.end()
})

void t.test('a mistake as it is shown', (t) => {
  const error = errorOf(`${least}prefixes: [10.1.2.3/16]\n`)
  t.equal(error.code, 'config-invalid')
  t.equal(
    error.message,
    [
      '/etc/linkspan/config.yml:6:12: prefixes[0]: "10.1.2.3/16" has host bits set',
      '  6 | prefixes: [10.1.2.3/16]',
      '    |            ^',
      '  hint: did you mean "10.1.0.0/16"?',
    ].join('\n'),
  )
  t.end()
})

void t.test('all mistakes at once, in the order of the file', (t) => {
  const { message } = errorOf('fabrik: prod\nsite: Aws\nregistry: /srv\nprefixes: [10.0.0.0/33]\n')
  const places = message.split('\n').filter((line) => line.startsWith('/etc'))
  t.equal(places.length, 6)
  t.match(places[0], /:1:1: the key "fabric" is missing/)
  t.match(places[1], /:1:1: the key "authority" is missing/)
  t.match(places[2], /:1:1: unknown key "fabrik"/)
  t.match(places[3], /:2:7: site: expected a name/)
  t.match(places[4], /:3:11: registry: expected a URL/)
  t.match(places[5], /:4:12: prefixes\[0\]: "10.0.0.0\/33": the length must be 0 to 32/)
  t.end()
})

interface Case {
  readonly name: string
  /** After the least configuration. */
  readonly text: string
  readonly at?: string
  readonly says: RegExp
}

const cases: readonly Case[] = [
  {
    name: 'host bits',
    text: 'prefixes: [10.1.2.3/16]',
    at: '6:12',
    says: /host bits.*did you mean "10\.1\.0\.0\/16"/s,
  },
  {
    name: 'octal',
    text: 'prefixes: [010.1.0.0/16]',
    at: '6:12',
    says: /octal.*did you mean "10\.1\.0\.0\/16"/s,
  },
  { name: '/33', text: 'exclude:\n  - 10.1.0.0/33', at: '7:5', says: /0 to 32/ },
  {
    name: 'netmask',
    text: 'exclude: [10.1.0.0/255.255.0.0]',
    at: '6:11',
    says: /did you mean "10\.1\.0\.0\/16"/,
  },
  { name: 'short form', text: 'exclude: [10.1/16]', says: /did you mean "10\.1\.0\.0\/16"/ },
  { name: 'no prefix', text: 'prefixes: [ten]', says: /"ten" has no prefix length/ },
  { name: 'a number as prefix', text: 'prefixes: [10]', says: /expected a text, found 10/ },
  {
    name: 'no list',
    text: 'prefixes: 10.1.0.0/16',
    at: '6:11',
    says: /expected a list, found "10\.1\.0\.0\/16"/,
  },
  { name: 'prefix twice', text: 'prefixes: [10.1.0.0/16, 10.1.0.0/16]', at: '6:25', says: /given twice/ },
  { name: 'duplicate key', text: 'fabric: other', at: '6:1', says: /this key is given twice/ },
  { name: 'duplicate key inside', text: 'networks: [{ name: a, name: b }]', at: '6:23', says: /given twice/ },
  {
    name: 'unknown key',
    text: 'endpoint: []',
    at: '6:1',
    says: /unknown key "endpoint".*did you mean "endpoints"/s,
  },
  {
    name: 'unknown key inside',
    text: 'endpoints: [{ underlay: a, adress: x }]',
    at: '6:28',
    says: /did you mean "address"/,
  },
  { name: '__proto__', text: '__proto__: { x: 1 }', says: /unknown key "__proto__"/ },
  { name: 'missing underlay', text: 'endpoints: [{ port: 1 }]', at: '6:13', says: /"underlay" is missing/ },
  { name: 'no endpoints', text: 'endpoints: []', says: /at least 1/ },
  {
    name: 'endpoint port',
    text: 'endpoints: [{ underlay: a, port: 65500 }]',
    at: '6:34',
    says: /at most 65472/,
  },
  {
    name: 'endpoint address',
    text: 'endpoints: [{ underlay: a, address: 127.0.0.1 }]',
    says: /no other host can reach/,
  },
  {
    name: 'endpoint name',
    text: 'endpoints: [{ underlay: a, address: gw.example }]',
    says: /not an IPv4 or IPv6 address/,
  },
  {
    name: 'two endpoints of one underlay and family',
    text: 'endpoints: [{ underlay: a, address: 192.0.2.1 }, { underlay: a, address: 192.0.2.2 }]',
    says: /"a IPv4" is given twice/,
  },
  { name: 'link of ours', text: 'interfaces: [ls-wg0]', says: /linkspan's own links/ },
  { name: 'long link', text: 'interfaces: [abcdefghijklmnop]', says: /1 to 15 characters/ },
  { name: 'link with a slash', text: 'interfaces: ["../x"]', says: /link name/ },
  { name: 'service', text: 'services: [{ protocol: icmp, port: 22 }]', says: /expected tcp or udp/ },
  { name: 'metrics', text: 'metrics: 9586', says: /expected false or a text, found 9586/ },
  { name: 'voucher', text: 'voucher: here', says: /expected an absolute path/ },
  { name: 'metrics off', text: 'metrics: off', says: /expected ADDRESS:PORT/ },
  { name: 'health', text: 'health: 9587', says: /expected a text|expected ADDRESS:PORT/ },
  {
    name: 'health of no address',
    text: 'health: "host:80"',
    says: /expected ADDRESS:PORT such as "10.1.0.1:9587"/,
  },
  { name: 'canary', text: 'canary: [ web.example ]', says: /expected ADDRESS, which is sent echo requests/ },
  { name: 'canary port', text: 'canary: [ "10.1.0.1:0" ]', says: /expected ADDRESS, which is sent echo/ },
  {
    name: 'hook of another name',
    text: 'hooks: { site-activ: /opt/hook }',
    says: /unknown key "site-activ"[^]*did you mean "site-active"/,
  },
  {
    name: 'no hook',
    text: 'hooks: {}',
    says: /site-active: expected a text or keys and values, found nothing/,
  },
  {
    name: 'hook by a relative path',
    text: 'hooks: { site-active: hooks/aws }',
    at: '6:23',
    says: /expected the absolute path of a program, found "hooks\/aws"[^]*\/usr\/lib\/linkspan\/hooks/,
  },
  {
    name: 'key of a hook',
    text: 'hooks: { site-active: { program: /opt/hook, limitSecond: 3 } }',
    at: '6:45',
    says: /did you mean "limitSeconds"/,
  },
  {
    name: 'time of a hook',
    text: 'hooks: { site-active: { program: /opt/hook, auditSeconds: 0 } }',
    says: /at least 1/,
  },
  { name: 'metrics port', text: 'metrics: "127.0.0.1:99999"', says: /expected ADDRESS:PORT/ },
  { name: 'authority twice', text: `authority: ${authority}`, at: '6:1', says: /this key is given twice/ },
  {
    name: 'a leading zero',
    text: 'services: [{ protocol: tcp, port: 022 }]',
    at: '6:35',
    says: /without leading zeros and underscores, found "022"[^]*hint: write 22 or 18, or "022" in quotes/,
  },
  {
    name: 'a leading zero, no octal',
    text: 'services: [{ protocol: tcp, port: 089 }]',
    says: /hint: write 89, or "089"/,
  },
  { name: 'octal', text: 'endpoints: [{ underlay: a, port: 0o17 }]', at: '6:34', says: /hint: write 15, or/ },
  { name: 'hexadecimal', text: 'endpoints: [{ underlay: a, mtu: 0x5DC }]', says: /hint: write 1500, or/ },
  { name: 'binary', text: 'endpoints: [{ underlay: a, mtu: 0b1 }]', says: /hint: write 1, or/ },
  { name: 'underscores', text: 'endpoints: [{ underlay: a, mtu: 1_500 }]', says: /hint: write 1500, or/ },
  {
    name: 'zeros and a point',
    text: 'endpoints: [{ underlay: a, mtu: 01500.0 }]',
    says: /hint: write 1500, or/,
  },
  {
    name: 'a key like a number',
    text: 'networks: [{ 007: a }]',
    at: '6:14',
    says: /hint: write 7, or "007"/,
  },
  { name: 'metrics port with a zero', text: 'metrics: "127.0.0.1:09586"', says: /expected ADDRESS:PORT/ },
  { name: 'tab', text: 'networks:\n\t- name: a', says: /indent with spaces/ },
  { name: 'open bracket', text: 'prefixes: [10.1.0.0/16', says: /config\.yml:\d+:\d+: / },
  { name: 'second document', text: '---\nfabric: x', says: /config\.yml:\d+:\d+: / },
  { name: 'alias', text: 'prefixes: &p [10.1.0.0/16]\nexclude: *p', says: /anchors and aliases/ },
]

for (const { name, text, at, says } of cases) {
  void t.test(name, (t) => {
    const error = errorOf(`${least}${text}\n`)
    t.equal(error.code, 'config-invalid')
    t.match(error.message, says)
    if (at !== undefined) t.equal(error.object, `${file}:${at}`)
    if (error.object.includes(':'))
      t.match(error.message, /\n +\d+ \| .*\n +\| *\^/, 'the source line and a caret')
    t.end()
  })
}

void t.test('texts that look like such numbers', (t) => {
  const site = 'site: { name: aws, labels: { rack: "022", batch: "1_000" }, region: 10.01 }'
  t.throws(() => config(least.replace('site: aws', site)), {
    message: /region: expected a text, found 10.01/,
  })
  const texts = site.replace('10.01', '"0x1f"')
  t.same(config(least.replace('site: aws', texts)).site.labels, { rack: '022', batch: '1_000' })
  t.equal(config(`${least}prefixes: [0.0.0.0/1]\nendpoints: [{ underlay: a, mtu: 1500 }]`).prefixes.length, 1)
  t.end()
})

for (const name of ['a"b', "a'b", 'a\nb', '../a', '', '.', 'a b', 'x'.repeat(64), 'a\u001b[2J']) {
  void t.test(`gateway name ${JSON.stringify(name)}`, (t) => {
    const error = errorOf(least.replace('gateway: aws-a', `gateway: ${JSON.stringify(name)}`))
    t.equal(error.object, `${file}:3:10`)
    t.match(error.message, /gateway: expected a name of 1 to 63 lower-case letters/)
    t.end()
  })
}

void t.test('the key of the authority', (t) => {
  t.equal(config(least).authority, authority)
  t.match(errorOf(least.replace(/authority.*\n/, '')), {
    object: `${file}:1:1`,
    message:
      /the key "authority" is missing\n.*\n.*\n.*write authority: KEY, as linkspan ca init and ca show print it/,
  })
  const wrong = [
    'abc',
    `${authority}=`,
    authority.slice(1),
    `+${authority.slice(1)}`,
    `"${authority.slice(0, -1)} "`,
  ]
  // The last character carries four bits of the key: two more would be another spelling of it.
  wrong.push(authority.slice(0, -1) + String.fromCharCode(authority.charCodeAt(42) + 1))
  for (const value of wrong) {
    const { code, object, message } = errorOf(least.replace(authority, value))
    t.equal(code, 'config-invalid', value)
    t.equal(object, `${file}:5:12`, value)
    t.match(message, /authority: expected an Ed25519 public key: 43 characters of base64url/, value)
  }
  t.end()
})

void t.test('texts that are no configuration', (t) => {
  t.match(errorOf('').message, /the key "fabric" is missing/)
  t.match(errorOf('[]').message, /expected keys and values, found \[\]/)
  t.match(errorOf('just text').message, /expected keys and values/)
  t.match(errorOf(Buffer.from([0xff, 0xfe])).message, /not UTF-8/)
  t.match(errorOf('x'.repeat(2_000_000)).message, /expected at most 1048576/)
  t.end()
})

void t.test('a file that is not there', async (t) => {
  await t.rejects(readConfig('/nonexistent/config.yml'), {
    code: 'config-invalid',
    object: '/nonexistent/config.yml',
  })
})

void t.test('files that would exhaust the parser, and more than one document', (t) => {
  for (const deep of ['['.repeat(20_000), '- '.repeat(20_000), '? '.repeat(20_000), '[{a: '.repeat(17)]) {
    const { code, reason } = errorOf(deep)
    t.equal(code, 'config-invalid')
    t.match(reason, /^nested deeper than 32 levels\n/)
    t.notMatch(reason, /stack|flow/i)
  }
  t.match(errorOf('['.repeat(33)).object, /:1:33$/, 'at its place')
  t.notMatch(errorOf(`${'['.repeat(32)}${']'.repeat(32)}`).reason, /nested/)
  const { object, reason } = errorOf(`${least}---\n${least}`)
  t.match(object, /:6:1$/)
  t.match(reason, /^a second document begins here\n[^]*hint: keep one/)
  t.notMatch(reason, /YAML\.|parseAll/)
  t.end()
})
