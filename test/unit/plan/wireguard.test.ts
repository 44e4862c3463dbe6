import t from 'tap'
import { prefix } from '../../../agent/model/prefix.ts'
import { gatewayWith, inputWith, linesOf, objectsOf } from '../../support/plan-input.ts'

void t.test('single-gateway sites on one underlay: one device', (t) => {
  const input = inputWith({
    gateways: [
      gatewayWith(1, 'aws-a', { prefixes: ['10.1.0.0/16'] }),
      gatewayWith(2, 'gcp-a', { prefixes: ['10.2.0.0/16', 'fd00:2::/48'] }),
      gatewayWith(300, 'azure-a', { endpoints: ['internet -'] }),
    ],
  })
  t.same(linesOf(input, ['link', 'device', 'address', 'peer', 'allowed-ip']), [
    "ip link add name ls-wg0 mtu 1440 group 19539 type wireguard && ip link set dev ls-wg0 alias 'linkspan test: gateways of plane 0 over internet' up",
    'wg set ls-wg0 listen-port 51820 fwmark 0x4c5300 # public key aws-a/0',
    'ip address add 100.127.0.1/32 dev ls-wg0',
    'ip address add fd4c:53aa:bb00::1/128 dev ls-wg0',
    'ip address add fe80::1/64 dev ls-wg0',
    'wg set ls-wg0 peer azure-a/0 persistent-keepalive 25 # azure-a',
    'wg set ls-wg0 peer azure-a/0 allowed-ips +100.127.1.44/32',
    'wg set ls-wg0 peer azure-a/0 allowed-ips +fd4c:53aa:bb00::12c/128',
    'wg set ls-wg0 peer azure-a/0 allowed-ips +fe80::12c/128',
    'wg set ls-wg0 peer gcp-a/0 endpoint 192.0.2.2:51820 persistent-keepalive 25 # gcp-a',
    'wg set ls-wg0 peer gcp-a/0 allowed-ips +100.127.0.2/32',
    'wg set ls-wg0 peer gcp-a/0 allowed-ips +fd4c:53aa:bb00::2/128',
    'wg set ls-wg0 peer gcp-a/0 allowed-ips +fe80::2/128',
    'wg set ls-wg0 peer gcp-a/0 allowed-ips +10.2.0.0/16',
    'wg set ls-wg0 peer gcp-a/0 allowed-ips +fd00:2::/48',
  ])
  t.end()
})

void t.test('a device exists only while it holds a peer', (t) => {
  t.same(linesOf(inputWith({ gateways: [gatewayWith(1, 'aws-a')] }), ['link', 'device', 'address']), [])
  const left = [gatewayWith(1, 'aws-a'), gatewayWith(2, 'gcp-a', { state: 'withdrawn' })]
  t.same(linesOf(inputWith({ gateways: left }), ['link', 'peer', 'allowed-ip', 'group']), [])
  t.end()
})

void t.test('two gateways of a site sit on two devices, with the same AllowedIPs', (t) => {
  const input = inputWith({
    gateways: [
      gatewayWith(1, 'aws-a', { generation: 1, endpoints: ['internet 192.0.2.1 7000'] }),
      gatewayWith(2, 'gcp-a', { prefixes: ['10.2.0.0/16'] }),
      gatewayWith(3, 'gcp-b', { plane: 1, prefixes: ['10.2.0.0/16'] }),
    ],
  })
  t.same(linesOf(input, ['device']), [
    'wg set ls-wg32 listen-port 7032 fwmark 0x4c5300 # public key aws-a/32',
    'wg set ls-wg33 listen-port 7033 fwmark 0x4c5300 # public key aws-a/33',
  ])
  t.same(
    linesOf(input, ['peer', 'allowed-ip'], ' peer').filter((line) => /endpoint|10\.2/.test(line)),
    [
      'wg set ls-wg32 peer gcp-a/4 endpoint 192.0.2.2:51824 persistent-keepalive 25 # gcp-a',
      'wg set ls-wg32 peer gcp-a/4 allowed-ips +10.2.0.0/16',
      'wg set ls-wg33 peer gcp-b/4 endpoint 192.0.2.3:51824 persistent-keepalive 25 # gcp-b',
      'wg set ls-wg33 peer gcp-b/4 allowed-ips +10.2.0.0/16',
    ],
  )
  t.end()
})

