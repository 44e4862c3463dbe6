/** Conformance: which addresses a gateway may originate, where it may be reached, and which networks it may join. */
import type { GatewayRecord } from '../../agent/model/fabric.ts'
import { address, prefix } from '../../agent/model/prefix.ts'
import { advertising, gateway, one } from './conformance.ts'
import type { Row } from './conformance.ts'
import { fabricDocument as fabric } from './documents.ts'

/** Nobody may have it: neither certified nor advertised. */
const forbidden = (rule: Row['rule'], what: string, of: string): Row => ({
  rule,
  what: `${what}: ${of}`,
  documents: advertising(of, of),
  verdict: { left: 'g1 g2', refused: `${rule} g2, ${rule} g2`, prefixes: { g1: '10.1.0.0/16', g2: '' } },
})

const certified: readonly Row[] = [
  {
    rule: 'certified',
    what: 'a prefix that is not in the certificate, alone',
    documents: advertising('10.2.0.0/16', '10.2.0.0/16 10.9.0.0/16'),
    verdict: { left: 'g1 g2', refused: 'certified g2', prefixes: { g2: '10.2.0.0/16' } },
  },
  {
    rule: 'certified',
    what: 'the prefix of another gateway',
    documents: advertising('10.2.0.0/16', '10.1.0.0/16'),
    verdict: { left: 'g1 g2', refused: 'certified g2', prefixes: { g1: '10.1.0.0/16', g2: '' } },
  },
  {
    rule: 'certified',
    what: 'a more-specific without maxLength',
    documents: advertising('10.2.0.0/16', '10.2.5.0/24'),
    verdict: { left: 'g1 g2', refused: 'certified g2', prefixes: { g2: '' } },
  },
  {
    rule: 'certified',
    what: 'a more-specific beyond maxLength, and one within it',
    documents: advertising('10.2.0.0/16 up to 24', '10.2.5.0/24 10.2.6.0/25'),
    verdict: { left: 'g1 g2', refused: 'certified g2', prefixes: { g2: '10.2.5.0/24' } },
  },
  {
    rule: 'certified',
    what: 'more than what is certified',
    documents: advertising('10.2.0.0/16 up to 24', '10.0.0.0/8'),
    verdict: { left: 'g1 g2', refused: 'certified g2', prefixes: { g2: '' } },
  },
  {
    rule: 'certified',
    what: 'the other family',
    documents: advertising('10.2.0.0/16', 'fd00:2::/48'),
    verdict: { left: 'g1 g2', refused: 'certified g2', prefixes: { g2: '' } },
  },
  {
    rule: 'certified',
    what: 'certified, and not advertised',
    documents: [...one, ...gateway(2, {}, { prefixes: [] })],
    verdict: { left: 'g1 g2', prefixes: { g2: '' } },
  },
]

const routes: readonly Row[] = [
  ...['0.0.0.0/0', '0.0.0.0/1', '128.0.0.0/1', '::/0', '::/1', '8000::/1', '2000::/3'].map((of) =>
    forbidden('default-route', 'without the grant', of),
  ),
  {
    rule: 'default-route',
    what: 'with the grant',
    documents: advertising('0.0.0.0/0', '0.0.0.0/0', { grants: ['defaultRoute'] }),
    verdict: { left: 'g1 g2', prefixes: { g2: '0.0.0.0/0' } },
  },
  {
    rule: 'default-route',
    what: 'with the grant, and no such prefix in the certificate',
    documents: advertising('10.2.0.0/16', '0.0.0.0/0', { grants: ['defaultRoute'] }),
    verdict: { left: 'g1 g2', refused: 'certified g2', prefixes: { g2: '' } },
  },
  {
    rule: 'default-route',
    what: 'the halves, out of a default route with the grant',
    documents: advertising('0.0.0.0/0 up to 1', '0.0.0.0/1 128.0.0.0/1', { grants: ['defaultRoute'] }),
    verdict: { left: 'g1 g2', prefixes: { g2: '0.0.0.0/1 128.0.0.0/1' } },
  },
]

