/** What diff does to a small gateway, as the lines that an operator would read. */
import t from 'tap'
import { diff } from '../../../agent/diff/diff.ts'
import { formatOp } from '../../../agent/model/op-text.ts'
import { overlayTable } from '../../../agent/model/kernel-number.ts'
import type { KernelObject, Peer } from '../../../agent/model/kernel-object.ts'
import { address as addressOf, prefix } from '../../../agent/model/prefix.ts'
import {
  allowed,
  blackhole,
  carrier,
  group,
  host,
  key,
  nexthop,
  observed,
  peer,
  remote,
  remoteSite,
  route,
  table,
  throws,
  wg,
} from '../../support/small-state.ts'

const nowSeconds = 1763700000

/** Lines of the ops, keys shortened to the names they were made of. */
function lines(desired: readonly KernelObject[], seen: readonly KernelObject[]): readonly string[] {
  const { ops, conflicts } = diff(desired, seen, { nowSeconds })
  if (conflicts.length > 0) throw new Error(JSON.stringify(conflicts))
  return ops.map((op) => formatOp(op).replace(/([a-z0-9-]*?)0*A=/g, '<$1>'))
}

const s1 = remoteSite(0, 0, 's1-a', '10.1.0.0/16', '10.2.0.0/24')
const one = [...host, ...carrier(0), ...s1]

void t.test('the first gateway joins', (t) => {
  t.strictSame(lines(one, []), [
    'nft -f - # add table inet linkspan: 2 sets, 0 chains, 0 rules, digest aaaaaaaa',
    'nft add element inet linkspan remote4_16 { 10.1.0.0 }',
    'nft add element inet linkspan remote4_24 { 10.2.0.0 }',
    'ip link add name ls-wg0 mtu 1440 group 19539 type wireguard && ip link set dev ls-wg0 up',
    'wg set ls-wg0 listen-port 51820 fwmark 0x4c5300 # public key <self>',
    'sysctl -w net/ipv4/conf/eth0/forwarding=1',
    'ip address add 100.127.0.1/32 dev ls-wg0',
    'wg set ls-wg0 peer <s1-a> endpoint 192.0.2.2:51820 persistent-keepalive 25 # s1-a',
    'wg set ls-wg0 peer <s1-a> allowed-ips +10.1.0.0/16',
    'wg set ls-wg0 peer <s1-a> allowed-ips +10.2.0.0/24',
    'ip -6 nexthop add id 0x4c0000fe blackhole protocol 2',
    'ip -6 nexthop add id 0x4c000000 dev ls-wg0 protocol 2',
    'ip nexthop add id 0x4c001000 group 0x4c000000 type resilient buckets 64 protocol 2 # default s1-a',
    'ip route add throw 10.0.0.0/16 table 19539 protocol 76',
    'ip route add 10.1.0.0/16 table 19539 nhid 0x4c001000 protocol 76 mtu 1440',
    'ip route add 10.2.0.0/24 table 19539 nhid 0x4c001000 protocol 76 mtu 1440',
    'ip rule add priority 19529 fwmark 0x4c5300/0xffffffff lookup main protocol 76',
    'ip rule add priority 19530 fwmark 0x4c5300/0xffffff00 blackhole protocol 76',
    'ip rule add priority 19531 lookup 19539 protocol 76',
  ])
  t.strictSame(lines(one, observed(one)), [])
  t.end()
})

void t.test(
  'down: packets stop going in first, the guard is last, what goes with a link is not removed twice',
  (t) => {
    t.strictSame(lines([], observed(one)), [
      'ip rule delete priority 19531 lookup 19539 protocol 76',
      'ip rule delete priority 19530 fwmark 0x4c5300/0xffffff00 blackhole protocol 76',
      'ip rule delete priority 19529 fwmark 0x4c5300/0xffffffff lookup main protocol 76',
      'ip route delete 10.2.0.0/24 table 19539 protocol 76',
      'ip route delete 10.1.0.0/16 table 19539 protocol 76',
      'ip route delete throw 10.0.0.0/16 table 19539 protocol 76',
      'ip nexthop delete id 0x4c001000',
      'ip nexthop delete id 0x4c0000fe',
      'sysctl -w net/ipv4/conf/eth0/forwarding=0',
      'ip link delete dev ls-wg0',
      'nft delete table inet linkspan',
    ])
    t.end()
  },
)