void t.test('gateways of one site peer with overlay addresses only', (t) => {
  const input = inputWith({
    gateways: [
      gatewayWith(1, 'aws-a', { prefixes: ['10.1.0.0/16'] }),
      gatewayWith(2, 'aws-b', { plane: 1, prefixes: ['10.1.0.0/16', '10.11.0.0/16'] }),
    ],
  })
  t.same(linesOf(input, ['allowed-ip']), [
    'wg set ls-wg1 peer aws-b/0 allowed-ips +100.127.0.2/32',
    'wg set ls-wg1 peer aws-b/0 allowed-ips +fd4c:53aa:bb00::2/128',
    'wg set ls-wg1 peer aws-b/0 allowed-ips +fe80::2/128',
  ])
  t.same(linesOf(input, ['route'], '10.11'), ['ip route add throw 10.11.0.0/16 table 19539 protocol 76'])
  t.end()
})

void t.test('two underlays: two peers, each knows the other address', (t) => {
  const input = inputWith({
    gateways: [
      gatewayWith(1, 'aws-a', { endpoints: ['internet 192.0.2.1', 'dx 10.9.0.1'] }),
      gatewayWith(2, 'gcp-a', { endpoints: ['internet 192.0.2.2', 'internet 2001:db8::2', 'dx 10.9.0.2'] }),
    ],
    fabric: { underlays: [{ name: 'internet' }, { name: 'dx', mtu: 9000 }], prefer: ['dx', 'internet'] },
    links: ['eth0 192.0.2.1/24', 'dx0 10.9.0.1/24 mtu=9001'],
  })
  const peers = objectsOf(input).flatMap((object) => (object.kind === 'peer' ? [object] : []))
  t.same(
    peers.map(({ device, endpoint, elsewhere }) => `${device} ${endpoint} not ${elsewhere?.join(' ')}`),
    ['ls-wg8 10.9.0.2:51828 not 192.0.2.2 2001:db8::2', 'ls-wg0 192.0.2.2:51820 not 10.9.0.2'],
  )
  t.match(linesOf(input, ['link']), [/ls-wg0 mtu 1440/, /ls-wg8 mtu 8940/])
  t.match(linesOf(input, ['device']), [
    /listen-port 51820 fwmark 0x4c5300/,
    /listen-port 51828 fwmark 0x4c5301/,
  ])
  t.end()
})

void t.test('MTU of a device: the greatest of its peers', (t) => {
  const input = inputWith({
    gateways: [
      gatewayWith(1, 'aws-a'),
      gatewayWith(2, 'gcp-a', { endpoints: ['internet 192.0.2.2 51820 1400'] }),
      gatewayWith(3, 'azure-a', { endpoints: ['internet 192.0.2.3 51820 1460'] }),
    ],
  })
  t.match(linesOf(input, ['link']), [/ls-wg0 mtu 1400 /])
  t.match(linesOf(input, ['route'], '100.127.0.2/32'), [/ mtu 1340/])
  t.match(linesOf(input, ['route'], '100.127.0.3/32'), [/ mtu 1400/])
  t.end()
})

void t.test('an IPv6 endpoint is written in brackets', (t) => {
  const input = inputWith({
    gateways: [
      gatewayWith(1, 'aws-a', { endpoints: ['internet 2001:db8::1'] }),
      gatewayWith(2, 'gcp-a', { endpoints: ['internet 2001:db8::2'] }),
    ],
  })
  t.match(linesOf(input, ['peer']), [/endpoint \[2001:db8::2\]:51820/])
  t.end()
})

void t.test('without IPv6, without kernel WireGuard, without an IPv4 overlay', (t) => {
  const gateways = [gatewayWith(1, 'aws-a'), gatewayWith(2, 'gcp-a', { prefixes: ['fd00:2::/48'] })]
  const four = inputWith({ gateways, facts: { ipv6: false, features: { wireguard: false } } })
  t.match(linesOf(four, ['link']), [/^wireguard-go ls-wg0 /])
  t.same(linesOf(four, ['address', 'allowed-ip', 'nexthop']), [
    'ip address add 100.127.0.1/32 dev ls-wg0',
    'ip nexthop add id 0x4c000040 dev ls-wg0 protocol 2',
    'ip nexthop add id 0x4c0000ff blackhole protocol 2',
    'wg set ls-wg0 peer gcp-a/0 allowed-ips +100.127.0.2/32',
  ])
  const six = inputWith({ gateways, fabric: { overlay: { ipv6: prefix('fd4c::/64') } } })
  t.same(linesOf(six, ['address']), [
    'ip address add fd4c::1/128 dev ls-wg0',
    'ip address add fe80::1/64 dev ls-wg0',
  ])
  t.end()
})