const reserved: readonly Row[] = [
  forbidden('reserved', 'loopback', '127.0.0.0/8'),
  forbidden('reserved', 'an address of loopback', '127.0.0.53/32'),
  forbidden('reserved', 'loopback', '::1/128'),
  forbidden('reserved', 'what holds loopback', '126.0.0.0/7'),
  forbidden('reserved', 'unspecified', '0.0.0.0/8'),
  forbidden('reserved', 'a quarter of all addresses', '64.0.0.0/2'),
  forbidden('reserved', 'link-local', '169.254.0.0/16'),
  forbidden('reserved', 'link-local', 'fe80::/10'),
  forbidden('reserved', 'metadata of AWS, Azure and GCP', '169.254.169.254/32'),
  forbidden('reserved', 'metadata of AWS', 'fd00:ec2::254/128'),
  forbidden('reserved', 'metadata of Google Cloud', 'fd20:ce::/64'),
  forbidden('reserved', "Azure's host", '168.63.129.16/32'),
  forbidden('reserved', "a range around Azure's host", '168.63.128.0/18'),
  forbidden('reserved', 'multicast', '224.0.0.0/4'),
  forbidden('reserved', 'multicast', 'ff02::/16'),
  forbidden('reserved', 'broadcast', '255.255.255.255/32'),
  forbidden('reserved', 'IPv4 in the clothes of IPv6', '::ffff:a01:0/112'),
  {
    rule: 'reserved',
    what: 'cut out of a default route with the grant',
    documents: advertising('0.0.0.0/0 up to 32', '127.0.0.0/8 8.8.8.0/24', { grants: ['defaultRoute'] }),
    verdict: { left: 'g1 g2', refused: 'reserved g2', prefixes: { g2: '8.8.8.0/24' } },
  },
]

const overlay: readonly Row[] = [
  forbidden('overlay', 'the whole overlay', '100.127.0.0/16'),
  forbidden('overlay', 'the overlay address of another gateway', '100.127.0.1/32'),
  forbidden('overlay', 'the overlay address of another gateway', 'fd4c:53aa:bb00::1/128'),
  forbidden('overlay', 'what holds the overlay', '100.0.0.0/8'),
  {
    rule: 'overlay',
    what: 'cut out of a default route with the grant',
    documents: advertising('0.0.0.0/0 up to 32', '100.127.0.1/32', { grants: ['defaultRoute'] }),
    verdict: { left: 'g1 g2', refused: 'overlay g2', prefixes: { g2: '' } },
  },
]

/** Gateway 2 says that it is there. It stays in, and nobody calls it there. */
const endpointAt = (what: string, of: string): Row => ({
  rule: 'endpoint',
  what: `${what}: ${of}`,
  documents: [
    ...one,
    ...gateway(2, {}, { endpoints: [{ underlay: 'internet', address: address(of), port: 51820 }] }),
  ],
  verdict: { left: 'g1 g2', refused: 'endpoint g2' },
})

const endpoints: readonly Row[] = [
  endpointAt('loopback', '127.0.0.1'),
  endpointAt('loopback', '::1'),
  endpointAt('unspecified', '0.0.0.0'),
  endpointAt('link-local', 'fe80::1'),
  endpointAt('metadata', '169.254.169.254'),
  endpointAt('multicast', 'ff02::1'),
  endpointAt('broadcast', '255.255.255.255'),
  endpointAt('loopback in the clothes of IPv6', '::ffff:127.0.0.1'),
  endpointAt('the overlay address of another gateway', '100.127.0.1'),
  endpointAt('the overlay address of another gateway', 'fd4c:53aa:bb00::1'),
  {
    rule: 'endpoint',
    what: 'on an underlay that the fabric does not have',
    documents: [...one, ...gateway(2, {}, { endpoints: [{ underlay: 'dx', port: 51820 }] })],
    verdict: { left: 'g1 g2', refused: 'endpoint g2' },
  },
  {
    rule: 'endpoint',
    what: 'without an address: behind NAT, peers wait to be called',
    documents: [...one, ...gateway(2, {}, { endpoints: [{ underlay: 'internet', port: 51820 }] })],
    verdict: { left: 'g1 g2' },
  },
]

const blue = { networks: [{ name: 'blue', vni: 5001, kind: 'l3' as const }] }
/** Gateway 2 is certified for these networks, and joins those. */
const network = (
  what: string,
  granted: GatewayRecord['networks'],
  joined: GatewayRecord['networks'],
  refused: string,
): Row => ({
  rule: 'network',
  what,
  documents: [fabric(blue), ...gateway(1), ...gateway(2, { networks: granted }, { networks: joined })],
  verdict: { left: 'g1 g2', refused },
})
const blueOf = (...prefixes: string[]): GatewayRecord['networks'] => [
  { name: 'blue', prefixes: prefixes.map(prefix) },
]

const networks: readonly Row[] = [
  network('as certified', blueOf('10.50.0.0/16'), blueOf('10.50.1.0/24'), ''),
  network('a network that is not certified', [], blueOf('10.50.0.0/16'), 'network g2'),
  network(
    'a network that the fabric does not have',
    [{ name: 'red' }],
    [{ name: 'red' }],
    'network g2, network g2',
  ),
  network(
    'a prefix that is not certified, alone',
    blueOf('10.50.0.0/16'),
    blueOf('10.50.1.0/24', '10.51.0.0/16'),
    'network g2',
  ),
]

export const space: readonly Row[] = [
  ...certified,
  ...routes,
  ...reserved,
  ...overlay,
  ...endpoints,
  ...networks,
]
