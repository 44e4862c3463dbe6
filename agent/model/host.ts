/**
 * Host facts: what the driver observes of the host and plan takes as given. Links that linkspan owns are not in here.
 */
import type { Address, Prefix } from './prefix.ts'

export interface HostLink {
  readonly name: string
  readonly ifindex: number
  readonly mtu: number
  readonly up: boolean
  /** Global-scope addresses with the length of their connected network. */
  readonly addresses: readonly { readonly address: Address; readonly length: number }[]
  /** net.ipv6.conf.<link>.accept_ra: 0-2. Absent: unknown. */
  readonly acceptRa?: number
  /** A default route of table main goes over it. Absent: unknown or none. */
  readonly defaultRoute?: boolean
}

/** A unicast route of table main on a link that carries an underlay bound to it. */
export interface HostRoute {
  readonly prefix: Prefix
  readonly link: string
  /** Next hop; absent: on link. */
  readonly via?: Address
  readonly metric: number
}

export interface HostFacts {
  /** Foreign links, loopback excepted, in order of name. */
  readonly links: readonly HostLink[]
  /** Unicast routes of table main over links that bind an underlay; only those that were asked for. */
  readonly routes: readonly HostRoute[]
  /** False where the host has IPv6 disabled. */
  readonly ipv6: boolean
  readonly features: {
    /** The kernel makes WireGuard links; else wireguard-go does. */
    readonly wireguard: boolean
  }
}
