/**
 * The share of a remote gateway: its peers on our devices, and the way to its overlay addresses. Those have a group of
 * their own, because VXLAN and the gateway itself must be reached by its paths and by no other gateway's.
 */
import type { Gateway } from '../model/gateway.ts'
import type { KernelObject } from '../model/kernel-object.ts'
import { gatewayGroupKey } from './group-id.ts'
import type { Note } from './input.ts'
import type { Local } from './local.ts'
import { groupOf } from './nexthop.ts'
import { pathsTo } from './path.ts'
import { overlayRoutes } from './route.ts'
import { isPeer, peerObjects } from './wireguard.ts'

export function gatewayShare(
  local: Local,
  gateway: Gateway,
): { readonly objects: readonly KernelObject[]; readonly notes: readonly Note[] } {
  if (gateway.name === local.self.name) return { objects: [], notes: [] }
  const about = { object: `gateway ${gateway.name}`, gateway: gateway.name, site: gateway.site.name }
  if (gateway.state === 'withdrawn') {
    return {
      objects: [],
      notes: [{ ...about, kind: 'withdrawn', reason: 'its record says that it left the fabric' }],
    }
  }
  if (!isPeer(local, gateway)) {
    const reason = 'the mesh of the fabric document does not join it with us'
    return { objects: [], notes: [{ ...about, kind: 'outside-mesh', reason }] }
  }
  const { paths, missing } = pathsTo(local, gateway)
  if (paths.length === 0) {
    const why = missing.map(({ underlay, reason }) => `${underlay}: ${reason}`).join('; ')
    const reason = why === '' ? 'neither end has an endpoint' : why
    return { objects: [], notes: [{ ...about, kind: 'no-path', reason }] }
  }
  const group = groupOf(local, gatewayGroupKey(gateway.name), [{ gateway, paths }])
  if (local.self.barred === true) {
    // What led to it stays, and leads nowhere: when we are let in again, nothing but the group is different.
    const reason = 'our own certificate ended'
    return {
      objects: [group.object, ...overlayRoutes(local, gateway, group)],
      notes: [{ ...about, kind: 'no-path', reason }],
    }
  }
  return {
    objects: [...peerObjects(local, gateway, paths), group.object, ...overlayRoutes(local, gateway, group)],
    notes: missing.map(({ underlay, reason }) => ({
      ...about,
      kind: 'underlay-not-common',
      reason: `${underlay}: ${reason}`,
    })),
  }
}
