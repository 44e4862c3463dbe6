import t from 'tap'
import { address, prefix } from '../../../agent/model/prefix.ts'
import { gatewayWith, inputWith, linesOf, notesOf } from '../../support/plan-input.ts'
import type { InputText } from '../../support/plan-input.ts'
import { Paths } from '../../support/path-state.ts'

const aws = gatewayWith(1, 'aws-a', { prefixes: ['10.1.0.0/16', 'fd00:1::/48'] })
const gcp = (...prefixes: readonly string[]): InputText['gateways'][number] =>
  gatewayWith(2, 'gcp-a', { prefixes })

/** Routes of the overlay's table, in short. */
function routes(text: InputText, part = ''): readonly string[] {
  return linesOf(inputWith(text), ['route'], 'table 19539')
    .map((line) =>
      line
        .replace(/^ip (-6 )?route add /, '')
        .replace(' table 19539', '')
        .replace(' protocol 76', ''),
    )
    .filter((line) => line.includes(part))
}

void t.test(
  'own prefixes and connected networks are thrown, the overlay ends, the rest goes to groups',
  (t) => {
    const text: InputText = {
      gateways: [aws, gcp('10.2.0.0/16', 'fd00:2::/48')],
      links: ['eth0 192.0.2.1/24 2001:db8::1/64', 'eth1 10.1.4.1/22 fd00:1::1/64'],
      own: {
        exclude: [prefix('10.200.0.0/16')],
        registryAddresses: [address('192.0.2.99'), address('2001:db8::99')],
      },
    }
    t.same(routes(text), [
      'unreachable 100.127.0.0/16',
      'unreachable fd4c:53aa:bb00::/48',
      'throw 10.1.0.0/16',
      'throw 10.1.4.0/22',
      'throw 10.200.0.0/16',
      'throw 192.0.2.0/24',
      'throw 192.0.2.99/32',
      'throw 2001:db8::/64',
      'throw 2001:db8::99/128',
      'throw fd00:1::/48',
      'throw fd00:1::/64',
      '10.2.0.0/16 nhid 0x4c001000 src 10.1.4.1 mtu 1440',
      'fd00:2::/48 nhid 0x4c001000 src fd00:1::1 mtu 1440',
      '100.127.0.2/32 nhid 0x4c001001 mtu 1440',
      'fd4c:53aa:bb00::2/128 nhid 0x4c001001 mtu 1440',
    ])
    t.same(linesOf(inputWith(text), ['element']), [
      'nft add element inet linkspan own4_16 { 10.1.0.0 }',
      'nft add element inet linkspan own6_48 { fd00:1:: }',
      'nft add element inet linkspan remote4_16 { 100.127.0.0 }',
      'nft add element inet linkspan remote6_48 { fd4c:53aa:bb00:: }',
      'nft add element inet linkspan local4_16 { 10.1.0.0 }',
      'nft add element inet linkspan local4_22 { 10.1.4.0 }',
      'nft add element inet linkspan local4_16 { 10.200.0.0 }',
      'nft add element inet linkspan local4_24 { 192.0.2.0 }',
      'nft add element inet linkspan local6_64 { 2001:db8:: }',
      'nft add element inet linkspan local6_48 { fd00:1:: }',
      'nft add element inet linkspan local6_64 { fd00:1:: }',
      'nft add element inet linkspan remote4_16 { 10.2.0.0 }',
      'nft add element inet linkspan remote6_48 { fd00:2:: }',
    ])
    t.end()
  },
)

void t.test('a remote prefix that is not installed: no route, no AllowedIP, no guard, but a note', (t) => {
  const text: InputText = {
    gateways: [
      aws,
      gcp(
        '0.0.0.0/0',
        '10.0.0.0/8', // holds ours: installed
        '10.1.0.0/16', // equals an own-site prefix
        '10.1.9.0/24', // inside an own-site prefix: the longer one wins
        '10.1.4.0/24', // inside a connected network
        '10.200.3.0/24', // inside an excluded range
        '10.200.0.0/15', // holds an excluded range: installed
        '192.0.2.0/24', // equals a connected network
        '192.0.2.99/32', // inside it, and the registry
        '198.51.100.7/32', // the registry
        '100.127.0.9/32', // inside the overlay
        '2000::/3', // all of the IPv6 internet
        'fe80::5/128',
      ),
    ],
    links: ['eth0 192.0.2.1/24', 'eth1 10.1.4.1/22'],
    own: { exclude: [prefix('10.200.0.0/16')], registryAddresses: [address('198.51.100.7')] },
  }
  const installed = ['10.0.0.0/8', '10.1.9.0/24', '10.200.0.0/15']
  const input = inputWith(text)
  t.same(
    routes(text, 'src').map((line) => line.split(' ')[0]),
    installed,
  )
  t.same(
    linesOf(input, ['allowed-ip'])
      .slice(3)
      .map((line) => line.split('+')[1]),
    installed,
  )
  t.equal(linesOf(input, ['element'], 'remote').length, 2 + installed.length)
  t.same(
    notesOf(input).map(({ prefix, reason }) => `${prefix}: ${reason}`),
    [
      '0.0.0.0/0: a default route is used only by gateways that opt in',
      '10.1.0.0/16: our own site originates it',
      '10.1.4.0/24: lies in 10.1.4.0/22, which eth1 is connected to',
      '10.200.3.0/24: lies in 10.200.0.0/16, which `exclude:` keeps out of the overlay',
      "100.127.0.9/32: lies in the overlay's own range 100.127.0.0/16",
      '192.0.2.0/24: lies in 192.0.2.0/24, which eth0 is connected to',
      '192.0.2.99/32: lies in 192.0.2.0/24, which eth0 is connected to',
      '198.51.100.7/32: is an address of the registry or of a name server, which stays on the underlay',
      '2000::/3: a default route is used only by gateways that opt in',
      'fe80::5/128: is link-local',
    ],
  )
  t.end()
})

