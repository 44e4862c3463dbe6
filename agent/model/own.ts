/** This gateway, as configured: what plan needs of /etc/linkspan/config.yml. */
import type { Name } from './fabric.ts'
import type { Address, Prefix } from './prefix.ts'

export interface OwnEndpoint {
  readonly underlay: Name
  readonly address?: Address
  readonly port: number
  /** Bind the underlay to this link. */
  readonly interface?: string
  readonly mtu?: number
}

export interface NetworkAttachment {
  readonly name: Name
  /** Site-side links to put into the bridge (l2). */
  readonly interfaces: readonly string[]
}

export interface Own {
  readonly gateway: Name
  readonly site: Name
  readonly endpoints: readonly OwnEndpoint[]
  /** Site-side links; absent: links with an address inside an own prefix. */
  readonly interfaces?: readonly string[]
  /** Ranges that never enter the overlay from here. */
  readonly exclude: readonly Prefix[]
  readonly networks: readonly NetworkAttachment[]
  /** Services on the gateway itself that peers may reach. */
  readonly services: readonly { readonly protocol: 'tcp' | 'udp'; readonly port: number }[]
  /** Addresses of the registry: control traffic stays on the underlay. */
  readonly registryAddresses: readonly Address[]
}
