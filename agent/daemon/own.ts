/** Own with its endpoints resolved against the host, and against what its cloud says of it. */
import { internet, ownOf } from '../model/config.ts'
import type { Config } from '../model/config.ts'
import type { Fabric } from '../model/fabric.ts'
import type { HostFacts } from '../model/host.ts'
import type { Own } from '../model/own.ts'
import { familyOf, isPrivate } from '../model/prefix.ts'
import type { Address } from '../model/prefix.ts'
import type { Cloud } from './surroundings.ts'

export interface OwnSources {
  /** Those of the registry; as configured where it is left out. */
  readonly registryAddresses?: () => readonly Address[]
  readonly cloud?: () => Cloud | undefined
  /** While nobody knows by which address we are reached: what our record in force says. */
  readonly recorded?: () => Recorded | undefined
}

export interface Recorded {
  readonly endpoints: Own['endpoints'] | undefined
}

/** Answers the same object while nothing of it changed, because plan compares references. */
export function ownResolver(
  config: Config,
  { registryAddresses = () => config.own.registryAddresses, cloud, recorded }: OwnSources = {},
): (fabric: Fabric, facts: HostFacts) => Own {
  let last: Own | undefined
  return (fabric, facts) => {
    const before = config.own.endpoints === undefined ? recorded?.() : undefined
    const addresses = endpointAddresses(fabric, facts, cloud?.(), before !== undefined)
    const found = ownOf(config, fabric, addresses)
    // A start with other endpoints than the run before would move tunnels to another family and back.
    const endpoints = before?.endpoints ?? found.endpoints
    const own = { ...found, endpoints, registryAddresses: registryAddresses() }
    if (last === undefined || JSON.stringify(last) !== JSON.stringify(own)) last = own
    return last
  }
}

/** Where peers reach us where nobody configured it; none: they wait to be called. */
function endpointAddresses(
  fabric: Fabric,
  facts: HostFacts,
  cloud: Cloud | undefined,
  isUncertain: boolean,
): readonly Address[] {
  const route = facts.links.find(({ defaultRoute }) => defaultRoute === true)
  const held = route?.addresses.map(({ address }) => address) ?? []
  const known = (cloud === undefined ? [] : publicOf(cloud, held)).filter((address) => isOurs(address, facts))
  const best = ([4, 6] as const).flatMap((family) => known.find((each) => familyOf(each) === family) ?? [])
  if (best.length > 0) return best
  const address = held.find((each) => familyOf(each) === 4) ?? held[0]
  if (address === undefined) return []
  // A cloud that knows no public address has us behind its NAT: nobody out there reaches a private one.
  const isBehindNat = (cloud !== undefined || isUncertain) && isPrivate(address)
  return isBehindNat && fabric.underlays.some(({ name }) => name === internet) ? [] : [address]
}

/** What we send leaves by the link of the default route, so that comes first by which its addresses are reached. */
function publicOf({ addresses, interfaces = [] }: Cloud, held: readonly Address[]): readonly Address[] {
  const near = interfaces.filter(({ privateAddresses }) => privateAddresses.some((own) => held.includes(own)))
  return [...near.flatMap(({ publicAddresses }) => publicAddresses), ...addresses]
}

/** IPv4 is translated on its way; an IPv6 address that no link of ours carries leads nowhere. */
function isOurs(address: Address, { links, ipv6 }: HostFacts): boolean {
  if (familyOf(address) === 4) return true
  return ipv6 && links.some(({ addresses }) => addresses.some((held) => held.address === address))
}
