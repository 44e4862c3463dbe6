import t from 'tap'
import { GroupIds } from '../../../agent/plan/group-id.ts'
import type { GatewayText } from '../../support/plan-input.ts'
import { gatewayWith, inputWith, linesOf, notesOf } from '../../support/plan-input.ts'

const aws = gatewayWith(1, 'aws-a', {
  prefixes: ['10.1.0.0/16'],
  endpoints: ['internet 192.0.2.1', 'dx 10.9.0.1'],
})
const both = ['internet 192.0.2.2', 'dx 10.9.0.2']
const fabric = { underlays: [{ name: 'internet' }, { name: 'dx', mtu: 1460 }], prefer: ['dx', 'internet'] }

/** Groups and prefix routes to a site of two gateways. */
function gcp(
  a: GatewayText,
  b: GatewayText,
  down: readonly string[] = [],
  prefer: readonly string[] = fabric.prefer,
): readonly string[] {
  const gateways = [
    aws,
    gatewayWith(2, 'gcp-a', { prefixes: ['10.2.0.0/16'], endpoints: both, ...a }),
    gatewayWith(3, 'gcp-b', { plane: 1, prefixes: ['10.2.0.0/16'], ...b }),
  ]
  const links = ['eth0 192.0.2.1/24', 'dx0 10.9.0.1/24', 'eth1 10.1.0.1/24']
  const input = inputWith({ gateways, fabric: { ...fabric, prefer }, down, links })
  return [...linesOf(input, ['group'], 'default'), ...linesOf(input, ['route'], 'src')].map((line) =>
    line
      .replace(/^ip nexthop add id /, '')
      .replace(' type resilient buckets 64 idle_timer 10 unbalanced_timer 30 protocol 2', ''),
  )
}

void t.test('one prefix, two gateways: one group of both, each on its best underlay', (t) => {
  t.same(gcp({}, {}), [
    '0x4c001000 group 0x4c000001/0x4c000008 # default gcp gcp-a,gcp-b',
    'ip route add 10.2.0.0/16 table 19539 nhid 0x4c001000 protocol 76 src 10.1.0.1 mtu 1400',
  ])
  t.end()
})

void t.test('a failure changes the group and no route', (t) => {
  const route = 'ip route add 10.2.0.0/16 table 19539 nhid 0x4c001000 protocol 76 src 10.1.0.1 mtu 1400'
  const of = '# default gcp gcp-a,gcp-b'
  t.same(gcp({}, {}, ['gcp-a dx']), [`0x4c001000 group 0x4c000000/0x4c000001 ${of}`, route])
  t.same(gcp({}, {}, ['gcp-b internet']), [`0x4c001000 group 0x4c000008 ${of}`, route])
  t.same(gcp({}, {}, ['gcp-a dx', 'gcp-a internet', 'gcp-b internet']), [
    `0x4c001000 group 0x4c0000fe ${of}`,
    route,
  ])
  t.end()
})

