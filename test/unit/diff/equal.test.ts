/** What diff takes for the same thing, and for the same condition of it. */
import t from 'tap'
import { overlayTable } from '../../../agent/model/kernel-number.ts'
import type { KernelObject, Peer } from '../../../agent/model/kernel-object.ts'
import { address as addressOf, prefix } from '../../../agent/model/prefix.ts'
import { lines, nowSeconds } from '../../support/op-lines.ts'
import { group, key, nexthop, observed, peer } from '../../support/small-state.ts'

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
