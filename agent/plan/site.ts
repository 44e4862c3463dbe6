/**
 * The share of a remote site: the groups of its gateways, the routes of its prefixes, and the guard elements that keep
 * packets to them from leaving in clear. Prefixes of two gateways of a site are here once. No other share holds the same
 * route: the snapshot gives a prefix to one site only, and what we throw ourselves is refused here.
 */
import type { Name } from '../model/fabric.ts'
import type { Gateway } from '../model/gateway.ts'
import type { KernelObject } from '../model/kernel-object.ts'
import { familyOf } from '../model/prefix.ts'
import type { Prefix } from '../model/prefix.ts'
import { prefixElement } from './firewall-element.ts'
import { prefixGroupKey } from './group-id.ts'
import type { Note } from './input.ts'
import type { Local } from './local.ts'
import { groupOf } from './nexthop.ts'
import type { Group } from './nexthop.ts'
import { pathsTo } from './path.ts'
import { prefixRoutes } from './route.ts'
import { isPeer } from './wireguard.ts'

/** Gateways of our own site are no remote site: nothing. */
export function siteShare(
  local: Local,
  site: Name,
): { readonly objects: readonly KernelObject[]; readonly notes: readonly Note[] } {
  const objects: KernelObject[] = []
  const notes: Note[] = []
  if (site === local.self.site.name) return { objects, notes }
  const gateways = (local.input.snapshot.sites.get(site) ?? []).filter(({ state }) => state !== 'withdrawn')
  const groups = new Map<
    string,
    { readonly group: Group; readonly toRoute: ReturnType<typeof prefixRoutes> }
  >()
  let unserved = 0

  for (const { prefix, originators } of originated(gateways)) {
    const reason = local.refusal(prefix)
    if (reason !== undefined) {
      notes.push({ kind: 'prefix-not-installed', object: `prefix ${prefix}`, reason, site, prefix })
      continue
    }
    objects.push(prefixElement('remote', prefix))
    if (!local.families.includes(familyOf(prefix))) {
      unserved++
      continue
    }
    const peers = originators.filter((gateway) => isPeer(local, gateway))
    // Outside the mesh there is no route; the guard element stays, so that the packet does not take another way.
    if (peers.length === 0) continue
    const key = prefixGroupKey(
      site,
      peers.map(({ name }) => name),
    )
    let entry = groups.get(key)
    if (entry === undefined) {
      const vias = peers.map((gateway) => ({ gateway, paths: pathsTo(local, gateway).paths }))
      const group = groupOf(local, key, vias)
      entry = { group, toRoute: prefixRoutes(local, group) }
      groups.set(key, entry)
      objects.push(group.object)
      if (group.down) notes.push(downNote(site, peers, group))
    }
    objects.push(entry.toRoute(prefix))
  }
  if (unserved > 0) {
    const reason = `this host has IPv6 disabled, so ${unserved} IPv6 prefixes have no route`
    notes.push({ kind: 'prefix-not-installed', object: `site ${site}`, reason, site })
  }
  return { objects, notes }
}

function downNote(site: Name, peers: readonly Gateway[], { mtu }: Group): Note {
  const gateways = peers.map(({ name }) => name).join(', ')
  const why = mtu === undefined ? 'there is no path' : 'every path is down'
  return {
    kind: 'all-paths-down',
    object: `site ${site}`,
    reason: `${why} to ${gateways}: packets to its prefixes are dropped here`,
    site,
  }
}

/** Every prefix of the site once, with the gateways that originate it. */
function* originated(
  gateways: readonly Gateway[],
): Generator<{ readonly prefix: Prefix; readonly originators: readonly Gateway[] }> {
  if (gateways.length === 1) {
    for (const prefix of gateways[0]?.prefixes ?? []) yield { prefix, originators: gateways }
    return
  }
  const sets = new Map<Prefix, number>()
  for (const [i, gateway] of gateways.entries()) {
    for (const prefix of gateway.prefixes) sets.set(prefix, (sets.get(prefix) ?? 0) | (1 << i))
  }
  const members = new Map<number, readonly Gateway[]>()
  for (const [prefix, set] of sets) {
    let originators = members.get(set)
    if (originators === undefined) {
      originators = gateways.filter((_, i) => (set & (1 << i)) !== 0)
      members.set(set, originators)
    }
    yield { prefix, originators }
  }
}
