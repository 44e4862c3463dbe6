/**
 * The share of a remote site: the routes of its prefixes, and the guard elements that keep packets to them from leaving in
 * clear. Prefixes of two gateways of a site are here once. No other share holds the same route: the snapshot gives a prefix
 * to one site only, one that sites share is here with the site in use (shared.ts), and what we throw ourselves is refused
 * here. The nexthop groups are another share (group.ts).
 */
import type { Name } from '../model/fabric.ts'
import type { Gateway } from '../model/gateway.ts'
import type { KernelObject } from '../model/kernel-object.ts'
import { familyOf } from '../model/prefix.ts'
import { prefixElement } from './firewall-element.ts'
import { prefixGroup } from './group.ts'
import type { Note } from './input.ts'
import type { Local } from './local.ts'
import type { GroupRef } from './nexthop.ts'
import { originated } from './origin.ts'
import { prefixRoute } from './route.ts'
import { useOf } from './shared.ts'

/** Gateways of our own site are no remote site: nothing. */
export function siteShare(
  local: Local,
  site: Name,
): { readonly objects: readonly KernelObject[]; readonly notes: readonly Note[] } {
  const objects: KernelObject[] = []
  const notes: Note[] = []
  if (site === local.self.site.name) return { objects, notes }
  const groups = new Map<readonly Gateway[], GroupRef | undefined>()
  let unserved = 0

  const gateways = local.input.snapshot.sites.get(site) ?? []
  for (const [prefix, origins] of originated(gateways)) {
    if (origins.every(({ state }) => state === 'withdrawn')) continue
    const reason = local.refusal(prefix)
    if (reason !== undefined) {
      notes.push({ kind: 'prefix-not-installed', object: `prefix ${prefix}`, reason, site, prefix })
      continue
    }
    const use = useOf(local, prefix)
    if (use !== undefined) {
      if (use.site !== site) continue
      const { reason } = use
      notes.push({ kind: 'prefix-shared', object: `prefix ${prefix}`, reason, site, prefix })
    }
    objects.push(prefixElement('remote', prefix))
    if (!groups.has(origins)) groups.set(origins, prefixGroup(local, site, origins)?.ref)
    const group = groups.get(origins)
    // Outside the mesh there is no route; the element above stays, so that the packet does not take another way.
    if (group === undefined) continue
    if (local.families.includes(familyOf(prefix))) objects.push(prefixRoute(local, group, prefix))
    else unserved++
  }
  if (unserved > 0) {
    const reason = `this host has IPv6 disabled, so ${unserved} IPv6 prefixes have no route`
    notes.push({ kind: 'prefix-not-installed', object: `site ${site}`, reason, site })
  }
  return { objects, notes }
}
