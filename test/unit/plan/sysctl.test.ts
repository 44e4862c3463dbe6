import t from 'tap'
import { gatewayWith, inputWith, linesOf } from '../../support/plan-input.ts'
import type { InputText } from '../../support/plan-input.ts'

const gateways = [gatewayWith(1, 'aws-a', { prefixes: ['10.1.0.0/16'] }), gatewayWith(2, 'gcp-a')]

function values(text: Partial<InputText>): readonly string[] {
  return linesOf(inputWith({ gateways, ...text }), ['sysctl']).map((line) =>
    line.replace('sysctl -w net/', ''),
  )
}

void t.test('forwarding on ours and the site, loose reverse path on ours and the underlay', (t) => {
  t.same(
    values({
      links: ['eth0 192.0.2.1/24', 'eth1.100 10.1.0.1/24', 'docker0 172.17.0.1/16'],
      facts: { ipv6: false },
    }),
    [
      'ipv4/conf/eth1.100/forwarding=1',
      'ipv4/conf/ls-wg0/forwarding=1',
      'ipv4/conf/eth0/rp_filter=2',
      'ipv4/conf/ls-wg0/rp_filter=2',
      'ipv4/conf/all/send_redirects=0',
      'ipv4/fib_multipath_hash_policy=1',
    ],
  )
  t.end()
})

void t.test('one link for all; links by configuration, if they exist', (t) => {
  t.same(values({ links: ['eth0 10.1.0.1/24 default'] }).slice(0, 4), [
    'ipv4/conf/eth0/forwarding=1',
    'ipv4/conf/ls-wg0/forwarding=1',
    'ipv4/conf/eth0/rp_filter=2',
    'ipv4/conf/ls-wg0/rp_filter=2',
  ])
  t.same(
    values({ links: ['eth0 10.1.0.1/24 default', 'lan0'], own: { interfaces: ['lan0', 'lan1'] } }).slice(
      0,
      2,
    ),
    ['ipv4/conf/lan0/forwarding=1', 'ipv4/conf/ls-wg0/forwarding=1'],
  )
  t.end()
})

void t.test('accept_ra 2 before IPv6 forwarding, where the link listens to routers', (t) => {
  const links = [
    'eth0 192.0.2.1/24 ra=1',
    'eth1 2001:db8::1/64 ra=0',
    'eth2 ra=2',
    'eth3 2001:db8:1::1/64',
    'eth4',
  ]
  t.same(
    values({ links }).filter((line) => line.startsWith('ipv6')),
    [
      'ipv6/fib_multipath_hash_policy=1',
      'ipv6/conf/eth0/accept_ra=2',
      'ipv6/conf/eth2/accept_ra=2',
      'ipv6/conf/eth3/accept_ra=2',
      'ipv6/conf/all/forwarding=1',
    ],
  )
  t.end()
})
