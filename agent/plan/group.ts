/**
 * The nexthop groups that lead to a remote site: one for each set of gateways that originate prefixes, and one for each
 * gateway's own overlay addresses. They are a share of their own because they alone depend on the state of paths: when a
 * gateway or an underlay fails, this is re-planned and nothing else, whatever the number of prefixes.
 */
import type { Name } from '../model/fabric.ts'
import type { Gateway } from '../model/gateway.ts'
import type { KernelObject } from '../model/kernel-object.ts'
import { gatewayGroupKey, prefixGroupKey } from './group-id.ts'
import type { Note } from './input.ts'
import { isSiteMate } from './local.ts'
import type { Local } from './local.ts'
import { groupOf, groupRef, isBlackhole } from './nexthop.ts'
import type { GroupRef, Via } from './nexthop.ts'
import { originSets } from './origin.ts'
import { pathsTo } from './path.ts'
import { isPeer } from './wireguard.ts'

export interface GroupPlan {
  readonly key: string
  readonly vias: readonly Via[]
  readonly ref: GroupRef
}

/** The group of the prefixes that exactly these gateways of a site originate; undefined where the mesh joins us with none. */
export function prefixGroup(local: Local, site: Name, origins: readonly Gateway[]): GroupPlan | undefined {
  const peers = origins.filter((gateway) => isPeer(local, gateway))
  if (peers.length === 0) return undefined
  const vias = peers.map((gateway): Via => ({ gateway, paths: pathsTo(local, gateway).paths }))
  const names = peers.map(({ name }) => name)
  return planOf(local, prefixGroupKey(site, names), vias)
}

/** The group of a gateway's overlay addresses; undefined where there is no path to it. */
export function gatewayGroup(local: Local, gateway: Gateway): GroupPlan | undefined {
  const { paths } = pathsTo(local, gateway)
  if (paths.length === 0 || !isPeer(local, gateway)) return undefined
  return planOf(local, gatewayGroupKey(gateway.name), [{ gateway, paths }])
}

function planOf(local: Local, key: string, vias: readonly Via[]): GroupPlan {
  return { key, vias, ref: groupRef(local, key, vias) }
}

/** All groups of a site. Of our own only those of the other gateways themselves. */
export function groupsShare(
  local: Local,
  site: Name,
): { readonly objects: readonly KernelObject[]; readonly notes: readonly Note[] } {
  const objects = new Map<string, KernelObject>()
  const notes: Note[] = []
  const gateways = local.input.snapshot.sites.get(site) ?? []
  const isOwn = gateways.some((gateway) => isSiteMate(local, gateway))
  for (const origins of isOwn ? [] : originSets(gateways)) {
    const plan = prefixGroup(local, site, origins)
    // Sets that differ by a gateway outside the mesh are one group.
    if (plan === undefined || objects.has(plan.key)) continue
    const group = groupOf(local, plan.key, plan.vias)
    objects.set(plan.key, group)
    if (isBlackhole(local, group)) notes.push(downNote(site, plan))
  }
  for (const gateway of gateways) {
    const plan = gateway.name === local.self.name ? undefined : gatewayGroup(local, gateway)
    if (plan !== undefined) objects.set(plan.key, groupOf(local, plan.key, plan.vias))
  }
  return { objects: [...objects.values()], notes }
}

function downNote(site: Name, { vias, ref }: GroupPlan): Note {
  const why = ref.mtu === undefined ? 'there is no path' : 'every path is down'
  const names = vias.map(({ gateway }) => gateway.name).join(', ')
  return {
    kind: 'all-paths-down',
    object: `site ${site}`,
    reason: `${why} to ${names}: packets to its prefixes are dropped here`,
    site,
  }
}
