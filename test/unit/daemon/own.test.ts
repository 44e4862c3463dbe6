import t from 'tap'
import { ownResolver } from '../../../agent/daemon/own.ts'
import { Surroundings } from '../../../agent/daemon/surroundings.ts'
import type { Cloud } from '../../../agent/daemon/surroundings.ts'
import type { Config } from '../../../agent/model/config.ts'
import type { HostFacts } from '../../../agent/model/host.ts'
import type { OwnEndpoint } from '../../../agent/model/own.ts'
import { address } from '../../../agent/model/prefix.ts'
import { authority, fabricOf } from '../../support/documents.ts'
import { linkWith } from '../../support/plan-input.ts'

const config: Config = {
  file: '/etc/linkspan/config.yml',
  fabric: 'prod',
  authority,
  site: { name: 's1', provider: '', region: '', labels: {} },
  own: { gateway: 'g1', site: 's1', exclude: [], networks: [], services: [], registryAddresses: [] },
  prefixes: [],
  registry: { kind: 'file', directory: '/r' },
  metrics: false,
}
const fabric = fabricOf({ underlays: [{ name: 'dx' }, { name: 'internet' }] })

function host(...links: readonly string[]): HostFacts {
  return {
    links: links.map((link, i) => linkWith(link, i)),
    routes: [],
    ipv6: true,
    features: { wireguard: true },
  }
}

function cloudWith(...addresses: readonly string[]): Cloud {
  const place = { provider: 'aws', region: '', zone: '', instance: '' }
  return { ...place, addresses: addresses.map(address), prefixes: [], request: config }
}

void t.test('where peers reach us', (t) => {
  const privately = host('eth0 10.1.0.5/24 default')
  const publicly = host('eth0 198.51.100.5/24 2001:db8::5/64 default')
  const table: readonly [what: string, HostFacts, Cloud | undefined, readonly string[]][] = [
    ['no cloud: the link of the default route', publicly, undefined, ['198.51.100.5']],
    ['no cloud, and a private address', privately, undefined, ['10.1.0.5']],
    ['no default route: as behind NAT', host('eth0 10.1.0.5/24'), undefined, []],
    ['the public address of the cloud', privately, cloudWith('54.1.2.3'), ['54.1.2.3']],
    ['of both families', publicly, cloudWith('54.1.2.3', '2001:db8::5'), ['54.1.2.3', '2001:db8::5']],
    ['an IPv6 address that no link carries', privately, cloudWith('54.1.2.3', '2001:db8::9'), ['54.1.2.3']],
    ['a host without IPv6', { ...publicly, ipv6: false }, cloudWith('54.1.2.3', '2001:db8::5'), ['54.1.2.3']],
    ['a cloud that knows none: behind its NAT', privately, cloudWith(), []],
    ['a cloud that knows none, and an address of our own', publicly, cloudWith(), ['198.51.100.5']],
  ]
  const two: Cloud = {
    ...cloudWith('54.1.2.3', '54.9.9.9'),
    interfaces: [
      { privateAddresses: [address('10.1.0.9')], publicAddresses: [address('54.1.2.3')] },
      { privateAddresses: [address('10.1.0.5')], publicAddresses: [address('54.9.9.9')] },
    ],
  }
  const three = { ...two, interfaces: [...(two.interfaces ?? [])].slice(0, 1) }
  const both: typeof table = [
    ...table,
    ['the interface that carries the default route', privately, two, ['54.9.9.9']],
    ['which has none: another one', privately, three, ['54.1.2.3']],
  ]
  for (const [what, facts, cloud, wanted] of both) {
    const { endpoints } = ownResolver(config, { cloud: () => cloud })(fabric, facts)
    t.same(
      endpoints.flatMap(({ address: found }) => found ?? []),
      wanted,
      what,
    )
    t.ok(
      endpoints.every(({ underlay }) => underlay === 'internet'),
      'on the internet',
    )
    t.equal(endpoints.length, Math.max(1, wanted.length))
  }
  t.end()
})

void t.test('what nobody need guess', (t) => {
  const endpoints: readonly OwnEndpoint[] = [{ underlay: 'dx', port: 40000 }]
  const configured = { ...config, own: { ...config.own, endpoints } }
  const own = ownResolver(configured, { cloud: () => cloudWith('54.1.2.3') })(
    fabric,
    host('eth0 10.1.0.5/24 default'),
  )
  t.same(own.endpoints, endpoints, 'the operator wins')
  const inside = fabricOf({ underlays: [{ name: 'dx' }] })
  const [endpoint] = ownResolver(config, { cloud: () => cloudWith() })(
    inside,
    host('eth0 10.1.0.5/24 default'),
  ).endpoints
  t.same(
    endpoint,
    { underlay: 'dx', port: 51820, address: '10.1.0.5' },
    'inside, private addresses are reached',
  )
  t.end()
})

void t.test('the same object while nothing changed', (t) => {
  const surroundings = new Surroundings(true)
  const resolve = ownResolver(config, { cloud: () => surroundings.cloud })
  const facts = host('eth0 10.1.0.5/24 default')
  const first = resolve(fabric, facts)
  t.equal(resolve(fabric, facts), first)
  surroundings.learned(cloudWith('54.1.2.3'))
  const second = resolve(fabric, facts)
  t.not(second, first)
  surroundings.failed({ code: 'unsupported', object: 'metadata service of aws', reason: 'silent' })
  t.equal(resolve(fabric, facts), second, 'a cloud that falls silent takes nothing back')
  t.end()
})

void t.test('surroundings', (t) => {
  const surroundings = new Surroundings(true)
  let news = 0
  surroundings.onNew(() => news++)
  t.same([surroundings.isAsked, surroundings.isUncertain, surroundings.view], [true, true, undefined])
  const trouble = { code: 'unsupported', object: 'metadata service of aws', reason: 'silent' } as const
  surroundings.failed(trouble)
  t.same([surroundings.isAsked, surroundings.isUncertain, surroundings.view], [false, true, { trouble }])
  const { request, ...shown } = cloudWith('54.1.2.3')
  surroundings.learned({ ...shown, request })
  t.same([surroundings.isUncertain, surroundings.view], [false, shown])
  surroundings.failed(trouble)
  t.same([surroundings.isUncertain, surroundings.view], [false, { ...shown, trouble }])
  t.equal(news, 3)
  const alone = new Surroundings(true)
  alone.none()
  t.same([alone.isAsked, alone.isUncertain, alone.view], [false, false, undefined])
  t.end()
})

void t.test(
  'while a cloud has not said it, our record has: a start moves no tunnel to another family',
  (t) => {
    const facts = host('eth0 10.1.0.5/24 2001:db8::5/64 default')
    const recorded: readonly OwnEndpoint[] = [
      { underlay: 'internet', address: address('2001:db8::5'), port: 51820, mtu: 1500 },
    ]
    const own = (of: Config, endpoints: readonly OwnEndpoint[] | undefined, isUncertain = true): unknown =>
      ownResolver(of, { recorded: () => (isUncertain ? { endpoints } : undefined) })(fabric, facts).endpoints
    const found = own(config, undefined, false)
    t.match(found, [{ address: '10.1.0.5' }])
    t.same(own(config, recorded), recorded)
    t.same(own(config, recorded, false), found)
    const configured = {
      ...config,
      own: { ...config.own, endpoints: [{ underlay: 'internet', port: 4000 }] },
    }
    t.match(own(configured, recorded), [{ port: 4000 }])
    t.notMatch(
      own(config, undefined),
      [{ address: '10.1.0.5' }],
      'nobody out there reaches a private address',
    )
    t.end()
  },
)
