/**
 * Our side of each underlay: which families we can be called in, what a packet may measure, which links carry it, and
 * whether it is bound to one of them.
 *
 * A bound underlay has a routing table of its own that ends in blackhole: when its link goes down, WireGuard's packets
 * stop there. Unbound they would follow main's default route over another underlay, the far end's endpoint would roam
 * after them, and stay there after the repair.
 */
import type { Fabric, Name } from '../model/fabric.ts'
import type { HostFacts, HostLink } from '../model/host.ts'
import type { Own, OwnEndpoint } from '../model/own.ts'
import { familyOf } from '../model/prefix.ts'
import type { Family } from '../model/prefix.ts'

/** Outer MTU of an underlay for which the fabric document gives none. */
const usualMtu = 1500

export interface Side {
  /** Underlay number. */
  readonly u: number
  readonly name: Name
  /** Place in `prefer`; those that it does not name share the last. */
  readonly order: number
  /** Base port: device i listens on port + i. */
  readonly port: number
  /** Families we have an address in. */
  readonly families: readonly Family[]
  /** We also, or only, call out from behind NAT. */
  readonly natted: boolean
  /** Bytes of the largest outer packet: this end's and the underlay's share in it. */
  readonly mtu: number
  /** Links that carry it, as far as facts can tell. */
  readonly links: readonly string[]
  /** The link it is bound to. */
  readonly bound?: string
}

/** In order of preference: `prefer` first, then by number. */
export function sidesOf(own: Own, fabric: Fabric, facts: HostFacts): readonly Side[] {
  const usable = own.endpoints.filter(
    ({ address }) => address === undefined || familyOf(address) === 4 || facts.ipv6,
  )
  const several = new Set(usable.map(({ underlay }) => underlay)).size > 1
  return preference(fabric).flatMap((u) => {
    const name = fabric.underlays[u]?.name
    const endpoints = usable.filter(({ underlay }) => underlay === name)
    return name === undefined || endpoints.length === 0
      ? []
      : [sideOf(u, name, endpoints, several, fabric, facts)]
  })
}

function sideOf(
  u: number,
  name: Name,
  endpoints: readonly OwnEndpoint[],
  several: boolean,
  fabric: Fabric,
  facts: HostFacts,
): Side {
  const given = endpoints.find((endpoint) => endpoint.interface !== undefined)?.interface
  const holding = facts.links.filter((link) => endpoints.some(({ address }) => holdsAddress(link, address)))
  const bound = given ?? (several ? holding[0]?.name : undefined)
  const links = linksOf(bound, holding, facts)
  const limits = endpoints.flatMap(({ mtu }) => (mtu === undefined ? [] : [mtu]))
  // What the operator says of the link counts in place of what the link says of itself.
  const interfaces = limits.length > 0 ? limits : links.map(({ mtu }) => mtu)
  const families = ([4, 6] as const).filter((family) =>
    endpoints.some(({ address }) => address !== undefined && familyOf(address) === family),
  )
  const four = endpoints.find(({ address }) => address !== undefined && familyOf(address) === 4)
  return {
    u,
    name,
    order: fabric.prefer.includes(name) ? fabric.prefer.indexOf(name) : fabric.prefer.length,
    port: (four ?? endpoints[0])?.port ?? 0,
    families,
    natted: endpoints.some(({ address }) => address === undefined),
    mtu: Math.min(fabric.underlays[u]?.mtu ?? usualMtu, ...interfaces),
    links: links.map((link) => link.name),
    ...(bound === undefined ? {} : { bound }),
  }
}

/** Links whose routes of main facts must hold: those an underlay is bound to. */
export function boundLinks(own: Own, fabric: Fabric, facts: HostFacts): readonly string[] {
  const bound = sidesOf(own, fabric, facts).flatMap((side) => side.bound ?? [])
  return [...new Set(bound)].sort()
}

/** Numbers of all underlays, the preferred first. */
function preference(fabric: Fabric): readonly number[] {
  const numbers = fabric.prefer.map((name) =>
    fabric.underlays.findIndex((underlay) => underlay.name === name),
  )
  return [...new Set([...numbers, ...fabric.underlays.keys()])].filter((u) => u >= 0)
}

/**
 * The bound link, or those that hold an own endpoint address; behind 1:1 NAT, as in most clouds, neither is known: then
 * those of the default route, and where not even these are known every link with an address.
 */
function linksOf(
  bound: string | undefined,
  holding: readonly HostLink[],
  facts: HostFacts,
): readonly HostLink[] {
  if (bound !== undefined) return facts.links.filter((link) => link.name === bound)
  if (holding.length > 0) return holding
  const byDefault = facts.links.filter((link) => link.defaultRoute === true)
  if (byDefault.length > 0) return byDefault
  return facts.links.filter((link) => link.up && link.addresses.length > 0)
}

function holdsAddress(link: HostLink, address: OwnEndpoint['address']): boolean {
  return address !== undefined && link.addresses.some((held) => held.address === address)
}
