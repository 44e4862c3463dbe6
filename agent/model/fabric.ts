/**
 * The three documents of a fabric, as payloads: fabric, certificate, record. These are the shapes after strict parsing
 * (trust/parse.ts): every prefix canonical, every name checked, nothing unknown. What they mean together is gateway.ts.
 */
import type { Address, Prefix } from './prefix.ts'
import type { PublicKey } from './key.ts'

/** A name of a fabric, site, gateway, underlay or network: lower-case letters, digits, `-` and `.`, 1-63 characters. */
export type Name = string
export const namePattern = /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/

/** Highest counts the device numbering has room for (DESIGN "Planes"). */
export const maxUnderlays = 4
export const planes = 4

export interface Underlay {
  readonly name: Name
  /** Bytes of the largest outer packet; absent: min(1500, interface). */
  readonly mtu?: number
}

export type NetworkKind = 'l2' | 'l3'

export interface Network {
  readonly name: Name
  /** 1 to 2^24-1 (RFC 7348). */
  readonly vni: number
  readonly kind: NetworkKind
}

/** All that is given must hold. */
export interface Selector {
  readonly site?: Name
  readonly provider?: string
  readonly region?: string
  readonly labels?: Readonly<Record<string, string>>
}

export interface MeshRule {
  readonly between: Selector
  readonly and: Selector
}

/** How a path is probed, and what is asked of it. */
export interface ProbeTimes extends PathDemands {
  /** ms between probes. */
  readonly intervalMs: number
  /** ms after an unanswered one, and the least that an answer may take. */
  readonly retryMs: number
  /** Unanswered probes in a row until a path is down. */
  readonly downAfter: number
  /** Answers in a row before a path that was down is up again: 1-1000, by default 5. */
  readonly returnAfter?: number
  /** And ms since the first of them, doubled each time it flaps: 1-3600000, by default 1000. */
  readonly holdMs?: number
  /** ms between confirmations that its largest packets get through: 100-3600000, by default 10000; 0: nobody asks. */
  readonly mtuMs?: number
}

/** What a path must be to be used as long as there is a better one. */
export interface PathDemands {
  /** Probes lost, in percent, above which it is degraded: 1-100, by default 10. */
  readonly lossPercent?: number
  /** Round trip in ms above which it is: 1-60000, by default none is too long. */
  readonly latencyMs?: number
}

export interface ProbeSettings extends ProbeTimes {
  readonly port: number
  readonly underlays: Readonly<Record<Name, Partial<ProbeTimes>>>
}

export interface Fabric {
  readonly fabric: Name
  readonly serial: number
  /** Unix ms. */
  readonly freshUntil: number
  readonly overlay: { readonly ipv4?: Prefix; readonly ipv6?: Prefix }
  /** Position is the underlay's number u; only ever appended. */
  readonly underlays: readonly Underlay[]
  readonly prefer: readonly Name[]
  readonly mesh: 'all' | readonly MeshRule[]
  readonly networks: readonly Network[]
  readonly policy: { readonly default: 'allow' | 'deny'; readonly rules: readonly unknown[] }
  readonly probe: ProbeSettings
  readonly rotation: { readonly days: number }
  readonly removed: readonly Name[]
  readonly revoked: { readonly serials: readonly number[]; readonly identities: readonly string[] }
}

export interface Site {
  readonly name: Name
  readonly provider: string
  readonly region: string
  readonly labels: Readonly<Record<string, string>>
}

export interface Grant {
  readonly prefix: Prefix
  /** Longest prefix that may be advertised inside; absent: the prefix itself only. */
  readonly maxLength?: number
}

export interface Certificate {
  readonly fabric: Name
  readonly serial: number
  readonly gateway: Name
  /** 1-65534, never reused. */
  readonly number: number
  readonly site: Site
  /** 0-3. */
  readonly plane: number
  /** Ed25519 public key, base64url. */
  readonly identity: string
  readonly notBefore: number
  readonly notAfter: number
  readonly prefixes: readonly Grant[]
  readonly networks: readonly Attachment[]
  readonly grants: readonly ('defaultRoute' | 'shared')[]
}

/** A gateway's part in a network; prefixes only for l3. */
export interface Attachment {
  readonly name: Name
  readonly prefixes?: readonly Prefix[]
}

export interface Endpoint {
  readonly underlay: Name
  /** Absent: behind NAT, peers wait to be called. */
  readonly address?: Address
  /** The base port; device i listens on port + i. */
  readonly port: number
  readonly mtu?: number
}

export type GatewayState = 'active' | 'draining' | 'withdrawn'

export interface GatewayRecord {
  readonly fabric: Name
  readonly serial: number
  readonly gateway: Name
  readonly generation: number
  /** Public key by device index 0-63. */
  readonly tunnelKeys: Readonly<Record<string, PublicKey>>
  readonly endpoints: readonly Endpoint[]
  readonly prefixes: readonly Prefix[]
  readonly networks: readonly Attachment[]
  readonly weight: number
  readonly state: GatewayState
}
