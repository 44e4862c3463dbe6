/** Conflicts: what is said of them, and what is left out. */
import t from 'tap'
import { formatReason } from '../../../agent/errors.ts'
import { diff } from '../../../agent/diff/diff.ts'
import { formatOp } from '../../../agent/model/op-text.ts'
import { nexthopId, overlayTable } from '../../../agent/model/kernel-number.ts'
import type { KernelObject } from '../../../agent/model/kernel-object.ts'
import { prefix } from '../../../agent/model/prefix.ts'
import { carrier, exempt, group, host, observed, remoteSite, route, wg } from '../../support/small-state.ts'

const desired = [
  ...host,
  ...carrier(0),
  ...carrier(1),
  ...remoteSite(0, 0, 's1-a', '10.1.0.0/16'),
  ...remoteSite(1, 1, 's2-a', '10.2.0.0/16'),
  group(2, 'default s3', 0, 1),
  route('10.3.0.0/16', 2),
]

function run(
  foreign: readonly KernelObject[],
  seen: readonly KernelObject[] = [],
): { conflicts: readonly string[]; lines: readonly string[] } {
  const { ops, conflicts } = diff(desired, [...foreign, ...seen], { nowSeconds: 0 })
  return { conflicts: conflicts.map(formatReason), lines: ops.map(formatOp) }
}

/** Lines that are there without the conflict and not with it, and the other way round. */
function change(foreign: readonly KernelObject[]): {
  conflicts: readonly string[]
  left: readonly string[]
  more: readonly string[]
} {
  const all = run([]).lines
  const { conflicts, lines } = run(foreign)
  return {
    conflicts,
    left: all.filter((line) => !lines.includes(line)).map(short),
    more: lines.filter((line) => !all.includes(line)).map(short),
  }
}