void t.test('a prefix moves to another site on the same device', (t) => {
  const s2 = remoteSite(0, 1, 's2-a', '10.3.0.0/16')
  const before = [...one, ...s2]
  const after = [
    ...host,
    ...carrier(0),
    ...remoteSite(0, 0, 's1-a', '10.1.0.0/16'),
    ...remoteSite(0, 1, 's2-a', '10.3.0.0/16', '10.2.0.0/24'),
  ]
  t.strictSame(lines(after, observed(before)), [
    'wg set ls-wg0 peer <s2-a> allowed-ips +10.2.0.0/24 # from peer <s1-a>',
    'ip route replace 10.2.0.0/24 table 19539 nhid 0x4c001001 protocol 76 mtu 1440',
  ])
  t.end()
})

void t.test('prefixes of a live peer are added first, then moved', (t) => {
  const before = [peer(0, 's1-a'), allowed(0, 's1-a', '10.2.0.0/24'), peer(0, 's2-a')]
  const after = [
    peer(0, 's1-a'),
    peer(0, 's2-a'),
    allowed(0, 's2-a', '10.2.0.0/24'),
    allowed(0, 's2-a', '10.3.0.0/16'),
  ]
  t.strictSame(lines(after, observed(before)), [
    'wg set ls-wg0 peer <s2-a> allowed-ips +10.3.0.0/16',
    'wg set ls-wg0 peer <s2-a> allowed-ips +10.2.0.0/24 # from peer <s1-a>',
  ])
  t.end()
})

void t.test('a gateway changes its weight', (t) => {
  const before = group(0, 'default s1', 0, 1)
  const members = before.members.map(({ id }, i) => ({ id, weight: i + 1 }))
  t.strictSame(lines([{ ...before, members }], observed([before])), [
    'ip nexthop replace id 0x4c001000 group 0x4c000000/0x4c000001,2 type resilient buckets 64 protocol 2 # default s1',
  ])
  t.end()
})

void t.test('a gateway changes its key: new peer, prefixes over, old peer away', (t) => {
  const rekeyed = one.map((object) => {
    if (object.kind === 'peer') return { ...object, publicKey: key('new') }
    return object.kind === 'allowed-ip' ? { ...object, publicKey: key('new') } : object
  })
  t.strictSame(lines(rekeyed, observed(one)), [
    'wg set ls-wg0 peer <new> endpoint 192.0.2.2:51820 persistent-keepalive 25 # s1-a',
    'wg set ls-wg0 peer <new> allowed-ips +10.1.0.0/16 # from peer <s1-a>',
    'wg set ls-wg0 peer <new> allowed-ips +10.2.0.0/24 # from peer <s1-a>',
    'wg set ls-wg0 peer <s1-a> remove',
  ])
  t.end()
})

const pair = [
  ...host,
  ...carrier(0),
  ...carrier(1),
  ...['s1-a', 's1-b'].flatMap((name, i) => [peer(i, name), allowed(i, name, '10.1.0.0/16')]),
  remote('10.1.0.0/16'),
  group(0, 'default s1', 0, 1),
  route('10.1.0.0/16', 0),
]

void t.test('a path to one of two gateways goes down: one group replace and nothing else', (t) => {
  const after = pair.map((object) => (object.kind === 'group' ? group(0, 'default s1', 0) : object))
  t.strictSame(lines(after, observed(pair)), [
    'ip nexthop replace id 0x4c001000 group 0x4c000000 type resilient buckets 64 protocol 2 # default s1',
  ])
  t.end()
})

void t.test('a gateway leaves a site of two: one group replace, then its device', (t) => {
  const left = pair.filter((object) => !JSON.stringify(object).includes('ls-wg1') && object.kind !== 'group')
  t.strictSame(lines([...left, group(0, 'default s1', 0)], observed(pair)), [
    'ip nexthop replace id 0x4c001000 group 0x4c000000 type resilient buckets 64 protocol 2 # default s1',
    'ip link delete dev ls-wg1',
  ])
  t.end()
})

void t.test('a gateway leaves a device that others stay on: its prefixes go with its peer', (t) => {
  const before = [...one, ...remoteSite(0, 1, 's2-a', '10.3.0.0/16')]
  t.strictSame(lines(one, observed(before)), [
    'ip route delete 10.3.0.0/16 table 19539 protocol 76',
    'ip nexthop delete id 0x4c001001',
    'wg set ls-wg0 peer <s2-a> remove',
    'nft delete element inet linkspan remote4_16 { 10.3.0.0 }',
  ])
  t.end()
})

void t.test('every path is down: the group becomes the blackhole, no route changes', (t) => {
  const closed: KernelObject = { ...group(0, 'default s1'), members: [{ id: blackhole.id, weight: 1 }] }
  const after = pair.map((object) => (object.kind === 'group' ? closed : object))
  t.strictSame(lines(after, observed(pair)), [
    'ip nexthop replace id 0x4c001000 group 0x4c0000fe type resilient buckets 64 protocol 2 # default s1',
  ])
  t.end()
})

