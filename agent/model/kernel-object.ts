/**
 * Kernel objects: the one vocabulary of desired and observed state.
 *
 * An object is a small frozen record with a `kind`. Two objects with the same key are the same thing in two conditions;
 * diff turns the difference into ops. Everything is by name or id, never by ifindex, which changes when a link is made
 * anew. AllowedIPs are objects of their own, keyed by (device, prefix): that is what WireGuard's cryptokey routing is, and
 * it makes a move between peers one replacement instead of a removal and an addition.
 */
import type { Family, Address, Prefix } from './prefix.ts'
import type { PublicKey } from './key.ts'
import { overlayTable } from './kernel-number.ts'

/** A link; WireGuard's keys and ports are a Device beside it. */
export interface Link {
  readonly kind: 'link'
  readonly name: string
  /** `tun`: wireguard-go's. `other`: observed only, somebody else's under a name of ours. */
  readonly type: 'wireguard' | 'tun' | 'vxlan' | 'bridge' | 'other'
  readonly mtu: number
  readonly up: boolean
  /** Link group; 0 is the kernel's default. Observed tuns of ours show linkGroup once the driver has set it. */
  readonly group: number
  /** Observed: ours though not in the group yet; the state directory lists it (wireguard-go cannot be born in a group). */
  readonly ours?: true
  readonly alias?: string
  readonly vxlan?: {
    readonly vni: number
    readonly local: Address
    readonly port: number
    readonly learning: boolean
  }
  /** MAC, where we choose it. */
  readonly mac?: string
  /** Bridge this link is a port of. A foreign link as a port of ours is a Port object. */
  readonly master?: string
}

/** A site-side link as a port of an owned bridge; removing it takes it out of the bridge and nothing else. */
export interface Port {
  readonly kind: 'port'
  readonly link: string
  readonly master: string
}

/** WireGuard side of a link: what `wg set` sets. The private key stays in the driver. */
export interface Device {
  readonly kind: 'device'
  readonly name: string
  readonly publicKey: PublicKey
  readonly listenPort: number
  readonly fwmark: number
}

export interface Peer {
  readonly kind: 'peer'
  readonly device: string
  readonly publicKey: PublicKey
  /** `192.0.2.1:51820` or `[2001:db8::1]:51820`; absent: wait to be called. */
  readonly endpoint?: string
  /** Seconds; 0 is off. */
  readonly keepalive: number
  /** Gateway name, for printing only; never compared, absent when observed. */
  readonly gateway?: string
  /**
   * Desired: our own address on the underlay. WireGuard goes on sending from the one it was last called at; where ours is
   * another one, the endpoint is set again, which makes it forget (drivers/net/wireguard/socket.c).
   */
  readonly from?: Address
  /** Desired: addresses of that gateway on other underlays. An observed endpoint among them is reset. */
  readonly elsewhere?: readonly Address[]
  /** Observed: Unix seconds of the latest handshake, 0 for none. */
  readonly latestHandshake?: number
  /** Observed counters, for status and metrics. */
  readonly received?: number
  readonly sent?: number
}

export interface AllowedIP {
  readonly kind: 'allowed-ip'
  readonly device: string
  readonly prefix: Prefix
  readonly publicKey: PublicKey
}

export interface LinkAddress {
  readonly kind: 'address'
  readonly link: string
  /** Address with length, e.g. `fe80::1/64`: not a Prefix, host bits are the point. */
  readonly address: string
}

/** Forwarding database entry of a VXLAN link; the all-zero MAC is the flood list (head-end replication). */
export interface FdbEntry {
  readonly kind: 'fdb'
  readonly link: string
  readonly mac: string
  /** Outer destination: the remote VTEP. */
  readonly dst: Address
}

/** A device or blackhole nexthop. */
export interface Nexthop {
  readonly kind: 'nexthop'
  readonly id: number
  readonly family: Family
  readonly device?: string
  readonly blackhole?: true
  /** Observed, and only where it is not ours: rtnetlink protocol. The object is somebody else's. */
  readonly protocol?: number
}

/** A resilient nexthop group. */
export interface NexthopGroup {
  readonly kind: 'group'
  readonly id: number
  /** In order of id; weight 1-256. */
  readonly members: readonly { readonly id: number; readonly weight: number }[]
  /** For printing only: network, site and gateways. Absent when observed. */
  readonly of?: string
  /** Observed: not resilient, so none of ours can replace it. The object is somebody else's, whatever its protocol. */
  readonly otherType?: true
  /** Observed: timers that are not ours. */
  readonly otherTimers?: true
  /** Observed, and only where it is not ours: rtnetlink protocol. The object is somebody else's. */
  readonly protocol?: number
}

