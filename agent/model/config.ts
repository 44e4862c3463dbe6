/** Files (PEM, or a secret on one line) that a registry is reached with. Absolute paths. */
export interface RegistryFiles {
  /** Authorities that may vouch for the server, instead of the well-known ones. */
  readonly ca?: string
  readonly certificate?: string
  readonly key?: string
}

/** Where documents come from. */
export type RegistryConfig =
  | { readonly kind: 'file'; readonly directory: string }
  | {
      readonly kind: 'https'
      /** Mirrors of one bundle, the preferred one first. */
      readonly urls: readonly string[]
      /** `token`: of a bearer. */
      readonly files: RegistryFiles & { readonly token?: string }
    }
  | {
      readonly kind: 'etcd'
      /** `https://host:2379`, or http on this host. */
      readonly endpoints: readonly string[]
      /** Without a slash at its end. */
      readonly prefix: string
      readonly files: RegistryFiles
      /** `password`: a file. */
      readonly user?: { readonly name: string; readonly password: string }
    }

/**
 * This gateway's configuration, after /etc/linkspan/config.yml passed cli/config.ts: every prefix canonical, every name
 * checked, defaults filled. What depends on the fabric document or on the host (the default endpoint) is filled by ownOf.
 */
import type { Fabric, Name, Site } from './fabric.ts'
import { defaultBasePort } from './device.ts'
import type { Own, OwnEndpoint } from './own.ts'
import type { Address, Prefix } from './prefix.ts'

export interface Config {
  /** The file it was read from, for messages. */
  readonly file: string
  readonly fabric: Name
  /** Ed25519 public key that the authority began with, base64url: all trust in documents begins here. */
  readonly authority: string
  readonly site: Site
  /** As Own; absent endpoints: see ownOf. */
  readonly own: Omit<Own, 'endpoints'> & { readonly endpoints?: readonly OwnEndpoint[] }
  /** What this gateway asks to originate; requests until certified. */
  readonly prefixes: readonly Prefix[]
  readonly registry: RegistryConfig
  /** The file with a voucher's key; absent: the default one, where it is there. */
  readonly voucher?: string
  readonly metrics: { readonly address: Address; readonly port: number } | false
  /** Where load balancers of the site ask whether this gateway forwards; absent: nowhere. */
  readonly health?: { readonly address: Address; readonly port: number }
  /** Targets on this gateway's own side; while none can be reached it does not forward. */
  readonly canary?: readonly CanaryTarget[]
  /** Programs of the operator's; absent: none. */
  readonly hooks?: { readonly siteActive: HookConfig }
}

export interface HookConfig {
  /** Absolute path. */
  readonly program: string
  /** A run that takes longer is killed. */
  readonly limitSeconds: number
  /** It is run again so often, whatever happens. */
  readonly auditSeconds: number
}

/** A TCP port; without one, an address that answers echo requests. */
export interface CanaryTarget {
  readonly address: Address
  readonly port?: number
}

export const defaultConfigFile = '/etc/linkspan/config.yml'
export const defaultVoucherFile = '/etc/linkspan/voucher'
export const defaultStateDirectory = '/var/lib/linkspan'
export const defaultMetrics = { address: '127.0.0.1', port: 9586 }

/** The underlay that a gateway is on where its operator names none. */
export const internet = 'internet'

/**
 * Own for plan. Without configured endpoints: one for each of `addresses` (at most one a family; none: as behind NAT, peers
 * wait to be called), at the default port, on the underlay `internet`, or on the fabric's first where it has none of that
 * name.
 */
export function ownOf(config: Config, fabric: Fabric, addresses: readonly Address[]): Own {
  const { endpoints, ...own } = config.own
  if (endpoints !== undefined) return { ...own, endpoints }
  const underlay = fabric.underlays.find(({ name }) => name === internet) ?? fabric.underlays[0]
  if (underlay === undefined) return { ...own, endpoints: [] }
  const endpoint = { underlay: underlay.name, port: defaultBasePort }
  return {
    ...own,
    endpoints: addresses.length === 0 ? [endpoint] : addresses.map((address) => ({ ...endpoint, address })),
  }
}