/** The first words, without keys. */
function short(line: string): string {
  return line.replace(/ type resilient.*| protocol.*| && .*| # .*/, '').replace(/peer \S+/, 'peer KEY')
}

void t.test('a link', (t) => {
  const holder = wg(1, { type: 'other', group: 0 })
  t.strictSame(change([holder]), {
    conflicts: [
      'link ls-wg1: somebody else has link ls-wg1 (type other, group 0); left out with it: 5 objects that need it (rename it (ip link set dev ls-wg1 name NEW) or delete it)',
    ],
    left: [
      'ip link add name ls-wg1 mtu 1440 group 19539 type wireguard',
      'wg set ls-wg1 listen-port 51821 fwmark 0x4c5300',
      'ip address add 100.127.0.1/32 dev ls-wg1',
      'wg set ls-wg1 peer KEY endpoint 192.0.2.2:51820 persistent-keepalive 25',
      'wg set ls-wg1 peer KEY allowed-ips +10.2.0.0/16',
      'ip -6 nexthop add id 0x4c000001 dev ls-wg1',
      'ip nexthop add id 0x4c001001 group 0x4c000001',
      'ip nexthop add id 0x4c001002 group 0x4c000000/0x4c000001',
    ],
    // A group without members leads nowhere, and says so; the others go on.
    more: ['ip nexthop add id 0x4c001001 group 0x4c0000fe', 'ip nexthop add id 0x4c001002 group 0x4c000000'],
  })
  t.end()
})

void t.test('what sits on their link stays theirs', (t) => {
  const theirs: readonly KernelObject[] = [
    wg(7, { group: 0 }),
    { kind: 'address', link: 'ls-wg7', address: '192.0.2.1/24' },
    { kind: 'device', name: 'ls-wg7', publicKey: 'X' as never, listenPort: 1, fwmark: 0 },
  ]
  t.strictSame(run(theirs, observed(desired)), { conflicts: [], lines: [] })
  t.strictSame(diff([], theirs, { nowSeconds: 0 }).ops, [])
  t.end()
})

void t.test('wireguard-go: a tun that the state directory lists is ours before it is in the group', (t) => {
  const { ops, conflicts } = diff([wg(0, { type: 'tun' })], [wg(0, { type: 'tun', group: 0, ours: true })], {
    nowSeconds: 0,
  })
  t.strictSame(conflicts, [])
  t.strictSame(ops.map(formatOp), ['ip link set dev ls-wg0 group 19539'])
  t.end()
})

void t.test('the id of a nexthop', (t) => {
  const holder: KernelObject = {
    kind: 'nexthop',
    id: nexthopId.device(0),
    family: 4,
    device: 'eth0',
    protocol: 186,
  }
  t.strictSame(change([holder]), {
    conflicts: [
      'nexthop 0x4c000000 on ls-wg0: somebody else has nexthop 0x4c000000 on eth0 (protocol 186) (find out who made it (ip nexthop show) and give it another id)',
    ],
    left: [
      'ip -6 nexthop add id 0x4c000000 dev ls-wg0',
      'ip nexthop add id 0x4c001000 group 0x4c000000',
      'ip nexthop add id 0x4c001002 group 0x4c000000/0x4c000001',
    ],
    more: ['ip nexthop add id 0x4c001000 group 0x4c0000fe', 'ip nexthop add id 0x4c001002 group 0x4c000001'],
  })
  t.end()
})

void t.test('the id of a group takes its routes along', (t) => {
  const holder: KernelObject = {
    kind: 'nexthop',
    id: nexthopId.firstGroup,
    family: 4,
    blackhole: true,
    protocol: 186,
  }
  t.strictSame(change([holder]), {
    conflicts: [
      'nexthop group 0x4c001000 (default s1-a): somebody else has nexthop 0x4c001000 (protocol 186); left out with it: 1 object that needs it (find out who made it (ip nexthop show) and give it another id)',
    ],
    left: [
      'ip nexthop add id 0x4c001000 group 0x4c000000',
      'ip route add 10.1.0.0/16 table 19539 nhid 0x4c001000',
    ],
    more: [],
  })
  // One that is not resilient cannot be replaced by ours, even if it says that the kernel made it.
  const other: KernelObject = { kind: 'group', id: nexthopId.firstGroup, members: [], otherType: true }
  t.match(change([other]).conflicts, [/somebody else has nexthop group 0x4c001000 \(not resilient\);/])
  t.end()
})

void t.test('a route, by prefix and metric', (t) => {
  const holder: KernelObject = {
    kind: 'route',
    table: overlayTable,
    prefix: prefix('10.1.0.0/16'),
    type: 'unicast',
    nexthop: 7,
    protocol: 4,
  }
  t.strictSame(change([holder]), {
    conflicts: [
      'route 10.1.0.0/16 in table 19539: somebody else has route 10.1.0.0/16 in table 19539 (protocol 4) (remove it (ip route show table 19539))',
    ],
    left: ['ip route add 10.1.0.0/16 table 19539 nhid 0x4c001000'],
    more: [],
  })
  t.strictSame(change([{ ...holder, metric: 5 }]), { conflicts: [], left: [], more: [] })
  t.end()
})

void t.test('the priority of a rule; without the exemption nobody enters the overlay', (t) => {
  const holder: KernelObject = {
    kind: 'rule',
    family: 4,
    priority: 19529,
    action: 'lookup',
    table: 9,
    protocol: 3,
  }
  t.strictSame(change([holder]), {
    conflicts: [
      'IPv4 rule 19529: fwmark 0x4c5300/0xffffffff lookup main: somebody else has IPv4 rule 19529: lookup 9 (protocol 3); left out with it: 1 object that needs it (give that rule another priority (ip rule show))',
    ],
    left: [
      'ip rule add priority 19529 fwmark 0x4c5300/0xffffffff lookup main',
      'ip rule add priority 19531 lookup 19539',
    ],
    more: [],
  })
  t.strictSame(change([{ ...holder, family: 6 }]), { conflicts: [], left: [], more: [] })
  t.strictSame(run([holder], observed([exempt])).conflicts, [], 'ours is in place already')
  t.end()
})
