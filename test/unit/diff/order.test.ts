/** The order of ops where one waits for another, as the lines that an operator would read. */
import t from 'tap'
import type { KernelObject } from '../../../agent/model/kernel-object.ts'
import { address as addressOf } from '../../../agent/model/prefix.ts'
import { lines } from '../../support/op-lines.ts'
import { carrier, observed, table, wg } from '../../support/small-state.ts'

const pair = [...carrier(0), ...carrier(1)]

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