void t.test('a link was deleted behind our back: its group and routes went with it', (t) => {
  const gone = new Set(['link', 'device', 'address', 'peer', 'allowed-ip', 'group'])
  const rest = one.filter(({ kind }) => !gone.has(kind))
  const seen = rest.filter((object) => {
    if (object.kind === 'nexthop') return object.blackhole === true
    return object.kind !== 'route' || object.type === 'throw'
  })
  t.strictSame(lines(one, observed(seen)), [
    'ip link add name ls-wg0 mtu 1440 group 19539 type wireguard && ip link set dev ls-wg0 up',
    'wg set ls-wg0 listen-port 51820 fwmark 0x4c5300 # public key <self>',
    'ip address add 100.127.0.1/32 dev ls-wg0',
    'wg set ls-wg0 peer <s1-a> endpoint 192.0.2.2:51820 persistent-keepalive 25 # s1-a',
    'wg set ls-wg0 peer <s1-a> allowed-ips +10.1.0.0/16',
    'wg set ls-wg0 peer <s1-a> allowed-ips +10.2.0.0/24',
    'ip -6 nexthop add id 0x4c000000 dev ls-wg0 protocol 2',
    'ip nexthop add id 0x4c001000 group 0x4c000000 type resilient buckets 64 protocol 2 # default s1-a',
    'ip route add 10.1.0.0/16 table 19539 nhid 0x4c001000 protocol 76 mtu 1440',
    'ip route add 10.2.0.0/24 table 19539 nhid 0x4c001000 protocol 76 mtu 1440',
  ])
  t.end()
})

void t.test('a link was set down: up again, then what the kernel dropped', (t) => {
  const seen = pair
    .filter((object) => object.kind !== 'nexthop' || object.device !== 'ls-wg1')
    .map((object) => {
      if (object.kind === 'link' && object.name === 'ls-wg1') return wg(1, { up: false })
      return object.kind === 'group' ? group(0, 'default s1', 0) : object
    })
  t.strictSame(lines(pair, observed(seen)), [
    'ip link set dev ls-wg1 up',
    'ip -6 nexthop add id 0x4c000001 dev ls-wg1 protocol 2',
    'ip nexthop replace id 0x4c001000 group 0x4c000000/0x4c000001 type resilient buckets 64 protocol 2 # default s1',
  ])
  t.end()
})

void t.test('the table was flushed: what stays out of tunnels first', (t) => {
  const seen = one.filter(({ kind }) => kind !== 'route')
  t.strictSame(lines(one, observed(seen)), [
    'ip route add throw 10.0.0.0/16 table 19539 protocol 76',
    'ip route add 10.1.0.0/16 table 19539 nhid 0x4c001000 protocol 76 mtu 1440',
    'ip route add 10.2.0.0/24 table 19539 nhid 0x4c001000 protocol 76 mtu 1440',
  ])
  t.end()
})

void t.test('the firewall was flushed', (t) => {
  const seen = one.filter(({ kind }) => kind !== 'ruleset' && kind !== 'element')
  t.strictSame(lines(one, observed(seen)), [
    'nft -f - # add table inet linkspan: 2 sets, 0 chains, 0 rules, digest aaaaaaaa',
    'nft add element inet linkspan remote4_16 { 10.1.0.0 }',
    'nft add element inet linkspan remote4_24 { 10.2.0.0 }',
  ])
  t.end()
})

void t.test('a set that leaves the ruleset takes its elements along', (t) => {
  const after = one.filter(
    (object) => object.kind !== 'ruleset' && !JSON.stringify(object).includes('10.2.0'),
  )
  t.strictSame(lines([...after, table(['remote4_16'], 'bbbbbbbb')], observed(one)), [
    'nft -f - # replace table inet linkspan: 1 sets, 0 chains, 0 rules, digest bbbbbbbb',
    'ip route delete 10.2.0.0/24 table 19539 protocol 76',
    'wg set ls-wg0 peer <s1-a> allowed-ips -10.2.0.0/24',
  ])
  t.end()
})

