/**
 * A small gateway's state, written as a table of short names, for the tests of diff: this gateway is s0-a, its devices hold
 * the gateways of the sites s1 and s2.
 */
import { linkGroup, nexthopId, overlayTable, routeProtocol } from '../../agent/model/kernel-number.ts'
import type {
  AllowedIP,
  Device,
  KernelObject,
  Link,
  LinkAddress,
  Nexthop,
  NexthopGroup,
  Peer,
  Route,
  Rule,
  Ruleset,
  SetElement,
} from '../../agent/model/kernel-object.ts'
import type { PublicKey } from '../../agent/model/key.ts'
import { prefix } from '../../agent/model/prefix.ts'

/** Not a key of anything: the name, and zeros. */
export function key(name: string): PublicKey {
  return `${name.padEnd(42, '0')}A=` as PublicKey
}

export function wg(i: number, change: Partial<Link> = {}): Link {
  return {
    kind: 'link',
    name: `ls-wg${i}`,
    type: 'wireguard',
    mtu: 1440,
    up: true,
    group: linkGroup,
    ...change,
  }
}

export function device(i: number, own = 'self'): Device {
  return {
    kind: 'device',
    name: `ls-wg${i}`,
    publicKey: key(`${own}${i}`),
    listenPort: 51820 + i,
    fwmark: 0x4c5300,
  }
}

export function address(i: number, text = '100.127.0.1/32'): LinkAddress {
  return { kind: 'address', link: `ls-wg${i}`, address: text }
}

export function peer(i: number, gateway: string, change: Partial<Peer> = {}): Peer {
  const endpoint = '192.0.2.2:51820'
  return {
    kind: 'peer',
    device: `ls-wg${i}`,
    publicKey: key(gateway),
    endpoint,
    keepalive: 25,
    gateway,
    ...change,
  }
}

export function allowed(i: number, gateway: string, text: string): AllowedIP {
  return { kind: 'allowed-ip', device: `ls-wg${i}`, prefix: prefix(text), publicKey: key(gateway) }
}

export function nexthop(i: number): Nexthop {
  return { kind: 'nexthop', id: nexthopId.device(i), family: 6, device: `ls-wg${i}` }
}

export const blackhole: Nexthop = { kind: 'nexthop', id: nexthopId.blackhole, family: 6, blackhole: true }

export function group(n: number, of: string, ...devices: readonly number[]): NexthopGroup {
  const members = devices.map((i) => ({ id: nexthopId.device(i), weight: 1 }))
  return { kind: 'group', id: nexthopId.firstGroup + n, members, of }
}

export function route(text: string, n: number, change: Partial<Route> = {}): Route {
  const nexthop = nexthopId.firstGroup + n
  return {
    kind: 'route',
    table: overlayTable,
    prefix: prefix(text),
    type: 'unicast',
    nexthop,
    mtu: 1440,
    ...change,
  }
}

export function throws(text: string): Route {
  return { kind: 'route', table: overlayTable, prefix: prefix(text), type: 'throw' }
}

export function remote(text: string): SetElement {
  const [network = '', length = ''] = text.split('/')
  return { kind: 'element', set: `remote4_${length}`, key: network }
}

export function table(sets: readonly string[], digest: string): Ruleset {
  return {
    kind: 'ruleset',
    table: 'linkspan',
    sets: sets.map((name) => ({ name, type: 'ipv4_addr' })),
    chains: [],
    counters: [],
    digest,
  }
}

export const exempt: Rule = {
  kind: 'rule',
  family: 4,
  priority: 19529,
  fwmark: 0x4c5300,
  fwmask: 0xffffffff,
  action: 'lookup',
  table: 254,
}
export const stop: Rule = {
  kind: 'rule',
  family: 4,
  priority: 19530,
  fwmark: 0x4c5300,
  fwmask: 0xffffff00,
  action: 'blackhole',
}
export const enter: Rule = { kind: 'rule', family: 4, priority: 19531, action: 'lookup', table: overlayTable }

/** What a gateway has once. */
export const host: readonly KernelObject[] = [
  table(['remote4_16', 'remote4_24'], 'aaaaaaaa'),
  { kind: 'sysctl', name: 'net/ipv4/conf/eth0/forwarding', value: '1' },
  blackhole,
  throws('10.0.0.0/16'),
  exempt,
  stop,
  enter,
]

/** The device i and all that is on it for as long as it exists. */
export function carrier(i: number): readonly KernelObject[] {
  return [wg(i), device(i), address(i), nexthop(i)]
}

/** A remote gateway with its prefixes, routed by a group of that gateway alone. */
export function remoteSite(
  i: number,
  n: number,
  gateway: string,
  ...prefixes: readonly string[]
): readonly KernelObject[] {
  return [
    peer(i, gateway),
    ...prefixes.map((text) => allowed(i, gateway, text)),
    ...prefixes.map(remote),
    group(n, `default ${gateway}`, i),
    ...prefixes.map((text) => route(text, n)),
  ]
}

/** As a dump shows it: nothing that is only for printing, protocols and handshakes, what was written remembered. */
export function observed(objects: readonly KernelObject[]): readonly KernelObject[] {
  return objects.map((object) => {
    switch (object.kind) {
      case 'group':
        return { kind: 'group', id: object.id, members: object.members }
      case 'peer': {
        const { kind, device, publicKey, endpoint, keepalive } = object
        const shown: Peer = { kind, device, publicKey, keepalive, latestHandshake: 0 }
        return endpoint === undefined ? shown : { ...shown, endpoint }
      }
      case 'rule':
        return { ...object, protocol: routeProtocol }
      case 'sysctl':
        return { ...object, previous: '0' }
      default:
        return object
    }
  })
}