void t.test('the MTU of a route is the least that was found on any path', (t) => {
  const text = { gateways: [aws, gcp('10.2.0.0/16', 'fd00:2::/48')] }
  const of = (...words: readonly string[]): readonly string[] =>
    linesOf({ ...inputWith(text), paths: new Paths(words) }, ['route'], 'nhid').map(
      (line) => / mtu (\d+)/.exec(line)?.[1] ?? '',
    )
  t.same(of(), ['1440', '1440', '1440', '1440'])
  t.same(
    of('gcp-a internet mtu=1328'),
    ['1328', '1328', '1328', '1328'],
    'prefixes and overlay addresses, both families',
  )
  t.same(
    of('gcp-a internet mtu=1328', 'gcp-a internet down'),
    ['1328', '1328', '1328', '1328'],
    'whatever its state',
  )
  t.same(of('gcp-a internet mtu=9000'), ['1440', '1440', '1440', '1440'], 'never more than documents say')
  t.same(of('gcp-a internet.2 mtu=1328'), ['1440', '1440', '1440', '1440'], 'of a path there is')
  t.match(
    linesOf({ ...inputWith(text), paths: new Paths(['gcp-a internet mtu=1328']) }, ['link']),
    [/mtu 1440/],
    'the device stays',
  )
  t.end()
})

void t.test('a range of ours inside the overlay is not thrown: the overlay goes before', (t) => {
  const text: InputText = {
    gateways: [aws, gcp()],
    links: ['eth0 192.0.2.1/24', 'tail0 100.127.0.2/32', 'cgn0 100.64.3.1/10'],
  }
  t.same(routes(text, '100.'), [
    'unreachable 100.127.0.0/16',
    'throw 100.64.0.0/10',
    '100.127.0.2/32 nhid 0x4c001000 mtu 1440',
  ])
  t.match(notesOf(inputWith(text)), [{ kind: 'throw-not-installed', prefix: '100.127.0.2/32' }])
  t.end()
})

void t.test(
  'an endpoint inside an advertised prefix, and a static 10.0.0.0/8 in main, change nothing here',
  (t) => {
    // WireGuard's packets carry a mark whose rule stands before; a static route is no connected network.
    const gateways = [
      aws,
      gatewayWith(2, 'gcp-a', { prefixes: ['10.2.0.0/16'], endpoints: ['internet 10.2.0.1'] }),
    ]
    const text: InputText = {
      gateways,
      facts: {
        routes: [{ prefix: prefix('10.0.0.0/8'), link: 'eth0', via: address('192.0.2.254'), metric: 0 }],
      },
    }
    t.same(routes(text, '10.2'), ['10.2.0.0/16 nhid 0x4c001000 mtu 1440'])
    t.match(linesOf(inputWith(text), ['peer']), [/endpoint 10\.2\.0\.1:51820/])
    t.end()
  },
)

void t.test('the source: an own address inside an own prefix, the same in every pass', (t) => {
  const src = (links: readonly string[], own: InputText['own'] = {}): string | undefined => {
    const [route = ''] = routes({ gateways: [aws, gcp('10.2.0.0/16')], links, own }, '10.2.')
    return / src (\S+)/.exec(route)?.[1]
  }
  t.equal(src(['eth0 192.0.2.1/24']), undefined, 'none: the overlay address of the device')
  t.equal(src(['eth0 192.0.2.1/24', 'eth1 10.1.0.9/24', 'eth2 10.1.9.1/24 10.1.0.10/24']), '10.1.0.9')
  t.equal(src(['eth2 10.1.9.1/24 10.1.0.10/24', 'eth1 10.1.0.9/24']), '10.1.0.9', 'in any order')
  t.equal(src(['eth1 10.1.0.9/24', 'eth2 10.1.9.1/24'], { interfaces: ['eth2'] }), '10.1.9.1')
  t.equal(
    src(['eth1 10.1.0.9/24 down', 'eth2 10.1.9.1/24']),
    '10.1.9.1',
    'the kernel refuses one that is down',
  )
  t.end()
})