void t.test('a link of another type is made anew, and all that was on it', (t) => {
  const tuns = pair.map((object) => (object.kind === 'link' ? { ...object, type: 'tun' as const } : object))
  const seen = tuns.map((object) => (object.kind === 'link' && object.name === 'ls-wg0' ? wg(0) : object))
  t.strictSame(lines(tuns, observed(seen)), [
    'ip link delete dev ls-wg0',
    'wireguard-go ls-wg0 && ip link set dev ls-wg0 mtu 1440 group 19539 up',
    'wg set ls-wg0 listen-port 51820 fwmark 0x4c5300 # public key <self>',
    'ip address add 100.127.0.1/32 dev ls-wg0',
    'wg set ls-wg0 peer <s1-a> endpoint 192.0.2.2:51820 persistent-keepalive 25 # s1-a',
    'wg set ls-wg0 peer <s1-a> allowed-ips +10.1.0.0/16',
    'ip -6 nexthop add id 0x4c000000 dev ls-wg0 protocol 2',
    'ip nexthop replace id 0x4c001000 group 0x4c000000/0x4c000001 type resilient buckets 64 protocol 2 # default s1',
  ])
  t.end()
})

void t.test('devices pass ports on: who frees one goes first', (t) => {
  const shifted = pair.map((object) =>
    object.kind === 'device' ? { ...object, listenPort: object.listenPort + 1 } : object,
  )
  t.strictSame(lines(shifted, observed(pair)), [
    'wg set ls-wg1 listen-port 51822 fwmark 0x4c5300 # public key <self1>',
    'wg set ls-wg0 listen-port 51821 fwmark 0x4c5300 # public key <self>',
  ])
  t.end()
})

void t.test('a stretched network goes: its VXLAN link before the guard it had', (t) => {
  const bridge: KernelObject = { ...wg(0), name: 'ls-br7001', type: 'bridge' }
  const vxlan: KernelObject = {
    ...wg(0),
    name: 'ls-vx7001',
    type: 'vxlan',
    master: 'ls-br7001',
    vxlan: { vni: 7001, local: addressOf('100.127.0.1'), port: 4789, learning: true },
  }
  const network: readonly KernelObject[] = [
    bridge,
    vxlan,
    { kind: 'port', link: 'tap0', master: 'ls-br7001' },
    { kind: 'fdb', link: 'ls-vx7001', mac: '00:00:00:00:00:00', dst: addressOf('100.127.0.2') },
    { kind: 'element', set: 'guard4_7001', key: '100.127.0.2' },
  ]
  const without = [table([], 'aaaaaaaa')]
  const joined = [table(['guard4_7001'], 'bbbbbbbb'), ...network]
  t.strictSame(lines(joined, observed(without)), [
    'nft -f - # replace table inet linkspan: 1 sets, 0 chains, 0 rules, digest bbbbbbbb',
    'nft add element inet linkspan guard4_7001 { 100.127.0.2 }',
    'ip link add name ls-br7001 mtu 1440 group 19539 type bridge && ip link set dev ls-br7001 up',
    'ip link add name ls-vx7001 mtu 1440 group 19539 type vxlan id 7001 local 100.127.0.1 dstport 4789 learning && ip link set dev ls-vx7001 master ls-br7001 up',
    'ip link set dev tap0 master ls-br7001',
    'bridge fdb append 00:00:00:00:00:00 dev ls-vx7001 dst 100.127.0.2',
  ])
  // A bridge that is no bridge: its port stays, and must be put into the new one.
  const broken = joined.map((object) => (object === bridge ? { ...bridge, type: 'other' as const } : object))
  t.strictSame(lines(joined, observed(broken)), [
    'ip link delete dev ls-br7001',
    'ip link add name ls-br7001 mtu 1440 group 19539 type bridge && ip link set dev ls-br7001 up',
    'ip link set dev ls-vx7001 master ls-br7001',
    'ip link set dev tap0 master ls-br7001',
  ])
  t.strictSame(lines(without, observed(joined)), [
    'ip link delete dev ls-vx7001',
    'nft -f - # replace table inet linkspan: 0 sets, 0 chains, 0 rules, digest aaaaaaaa',
    'ip link delete dev ls-br7001',
  ])
  t.end()
})

void t.test(
  'sysctls: accept_ra before all.forwarding, the other way back, and what we never wrote stays',
  (t) => {
    const forwarding: KernelObject = { kind: 'sysctl', name: 'net/ipv6/conf/all/forwarding', value: '1' }
    const accept: KernelObject = { kind: 'sysctl', name: 'net/ipv6/conf/eth0/accept_ra', value: '2' }
    const loose: KernelObject = { kind: 'sysctl', name: 'net/ipv4/conf/eth0/rp_filter', value: '2' }
    const found = [forwarding, accept, loose].map((sysctl) => ({ ...sysctl, value: '0' }))
    t.strictSame(lines([forwarding, loose, accept], found), [
      'sysctl -w net/ipv6/conf/eth0/accept_ra=2',
      'sysctl -w net/ipv4/conf/eth0/rp_filter=2',
      'sysctl -w net/ipv6/conf/all/forwarding=1',
    ])
    const written = [{ ...forwarding, previous: '0' }, { ...accept, previous: '1' }, loose]
    t.strictSame(lines([], written), [
      'sysctl -w net/ipv6/conf/all/forwarding=0',
      'sysctl -w net/ipv6/conf/eth0/accept_ra=1',
    ])
    t.end()
  },
)