void t.test('weights; draining gateways serve only when nobody else does', (t) => {
  const [group] = gcp({ weight: 3 }, {})
  t.match(group, /group 0x4c000001\/0x4c000008,3 /)
  t.match(gcp({ weight: 1000 }, { weight: 0 })[0], /group 0x4c000001\/0x4c000008,256 /)
  t.match(gcp({ state: 'draining' }, {})[0], /group 0x4c000001 # default gcp gcp-a,gcp-b/)
  t.match(gcp({ state: 'draining' }, {}, ['gcp-b internet'])[0], /group 0x4c000008 # default gcp gcp-a,gcp-b/)
  t.end()
})

void t.test('the best standing: underlays of a gateway, then gateways of a site', (t) => {
  const members = (...paths: readonly string[]): string =>
    /group (\S+)/.exec(gcp({}, {}, paths)[0] ?? '')?.[1]?.replaceAll('0x4c0000', '') ?? ''
  t.equal(members('gcp-a dx degraded'), '00/01', 'the other underlay')
  t.equal(members('gcp-a dx degraded', 'gcp-a internet degraded'), '01', 'the other gateway')
  t.equal(
    members('gcp-a dx degraded', 'gcp-a internet degraded', 'gcp-b internet degraded'),
    '01/08',
    'none is better',
  )
  t.equal(members('gcp-a dx degraded', 'gcp-a internet'), '01')
  t.equal(members('gcp-a dx degraded', 'gcp-a internet', 'gcp-b internet'), '08', 'degraded is not down')
  t.match(gcp({ state: 'draining' }, {}, ['gcp-b internet degraded'])[0], /group 0x4c000001 /)
  t.equal(members('gcp-a weight=3', 'gcp-b weight=0.1'), '01/08,3', 'what a gateway says of itself')
  t.end()
})

void t.test('underlays that the fabric does not put in order go by rank', (t) => {
  const first = (...paths: readonly string[]): string =>
    gcp({}, {}, ['gcp-b internet', ...paths], [])[0]?.slice(-40) ?? ''
  t.match(first(), /0x4c000000 /)
  t.match(first('gcp-a internet rank=1'), /0x4c000008 /)
  t.match(first('gcp-a internet rank=1', 'gcp-a dx degraded'), /0x4c000000 /)
  t.match(gcp({}, {}, ['gcp-b internet', 'gcp-a dx rank=1'])[0], /0x4c000008 /, 'its order goes before')
  t.end()
})

void t.test('gateways that originate different prefixes: a group for each set', (t) => {
  t.same(gcp({ prefixes: ['10.2.0.0/16', '10.22.0.0/16'] }, { prefixes: ['10.2.0.0/16', '10.23.0.0/16'] }), [
    '0x4c001000 group 0x4c000001/0x4c000008 # default gcp gcp-a,gcp-b',
    '0x4c001001 group 0x4c000008 # default gcp gcp-a',
    '0x4c001002 group 0x4c000001 # default gcp gcp-b',
    'ip route add 10.2.0.0/16 table 19539 nhid 0x4c001000 protocol 76 src 10.1.0.1 mtu 1400',
    'ip route add 10.22.0.0/16 table 19539 nhid 0x4c001001 protocol 76 src 10.1.0.1 mtu 1400',
    'ip route add 10.23.0.0/16 table 19539 nhid 0x4c001002 protocol 76 src 10.1.0.1 mtu 1440',
  ])
  t.match(gcp({ state: 'withdrawn' }, {}), [/0x4c000001 # default gcp gcp-b/, /10\.2\.0\.0\/16/])
  t.end()
})

void t.test('a prefix of two gateways has one guard element', (t) => {
  const gateways = [
    aws,
    gatewayWith(2, 'gcp-a', { prefixes: ['10.2.0.0/16'] }),
    gatewayWith(3, 'gcp-b', { plane: 1, prefixes: ['10.2.0.0/16', 'fd00:2::/48'] }),
  ]
  t.same(linesOf(inputWith({ gateways }), ['element'], 'remote').slice(2), [
    'nft add element inet linkspan remote4_16 { 10.2.0.0 }',
    'nft add element inet linkspan remote6_48 { fd00:2:: }',
  ])
  t.end()
})

void t.test('no path at all: the route stays and leads nowhere, and notes say why', (t) => {
  const input = inputWith({
    gateways: [
      aws,
      gatewayWith(2, 'gcp-a', { prefixes: ['10.2.0.0/16'], endpoints: ['internet 2001:db8::2'] }),
    ],
    fabric,
  })
  t.same(linesOf(input, ['group', 'route'], '0x4c001'), [
    'ip nexthop add id 0x4c001000 group 0x4c0000fe type resilient buckets 64 idle_timer 10 unbalanced_timer 30 protocol 2 # default gcp gcp-a',
    'ip route add 10.2.0.0/16 table 19539 nhid 0x4c001000 protocol 76',
  ])
  t.same(
    notesOf(input).map(({ kind, object, reason }) => `${kind}: ${object}: ${reason}`),
    [
      'all-paths-down: site gcp: there is no path to gcp-a: packets to its prefixes are dropped here',
      'no-path: gateway gcp-a: dx: it has no endpoint there; internet: no common family: we have IPv4, it has IPv6',
    ],
  )
  t.end()
})

void t.test('ids are kept when the site changes and comes back', (t) => {
  const ids = new GroupIds()
  const one = gatewayWith(2, 'gcp-a', { prefixes: ['10.2.0.0/16'] })
  const other = gatewayWith(3, 'gcp-b', { plane: 1, prefixes: ['10.2.0.0/16'] })
  const groups = (gateways: readonly (typeof one)[]): readonly string[] =>
    linesOf(inputWith({ gateways: [aws, ...gateways], ids }), ['group'], 'default').map((line) =>
      line.slice(18, 28),
    )
  t.same(groups([one]), ['0x4c001000'])
  t.same(groups([one, other]), ['0x4c001002'])
  t.same(groups([one]), ['0x4c001000'])
  t.end()
})

void t.test('without IPv6 an IPv6 prefix has no route, and one note for all', (t) => {
  const gateways = [aws, gatewayWith(2, 'gcp-a', { prefixes: ['fd00:2::/48', 'fd00:3::/48', '10.2.0.0/16'] })]
  const input = inputWith({ gateways, facts: { ipv6: false } })
  t.same(linesOf(input, ['route', 'allowed-ip'], 'fd00'), [])
  t.match(
    notesOf(input).filter(({ kind }) => kind === 'prefix-not-installed'),
    [{ object: 'site gcp', reason: /2 IPv6/ }],
  )
  t.end()
})
