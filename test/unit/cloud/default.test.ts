import t from 'tap'
import { publicAddressesOf, prefixesOf, withCloud } from '../../../agent/cloud/default.ts'
import type { CloudFacts, CloudInterface } from '../../../agent/cloud/port.ts'
import type { Config } from '../../../agent/model/config.ts'
import { address, prefix } from '../../../agent/model/prefix.ts'

const config: Config = {
  file: '/etc/linkspan/config.yml',
  fabric: 'test',
  authority: 'A'.repeat(43),
  site: { name: 'aws-use1', provider: '', region: '', labels: {} },
  own: {
    gateway: 'aws-a',
    site: 'aws-use1',
    exclude: [],
    networks: [],
    services: [],
    registryAddresses: [],
  },
  prefixes: [],
  registry: { kind: 'file', directory: '/registry' },
  metrics: false,
}

interface Sketch {
  readonly private?: readonly string[]
  readonly public?: readonly string[]
  readonly network?: readonly string[]
  readonly subnet?: readonly string[]
}

function sketched(sketch: Sketch): CloudInterface {
  return {
    mac: '06:b6:92:dd:9d:24',
    privateAddresses: (sketch.private ?? []).map(address),
    publicAddresses: (sketch.public ?? []).map(address),
    networkPrefixes: (sketch.network ?? []).map(prefix),
    subnetPrefixes: (sketch.subnet ?? []).map(prefix),
  }
}

function factsOf(...interfaces: readonly Sketch[]): CloudFacts {
  return {
    provider: 'aws',
    region: 'us-east-1',
    zone: 'us-east-1c',
    instance: 'i-0123',
    interfaces: interfaces.map(sketched),
    unusable: [],
  }
}

const facts = factsOf({ network: ['10.1.0.0/16'], subnet: ['10.1.16.0/20'], public: ['54.1.2.3'] })

void t.test('what the operator did not write comes from the cloud', (t) => {
  const before = JSON.stringify(config)
  t.same(withCloud(config, facts), {
    ...config,
    site: { name: 'aws-use1', provider: 'aws', region: 'us-east-1', labels: { zone: 'us-east-1c' } },
    prefixes: ['10.1.0.0/16'],
  })
  t.equal(JSON.stringify(config), before, 'a copy')
  t.end()
})

void t.test('what the operator wrote wins, each by itself', (t) => {
  const site = { name: 'x', provider: 'metal', region: 'fra', labels: { zone: 'rack-7', tier: 'gold' } }
  const written = { ...config, site, prefixes: [prefix('10.9.0.0/16')] }
  t.same(withCloud(written, facts), written)
  const zone = withCloud({ ...config, site: { ...site, region: '', labels: { tier: 'gold' } } }, facts)
  t.same(zone.site, {
    name: 'x',
    provider: 'metal',
    region: 'us-east-1',
    labels: { tier: 'gold', zone: 'us-east-1c' },
  })
  t.same(withCloud({ ...config, site: { ...site, labels: { zone: '' } } }, facts).site.labels, { zone: '' })
  t.end()
})

void t.test('what the cloud does not say stays empty', (t) => {
  const silent = { ...factsOf(), region: '', zone: '' }
  t.same(withCloud(config, silent).site, { ...config.site, provider: 'aws' })
  t.same(withCloud(config, silent).prefixes, [])
  t.end()
})

void t.test(
  'prefixes: of the network where it is known, else of the subnets, per interface and family',
  (t) => {
    const table: readonly (readonly [readonly Sketch[], readonly string[]])[] = [
      [
        [{ network: ['100.64.0.0/18', '10.1.0.0/16'], subnet: ['10.1.16.0/20'] }],
        ['10.1.0.0/16', '100.64.0.0/18'],
      ],
      [
        [{ subnet: ['10.2.1.0/24'] }, { subnet: ['10.2.0.0/24'] }],
        ['10.2.0.0/24', '10.2.1.0/24'],
      ],
      [
        [{ network: ['10.1.0.0/16'], subnet: ['10.1.16.0/20', '2600:1f18::/64'] }],
        ['10.1.0.0/16', '2600:1f18::/64'],
      ],
      [[{ network: ['10.1.0.0/16'] }, { network: ['10.1.0.0/16'] }], ['10.1.0.0/16']],
      [
        [{ network: ['10.0.0.0/8'] }, { subnet: ['10.7.0.0/24', '192.168.1.0/24'] }],
        ['10.0.0.0/8', '192.168.1.0/24'],
      ],
      [[{}], []],
      [[], []],
    ]
    for (const [interfaces, expected] of table) t.same(prefixesOf(factsOf(...interfaces)), expected)
    t.end()
  },
)

void t.test('public addresses in order of the interfaces, IPv4 first, never a private one', (t) => {
  const table: readonly (readonly [readonly Sketch[], readonly string[]])[] = [
    [[{ private: ['10.1.16.10'], public: ['54.1.2.3'] }], ['54.1.2.3']],
    [[{ public: ['2600:1f18::10', '54.1.2.3', '54.9.9.9'] }], ['54.1.2.3', '54.9.9.9', '2600:1f18::10']],
    [[{ private: ['10.1.16.10'] }, { public: ['54.9.9.9'] }], ['54.9.9.9']],
    [
      [{ public: ['54.1.2.3'] }, { public: ['54.9.9.9', '2600:1f18::10'] }],
      ['54.1.2.3', '54.9.9.9', '2600:1f18::10'],
    ],
    [[{ private: ['10.1.16.10', 'fd00::1'] }], []],
    [[], []],
  ]
  for (const [interfaces, expected] of table) t.same(publicAddressesOf(factsOf(...interfaces)), expected)
  t.end()
})
