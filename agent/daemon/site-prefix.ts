/**
 * What a gateway asks for where neither its operator nor its cloud names prefixes: the networks of its site links. A request
 * only; the authority says what of it is granted.
 */
import type { HostFacts, HostLink } from '../model/host.ts'
import type { OwnEndpoint } from '../model/own.ts'
import { comparePrefixes, contains, isDefaultRoute, prefixOf } from '../model/prefix.ts'
import type { Prefix } from '../model/prefix.ts'
import { reservedRange } from '../trust/space.ts'

export interface SiteLinks {
  /** Those configured; absent: every link that is up and carries no underlay. */
  readonly interfaces?: readonly string[]
  readonly endpoints: readonly OwnEndpoint[]
  readonly exclude: readonly Prefix[]
}

/** Bridges and ends of containers and virtual machines: the same networks on every host, and behind NAT. */
const inHost = /^(docker|br-[0-9a-f]{12}$|virbr|veth|cni|flannel|cali|lxc|lxd|podman|vnet|tap|tun)/

/** In order, without what another one holds. */
export function sitePrefixes(
  { interfaces, endpoints, exclude }: SiteLinks,
  facts: HostFacts,
): readonly Prefix[] {
  const isSite = (link: HostLink): boolean =>
    interfaces === undefined
      ? link.up && !inHost.test(link.name) && !carriesUnderlay(link, endpoints)
      : interfaces.includes(link.name)
  const networks = facts.links
    .filter(isSite)
    .flatMap(({ addresses }) => addresses.map(({ address, length }) => prefixOf(address, length)))
    .filter((network) => reservedRange(network) === undefined && !isDefaultRoute(network))
    .filter((network) => !exclude.some((range) => contains(range, network)))
  const once = [...new Set(networks)]
  return once
    .filter((inner) => !once.some((outer) => outer !== inner && contains(outer, inner)))
    .sort(comparePrefixes)
}

function carriesUnderlay(link: HostLink, endpoints: readonly OwnEndpoint[]): boolean {
  return (
    link.defaultRoute === true ||
    endpoints.some(
      ({ interface: bound, address }) =>
        bound === link.name || link.addresses.some((held) => held.address === address),
    )
  )
}
