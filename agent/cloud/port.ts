/**
 * What a cloud tells a VM of itself: where it is, by which addresses others reach it, and which address space lies behind
 * it. config.yml's defaults come from here (default.ts); nothing here is trusted beyond that, since prefixes are requests
 * until the authority certifies them and an endpoint without its key is an address that does not answer.
 *
 * Each provider is one file: how its metadata service is asked, and how its answer is read, the latter pure. discover.ts
 * finds out which one to ask.
 */
import type { Address, Prefix } from '../model/prefix.ts'
import type { MetadataClient } from './metadata-http.ts'

export type CloudName = 'aws' | 'azure' | 'gcp'

/** An interface of the VM, as the cloud sees it. */
export interface CloudInterface {
  /** Lower case with colons; empty where the cloud does not say. */
  readonly mac: string
  /** What the interface itself carries, the primary address first. */
  readonly privateAddresses: readonly Address[]
  /**
   * By which the internet reaches it: in IPv4 the cloud translates one to one, so no interface of the VM carries it; a
   * global IPv6 address is in both lists.
   */
  readonly publicAddresses: readonly Address[]
  /** All address space of its VPC or VNet; empty where the service only knows the subnet (Azure, GCP). */
  readonly networkPrefixes: readonly Prefix[]
  readonly subnetPrefixes: readonly Prefix[]
  /** Bytes; absent where the cloud does not say (AWS, Azure). */
  readonly mtu?: number
}

export interface CloudFacts {
  readonly provider: CloudName
  /** As the provider spells it; empty where it does not say. */
  readonly region: string
  /** As the provider spells it; empty where the VM is in none. */
  readonly zone: string
  readonly instance: string
  /** The primary one first. */
  readonly interfaces: readonly CloudInterface[]
  /** What the service said and cannot be: one sentence each, for an event. */
  readonly unusable: readonly string[]
}

export interface CloudProvider {
  readonly name: CloudName
  /** Throws MetadataFailure where the service does not answer, or not as it should. */
  ask(client: MetadataClient): Promise<CloudFacts>
}
