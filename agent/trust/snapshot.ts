/**
 * From judged gateways to the snapshot's maps. Gateways, and lists of gateways, that did not change stay the same objects:
 * those who follow compare references.
 */
import type { Certificate, GatewayRecord, Name } from '../model/fabric.ts'
import type { Gateway, Snapshot } from '../model/gateway.ts'
import type { Prefix } from '../model/prefix.ts'
import { compareText } from './refusal.ts'

export function gatewayOf(
  {
    certificate,
    certified,
    barred,
  }: {
    readonly certificate: Certificate
    readonly certified: readonly Prefix[]
    readonly barred: boolean
  },
  record: GatewayRecord,
  { endpoints, networks }: Pick<Gateway, 'endpoints' | 'networks'>,
  { prefixes, shared }: { readonly prefixes: readonly Prefix[]; readonly shared: readonly Prefix[] },
): Gateway {
  const { gateway: name, number, site, plane } = certificate
  const { generation, tunnelKeys, weight, state } = record
  return {
    name,
    number,
    site,
    plane,
    generation,
    tunnelKeys,
    endpoints,
    prefixes,
    certified,
    networks,
    weight,
    state,
    ...(shared.length > 0 ? { shared } : {}),
    ...(barred ? { barred } : {}),
  }
}

type Maps = Omit<Snapshot, 'fabric'>

/** Gateways by name, in order; and by site, in order of number. */
export function mapsOf(gateways: readonly Gateway[]): Maps {
  const byName = gateways.toSorted((a, b) => compareText(a.name, b.name))
  const sites = groups(byName, ({ site }) => site.name)
  const inOrder = [...sites].sort(([a], [b]) => compareText(a, b))
  return {
    gateways: new Map(byName.map((gateway) => [gateway.name, gateway])),
    sites: new Map(inOrder.map(([site, members]) => [site, members.sort((a, b) => a.number - b.number)])),
  }
}

/** The maps after a change; `changed` holds each gateway that is different, undefined where it is gone. */
export function mapsAfter(before: Maps | undefined, changed: ReadonlyMap<Name, Gateway | undefined>): Maps {
  if (before === undefined) return mapsOf([...changed.values()].filter((gateway) => gateway !== undefined))
  const gateways = new Map<Name, Gateway>(before.gateways)
  let sameOrder = true
  for (const [name, gateway] of changed) {
    const old = before.gateways.get(name)
    if (gateway === undefined) gateways.delete(name)
    else gateways.set(name, gateway)
    sameOrder &&= old?.site.name === gateway?.site.name && old?.number === gateway?.number
  }
  if (sameOrder) {
    const sites = new Map<Name, readonly Gateway[]>(before.sites)
    for (const site of new Set([...changed.values()].flatMap((gateway) => gateway?.site.name ?? []))) {
      const members = sites.get(site) ?? []
      sites.set(
        site,
        members.map((member) => gateways.get(member.name) ?? member),
      )
    }
    return { gateways, sites }
  }
  const maps = mapsOf([...gateways.values()])
  const sites = new Map(maps.sites)
  for (const [site, members] of maps.sites) {
    const old = before.sites.get(site)
    if (old?.length === members.length && old.every((member, i) => member === members[i]))
      sites.set(site, old)
  }
  return { gateways: maps.gateways, sites }
}

/** Equal in all that a snapshot shows. */
export function sameGateway(a: Gateway | undefined, b: Gateway | undefined): boolean {
  if (a === undefined || b === undefined) return a === b
  if (!sameList(a.prefixes, b.prefixes) || !sameList(a.certified, b.certified)) return false
  const rest = (gateway: Gateway): string => JSON.stringify({ ...gateway, prefixes: 0, certified: 0 })
  return rest(a) === rest(b)
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a === b || (a.length === b.length && a.every((element, i) => element === b[i]))
}

export function groups<T, K>(elements: Iterable<T>, by: (element: T) => K): Map<K, T[]> {
  const map = new Map<K, T[]>()
  for (const element of elements) group(map, by(element), element)
  return map
}

export function group<K, T>(map: Map<K, T[]>, key: K, element: T): void {
  const found = map.get(key)
  if (found === undefined) map.set(key, [element])
  else found.push(element)
}
