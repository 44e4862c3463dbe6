import t from 'tap'
import type { OwnEndpoint } from '../../../agent/model/own.ts'
import { address, prefix } from '../../../agent/model/prefix.ts'
import { boundLinks, sidesOf } from '../../../agent/plan/underlay.ts'
import { gatewayWith, inputWith, linesOf } from '../../support/plan-input.ts'

const two = { underlays: [{ name: 'internet' }, { name: 'dx' }], prefer: ['dx', 'internet'] }
const links = ['dx0 10.9.0.1/30', 'eth0 192.0.2.1/24 default']
const internet: OwnEndpoint = { underlay: 'internet', port: 51820, address: address('192.0.2.1') }
const dx: OwnEndpoint = { underlay: 'dx', port: 51820, address: address('10.9.0.1') }

function bound(endpoints: readonly OwnEndpoint[]): readonly string[] {
  const { own, facts, snapshot } = inputWith({
    gateways: [gatewayWith(1, 'aws-a')],
    fabric: two,
    links,
    own: { endpoints },
  })
  return [
    ...sidesOf(own, snapshot.fabric, facts).map(
      (side) => `${side.name} ${side.links.join(',')} ${side.bound ?? '-'}`,
    ),
    `routes of ${boundLinks(own, snapshot.fabric, facts).join(',')}`,
  ]
}

void t.test('which underlay is bound to which link', (t) => {
  t.same(bound([internet]), ['internet eth0 -', 'routes of '], 'one underlay: not bound')
  t.same(bound([internet, dx]), ['dx dx0 dx0', 'internet eth0 eth0', 'routes of dx0,eth0'])
  t.same(
    bound([{ ...internet, address: address('203.0.113.1') }, dx]),
    ['dx dx0 dx0', 'internet eth0 -', 'routes of dx0'],
    'its address is not on a link of ours: not bound',
  )
  t.same(bound([{ ...internet, interface: 'eth0' }]), ['internet eth0 eth0', 'routes of eth0'])
  t.same(
    bound([{ ...internet, interface: 'wan0' }]),
    ['internet  wan0', 'routes of wan0'],
    'a link that is not there',
  )
  t.end()
})

void t.test('a bound underlay has rules and a table of its own, which ends in blackhole', (t) => {
  const input = inputWith({
    gateways: [gatewayWith(1, 'aws-a'), gatewayWith(2, 'gcp-a', { endpoints: ['dx 10.9.8.2'] })],
    fabric: two,
    links,
    own: { endpoints: [internet, dx] },
    facts: {
      routes: [
        { prefix: prefix('10.9.0.0/30'), link: 'dx0', metric: 0 },
        { prefix: prefix('10.9.8.0/24'), link: 'dx0', via: address('10.9.0.1'), metric: 100 },
        { prefix: prefix('10.9.8.0/24'), link: 'dx0', via: address('10.9.0.2'), metric: 100 },
        { prefix: prefix('0.0.0.0/0'), link: 'eth0', via: address('192.0.2.254'), metric: 0 },
        { prefix: prefix('2001:db8::/64'), link: 'eth0', metric: 1024 },
      ],
    },
  })
  t.same(linesOf(input, ['route'], 'table 19540'), [
    'ip route add 0.0.0.0/0 table 19540 via 192.0.2.254 dev eth0 protocol 76',
    'ip -6 route add 2001:db8::/64 table 19540 dev eth0 protocol 76',
    'ip route add blackhole 0.0.0.0/0 table 19540 protocol 76 metric 2147483647',
    'ip -6 route add blackhole ::/0 table 19540 protocol 76 metric 2147483647',
  ])
  t.same(linesOf(input, ['route'], 'table 19541'), [
    'ip route add 10.9.0.0/30 table 19541 dev dx0 protocol 76',
    'ip route add 10.9.8.0/24 table 19541 via 10.9.0.1 dev dx0 protocol 76 metric 100',
    'ip route add blackhole 0.0.0.0/0 table 19541 protocol 76 metric 2147483647',
    'ip -6 route add blackhole ::/0 table 19541 protocol 76 metric 2147483647',
  ])
  t.same(linesOf(input, ['rule']).slice(0, 4), [
    'ip rule add priority 19529 fwmark 0x4c5300/0xffffffff lookup 19540 protocol 76',
    'ip rule add priority 19529 fwmark 0x4c5301/0xffffffff lookup 19541 protocol 76',
    'ip rule add priority 19530 fwmark 0x4c5300/0xffffff00 blackhole protocol 76',
    'ip rule add priority 19531 lookup 19539 protocol 76',
  ])
  t.end()
})

void t.test('rules of an underlay that is not bound; one family where the host has no IPv6', (t) => {
  const gateways = [gatewayWith(1, 'aws-a'), gatewayWith(2, 'gcp-a')]
  t.same(linesOf(inputWith({ gateways, facts: { ipv6: false } }), ['rule']), [
    'ip rule add priority 19529 fwmark 0x4c5300/0xffffffff lookup main protocol 76',
    'ip rule add priority 19530 fwmark 0x4c5300/0xffffff00 blackhole protocol 76',
    'ip rule add priority 19531 lookup 19539 protocol 76',
  ])
  t.equal(linesOf(inputWith({ gateways }), ['rule'], 'ip -6').length, 3)
  t.end()
})