void t.test('a prefix of ours goes to another site: throw becomes a route under the same key', (t) => {
  const before = [...host, ...carrier(0), ...s1]
  const after = [
    ...before.filter((object) => object.kind !== 'route' || object.type !== 'throw'),
    route('10.0.0.0/16', 0),
  ]
  t.strictSame(lines(after, observed(before)), [
    'ip route replace 10.0.0.0/16 table 19539 nhid 0x4c001000 protocol 76 mtu 1440',
  ])
  t.strictSame(lines([throws('10.0.0.0/16')], [{ ...route('10.0.0.0/16', 0) }]), [
    'ip route replace throw 10.0.0.0/16 table 19539 protocol 76',
  ])
  t.end()
})

void t.test('routes of one prefix in several tables and metrics are several things', (t) => {
  const base = { kind: 'route', table: 19540, prefix: prefix('0.0.0.0/0') } as const
  const end: KernelObject = { ...base, type: 'blackhole', metric: 4294967295 }
  const via: KernelObject = { ...base, type: 'unicast', via: addressOf('192.0.2.1'), link: 'eth0' }
  const same: KernelObject = { ...base, table: overlayTable, type: 'unreachable' }
  t.strictSame(lines([end, via, same], []), [
    'ip route add blackhole 0.0.0.0/0 table 19540 protocol 76 metric 4294967295',
    'ip route add unreachable 0.0.0.0/0 table 19539 protocol 76',
    'ip route add 0.0.0.0/0 table 19540 via 192.0.2.1 dev eth0 protocol 76',
  ])
  t.strictSame(lines([end, same], [end, via, same]), ['ip route delete 0.0.0.0/0 table 19540 protocol 76'])
  t.end()
})

void t.test('endpoints of peers', (t) => {
  const there = '192.0.2.2:51820'
  const bare: Peer = { kind: 'peer', device: 'ls-wg0', publicKey: key('s1-a'), keepalive: 25 }
  const elsewhere = [addressOf('203.0.113.9')]
  const fresh = nowSeconds - 179
  const cases: readonly (readonly [string, Partial<Peer>, Partial<Peer>, readonly string[]])[] = [
    ['as desired', {}, { endpoint: there, latestHandshake: 0 }, []],
    ['learned and fresh', {}, { endpoint: '198.51.100.7:4242', latestHandshake: fresh }, []],
    ['learned and stale', {}, { endpoint: '198.51.100.7:4242', latestHandshake: fresh - 1 }, ['endpoint']],
    ['never shook hands', {}, { endpoint: '198.51.100.7:4242', latestHandshake: 0 }, ['endpoint']],
    [
      'fresh, but of another underlay',
      { elsewhere },
      { endpoint: '203.0.113.9:51820', latestHandshake: fresh },
      ['endpoint'],
    ],
    [
      'IPv6',
      { elsewhere: [addressOf('2001:db8::9')] },
      { endpoint: '[2001:db8::9]:51820', latestHandshake: fresh },
      ['endpoint'],
    ],
    ['our own word before: the record changed', {}, { endpoint: '192.0.2.99:51820' }, ['endpoint']],
    ['none known yet', {}, { latestHandshake: 0 }, ['endpoint']],
    [
      'keepalive alone keeps what was learned',
      {},
      { endpoint: '198.51.100.7:4242', keepalive: 0, latestHandshake: fresh },
      ['learned'],
    ],
  ]
  for (const [name, desired, seen, expected] of cases) {
    const ops = lines([{ ...bare, endpoint: there, ...desired }], [{ ...bare, ...seen }])
    const got = ops.map((line) => (line.includes(`endpoint ${there} `) ? 'endpoint' : 'learned'))
    t.strictSame(got, expected, name)
  }
  t.strictSame(
    lines([bare], [{ ...bare, endpoint: there, latestHandshake: 0 }]),
    [],
    'behind NAT: it calls us',
  )
  t.end()
})

void t.test('what is only for printing is not compared', (t) => {
  const desired = [peer(0, 's1-a'), group(0, 'default s1', 0), nexthop(0)]
  t.strictSame(lines(desired, observed(desired)), [])
  t.end()
})
