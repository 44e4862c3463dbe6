/** Lines of ops that the tests of diff do not show, and the names of objects in messages. */
import t from 'tap'
import { formatObject, formatOp } from '../../../agent/model/op-text.ts'
import type { KernelObject } from '../../../agent/model/kernel-object.ts'
import { address, prefix } from '../../../agent/model/prefix.ts'
import { allowed, device, group, key, nexthop, peer, route, table, wg } from '../../support/small-state.ts'

void t.test('replacements of links show what changes and nothing else', (t) => {
  const cases: readonly (readonly [KernelObject, KernelObject, string])[] = [
    [wg(0, { mtu: 1380 }), wg(0), 'ip link set dev ls-wg0 mtu 1380'],
    [wg(0), wg(0, { up: false, group: 0 }), 'ip link set dev ls-wg0 group 19539 up'],
    [wg(0), wg(0, { master: 'br0' }), 'ip link set dev ls-wg0 nomaster'],
    [wg(0, { alias: 'a b' }), wg(0), "ip link set dev ls-wg0 alias 'a b'"],
    [wg(0, { mac: '02:4c:53:00:00:01' }), wg(0), 'ip link set dev ls-wg0 address 02:4c:53:00:00:01'],
    [wg(0, { up: false }), wg(0), 'ip link set dev ls-wg0 down'],
  ]
  for (const [object, before, line] of cases) t.equal(formatOp({ verb: 'replace', object, before }), line)
  t.end()
})

void t.test('an alias cannot break out of its quotes', (t) => {
  const object = wg(0, { alias: "it's $(reboot)" })
  t.match(formatOp({ verb: 'add', object }), String.raw`alias 'it'\''s $(reboot)'`)
  t.end()
})

void t.test('removals', (t) => {
  const cases: readonly (readonly [KernelObject, string])[] = [
    [wg(0, { type: 'tun' }), 'ip link delete dev ls-wg0 # ends its wireguard-go'],
    [{ kind: 'port', link: 'eth1', master: 'ls-br7001' }, 'ip link set dev eth1 nomaster # was in ls-br7001'],
    [
      { kind: 'fdb', link: 'ls-vx7001', mac: '00:00:00:00:00:00', dst: address('100.127.0.2') },
      'bridge fdb delete 00:00:00:00:00:00 dev ls-vx7001 dst 100.127.0.2',
    ],
    [{ kind: 'address', link: 'ls-wg0', address: 'fe80::1/64' }, 'ip address delete fe80::1/64 dev ls-wg0'],
    [
      { kind: 'element', set: 'own4_16', key: '10.1.0.0' },
      'nft delete element inet linkspan own4_16 { 10.1.0.0 }',
    ],
    [route('fd00:2::/48', 0), 'ip -6 route delete fd00:2::/48 table 19539 protocol 76'],
    [allowed(0, 'a', '10.1.0.0/16'), `wg set ls-wg0 peer ${key('a')} allowed-ips -10.1.0.0/16`],
    [nexthop(0), 'ip nexthop delete id 0x4c000000'],
  ]
  for (const [object, line] of cases) t.equal(formatOp({ verb: 'remove', object }), line)
  t.end()
})

void t.test('weights, families, sources', (t) => {
  const { kind, id } = group(0, 'x')
  const weighted: KernelObject = {
    kind,
    id,
    members: [
      { id: 1, weight: 1 },
      { id: 2, weight: 3 },
    ],
  }
  const lines = [
    weighted,
    { ...nexthop(0), family: 4 as const },
    route('fd00:2::/48', 0, { src: address('fd00:1::1') }),
    { kind: 'rule', family: 6, priority: 19531, action: 'lookup', table: 19539 } as const,
  ].map((object) => formatOp({ verb: 'add', object }))
  t.strictSame(lines, [
    'ip nexthop add id 0x4c001000 group 0x1/0x2,3 type resilient buckets 64 idle_timer 10 unbalanced_timer 30 protocol 2',
    'ip nexthop add id 0x4c000000 dev ls-wg0 protocol 2',
    'ip -6 route add fd00:2::/48 table 19539 nhid 0x4c001000 protocol 76 src fd00:1::1 mtu 1440',
    'ip -6 rule add priority 19531 lookup 19539 protocol 76',
  ])
  t.end()
})

void t.test('objects in messages', (t) => {
  const objects: readonly KernelObject[] = [
    wg(0),
    { kind: 'port', link: 'eth1', master: 'ls-br7001' },
    device(0),
    peer(0, 'aws-a'),
    allowed(0, 'aws-a', '10.1.0.0/16'),
    { kind: 'address', link: 'ls-wg0', address: 'fe80::1/64' },
    { kind: 'fdb', link: 'ls-vx7001', mac: '00:00:00:00:00:00', dst: address('100.127.0.2') },
    nexthop(0),
    group(0, 'default aws aws-a'),
    { kind: 'route', table: 19539, prefix: prefix('10.0.0.0/8'), type: 'throw' },
    { kind: 'sysctl', name: 'net/ipv4/conf/eth0/rp_filter', value: '2' },
    table([], 'x'),
    { kind: 'element', set: 'own4_16', key: '10.1.0.0' },
  ]
  t.strictSame(objects.map(formatObject), [
    'link ls-wg0',
    'port eth1 of ls-br7001',
    'WireGuard device ls-wg0',
    'peer aws-a on ls-wg0',
    'allowed IP 10.1.0.0/16 on ls-wg0',
    'address fe80::1/64 on ls-wg0',
    'fdb entry 00:00:00:00:00:00 to 100.127.0.2 on ls-vx7001',
    'nexthop 0x4c000000 on ls-wg0',
    'nexthop group 0x4c001000 (default aws aws-a)',
    'route throw 10.0.0.0/8 in table 19539',
    'sysctl net/ipv4/conf/eth0/rp_filter',
    'nft table inet linkspan',
    'element 10.1.0.0 of nft set own4_16',
  ])
  t.end()
})