export interface Route {
  readonly kind: 'route'
  readonly table: number
  readonly prefix: Prefix
  readonly type: 'unicast' | 'throw' | 'unreachable' | 'blackhole'
  /** Nexthop or group id. */
  readonly nexthop?: number
  /** Bytes; RTAX_MTU. */
  readonly mtu?: number
  /** Preferred source. */
  readonly src?: Address
  /** Underlay tables only: next hop and link, copied from main. */
  readonly via?: Address
  readonly link?: string
  /** Absent: the kernel's default (0 for IPv4, 1024 for IPv6). */
  readonly metric?: number
  /** Observed, and only where it is not ours: rtnetlink protocol. The object is somebody else's. */
  readonly protocol?: number
}

export interface Rule {
  readonly kind: 'rule'
  readonly family: Family
  readonly priority: number
  readonly fwmark?: number
  readonly fwmask?: number
  readonly action: 'lookup' | 'blackhole'
  readonly table?: number
  /** Observed: rtnetlink protocol, tells ours from another's rule of the same priority. */
  readonly protocol?: number
}

/** A /proc/sys value. `down` writes `previous` back. */
export interface Sysctl {
  readonly kind: 'sysctl'
  /** Path below /proc/sys, e.g. `net/ipv4/conf/eth0/forwarding`. */
  readonly name: string
  readonly value: string
  /** Observed: what it was before linkspan first wrote it, from the state directory; absent: never written by us. */
  readonly previous?: string
}

/** One nft set of table inet linkspan; its elements are SetElement objects. */
export interface NftSet {
  readonly name: string
  /** nft type or concatenation, as nft's JSON takes it, e.g. `ipv4_addr` or `["ipv4_addr","integer"]`. */
  readonly type: string | readonly string[]
  /** Typeof expressions in place of type (raw payload keys), as nft's JSON takes them. */
  readonly typeof?: unknown
  readonly flags?: readonly string[]
}

export interface NftChain {
  readonly name: string
  readonly hook: 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting'
  readonly priority: number
  readonly policy: 'accept' | 'drop'
  readonly rules: readonly NftRule[]
}

export interface NftRule {
  /** nft-like text, for printing. */
  readonly text: string
  /** nft JSON statements. */
  readonly expr: readonly unknown[]
}

/** All of table inet linkspan but the elements of its sets; replaced in one transaction that keeps the elements. */
export interface Ruleset {
  readonly kind: 'ruleset'
  readonly table: string
  readonly sets: readonly NftSet[]
  readonly chains: readonly NftChain[]
  /** Named counters that rules refer to. */
  readonly counters: readonly string[]
  /** Content hash: equal digests are equal rulesets. Observed: the digest last applied, or `foreign` where the table was altered. */
  readonly digest: string
}

/** An element of an nft set: an address (prefix sets are one hash set per length), or a concatenation joined by ` . `. */
export interface SetElement {
  readonly kind: 'element'
  readonly set: string
  readonly key: string
}

export type KernelObject =
  | Link
  | Port
  | Device
  | Peer
  | AllowedIP
  | LinkAddress
  | FdbEntry
  | Nexthop
  | NexthopGroup
  | Route
  | Rule
  | Sysctl
  | Ruleset
  | SetElement

export type Kind = KernelObject['kind']

/** Kinds of objects that vanish with the link they sit on. */
export const carriedKinds: readonly Kind[] = [
  'device',
  'sysctl',
  'address',
  'port',
  'peer',
  'allowed-ip',
  'fdb',
  'nexthop',
]

/**
 * All kinds, in the order in which a host is made: guards first, so that nothing is ever open; then what carries; then what
 * points at it. The rules that send packets into the overlay come last, and go first.
 */
export const kinds: readonly Kind[] = [
  'ruleset',
  'element',
  'link',
  ...carriedKinds,
  'group',
  'route',
  'rule',
]

/**
 * Identity of an object within its kind. Routes of the overlay table and AllowedIPs are the many: their keys are cheap.
 */
export function keyOf(object: KernelObject): string {
  switch (object.kind) {
    case 'link':
    case 'device':
    case 'sysctl':
      return object.name
    case 'port':
      return object.link
    case 'peer':
      return `${object.device} ${object.publicKey}`
    case 'allowed-ip':
      return `${object.device} ${object.prefix}`
    case 'address':
      return `${object.link} ${object.address}`
    case 'fdb':
      return `${object.link} ${object.mac} ${object.dst}`
    case 'nexthop':
    case 'group':
      return String(object.id)
    case 'route':
      return object.table === overlayTable && object.metric === undefined
        ? object.prefix
        : `${object.prefix} table ${object.table} metric ${object.metric ?? 0}`
    case 'rule':
      return `${object.family} ${object.priority} ${object.fwmark ?? 0}/${object.fwmask ?? 0} ${object.action} ${object.table ?? 0}`
    case 'ruleset':
      return object.table
    case 'element':
      return `${object.set} ${object.key}`
  }
}
