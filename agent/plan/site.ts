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
import type { Group, Via } from './nexthop.ts'
import { pathsTo } from './path.ts'
import { prefixRoute } from './route.ts'
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
  const groups = new Map<readonly Via[], Group>()
  let unserved = 0

  for (const [prefix, vias] of originated(local, gateways)) {
    const reason = local.refusal(prefix)
    if (reason !== undefined) {
      notes.push({ kind: 'prefix-not-installed', object: `prefix ${prefix}`, reason, site, prefix })
      continue
    }
    objects.push(prefixElement('remote', prefix))
    // Outside the mesh there is no route; the element above stays, so that the packet does not take another way.
    if (vias.length === 0) continue
    if (!local.families.includes(familyOf(prefix))) {
      unserved++
      continue
    }
    let group = groups.get(vias)
    if (group === undefined) {
      const names = vias.map(({ gateway }) => gateway.name)
      group = groupOf(local, prefixGroupKey(site, names), vias)
      groups.set(vias, group)
      objects.push(group.object)
      if (group.down) notes.push(downNote(site, names, group))
    }
    objects.push(prefixRoute(local, group, prefix))
  }
  if (unserved > 0) {
    const reason = `this host has IPv6 disabled, so ${unserved} IPv6 prefixes have no route`
    notes.push({ kind: 'prefix-not-installed', object: `site ${site}`, reason, site })
  }
  return { objects, notes }
}

function downNote(site: Name, names: readonly Name[], { mtu }: Group): Note {
  const why = mtu === undefined ? 'there is no path' : 'every path is down'
  return {
    kind: 'all-paths-down',
    object: `site ${site}`,
    reason: `${why} to ${names.join(', ')}: packets to its prefixes are dropped here`,
    site,
  }
}

/**
 * Every prefix of the site once, with those of its gateways that originate it and are peers of ours. Equal sets are one
 * array.
 */
function* originated(
  local: Local,
  gateways: readonly Gateway[],
): Generator<readonly [Prefix, readonly Via[]]> {
  const all = gateways
    .filter((gateway) => isPeer(local, gateway))
    .map((gateway): Via => ({ gateway, paths: pathsTo(local, gateway).paths }))
  if (gateways.length === 1) {
    for (const prefix of gateways[0]?.prefixes ?? []) yield [prefix, all]
    return
  }
  // A set of gateways is a bit for each: sites have at most four.
  const sets = new Map<Prefix, number>()
  for (const gateway of gateways) {
    const i = all.findIndex((via) => via.gateway === gateway)
    const set = i < 0 ? 0 : 1 << i
    for (const prefix of gateway.prefixes) sets.set(prefix, (sets.get(prefix) ?? 0) | set)
  }
  const members = new Map<number, readonly Via[]>()
  for (const [prefix, set] of sets) {
    let vias = members.get(set)
    if (vias === undefined) {
      vias = all.filter((_, i) => (set & (1 << i)) !== 0)
      members.set(set, vias)
    }
    yield [prefix, vias]
  }
}
