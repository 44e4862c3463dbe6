import t from 'tap'
import { sitePrefixes } from '../../../agent/daemon/site-prefix.ts'
import type { SiteLinks } from '../../../agent/daemon/site-prefix.ts'
import { address, prefix } from '../../../agent/model/prefix.ts'
import { linkWith } from '../../support/plan-input.ts'

const links = [
  'eth0 198.51.100.5/24 default',
  'eth1 10.1.0.1/24 fd00:1::1/64',
  'eth2 10.1.0.129/25 10.2.0.1/16',
  'docker0 172.17.0.1/16',
  'br-0123456789ab 172.18.0.1/16',
  'virbr0 192.168.122.1/24',
  'eth3 10.200.0.1/24',
  'eth4 127.9.0.1/24',
]

function asked(change: Partial<SiteLinks> = {}): readonly string[] {
  const facts = {
    links: links.map((link, i) => linkWith(link, i)),
    routes: [],
    ipv6: true,
    features: { wireguard: true },
  }
  return sitePrefixes({ endpoints: [], exclude: [], ...change }, facts)
}

void t.test('the networks of the site links', (t) => {
  t.same(
    asked(),
    ['10.1.0.0/24', '10.2.0.0/16', '10.200.0.0/24', 'fd00:1::/64'],
    'none of an underlay, of containers, inside another, or reserved',
  )
  const endpoint = { underlay: 'dx', port: 51820 }
  t.same(
    asked({ endpoints: [{ ...endpoint, address: address('10.200.0.1') }] }).includes('10.200.0.0/24'),
    false,
  )
  t.same(asked({ endpoints: [{ ...endpoint, interface: 'eth3' }] }).includes('10.200.0.0/24'), false)
  t.same(asked({ exclude: [prefix('10.0.0.0/8')] }), ['fd00:1::/64'])
  t.same(asked({ interfaces: ['docker0'] }), ['172.17.0.0/16'], 'those configured, whatever their names')
  t.same(asked({ interfaces: ['eth0'] }), ['198.51.100.0/24'])
  t.end()
})
