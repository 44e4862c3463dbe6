/** What diff does to a small gateway, as the lines that an operator would read. */
import t from 'tap'
import type { KernelObject } from '../../../agent/model/kernel-object.ts'
import { lines } from '../../support/op-lines.ts'
import {
  allowed,
  blackhole,
  carrier,
  group,
  host,
  key,
  observed,
  peer,
  remote,
  remoteSite,
  route,
  table,
  throws,
  wg,
} from '../../support/small-state.ts'

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
    'ip nexthop add id 0x4c001000 group 0x4c000000 type resilient buckets 64 idle_timer 10 unbalanced_timer 30 protocol 2 # default s1-a',
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
    'ip nexthop replace id 0x4c001000 group 0x4c000000/0x4c000001,2 type resilient buckets 64 idle_timer 10 unbalanced_timer 30 protocol 2 # default s1',
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
    'ip nexthop replace id 0x4c001000 group 0x4c000000 type resilient buckets 64 idle_timer 10 unbalanced_timer 30 protocol 2 # default s1',
  ])
  t.end()
})

void t.test('a gateway leaves a site of two: one group replace, then its device', (t) => {
  const left = pair.filter((object) => !JSON.stringify(object).includes('ls-wg1') && object.kind !== 'group')
  t.strictSame(lines([...left, group(0, 'default s1', 0)], observed(pair)), [
    'ip nexthop replace id 0x4c001000 group 0x4c000000 type resilient buckets 64 idle_timer 10 unbalanced_timer 30 protocol 2 # default s1',
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
    'ip nexthop replace id 0x4c001000 group 0x4c0000fe type resilient buckets 64 idle_timer 10 unbalanced_timer 30 protocol 2 # default s1',
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
    'ip nexthop add id 0x4c001000 group 0x4c000000 type resilient buckets 64 idle_timer 10 unbalanced_timer 30 protocol 2 # default s1-a',
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
    'ip nexthop replace id 0x4c001000 group 0x4c000000/0x4c000001 type resilient buckets 64 idle_timer 10 unbalanced_timer 30 protocol 2 # default s1',
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
    'ip nexthop replace id 0x4c001000 group 0x4c000000/0x4c000001 type resilient buckets 64 idle_timer 10 unbalanced_timer 30 protocol 2 # default s1',
  ])
  t.end()
})

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
