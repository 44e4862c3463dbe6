/**
 * The share of a remote gateway: its peers on our devices, and the routes to its overlay addresses. Those have a group of
 * their own (group.ts), because VXLAN and the gateway itself must be reached by its paths and by no other gateway's.
 */
import type { Gateway } from '../model/gateway.ts'
import type { KernelObject } from '../model/kernel-object.ts'
import { gatewayGroup } from './group.ts'
import type { Note } from './input.ts'
import type { Local } from './local.ts'
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
  const group = gatewayGroup(local, gateway)
  if (group === undefined) {
    const why = missing.map(({ underlay, reason }) => `${underlay}: ${reason}`).join('; ')
    const reason = why === '' ? 'neither end has an endpoint' : why
    return { objects: [], notes: [{ ...about, kind: 'no-path', reason }] }
  }
  const routes = overlayRoutes(local, gateway, group.ref)
  if (local.self.barred === true) {
    // What led to it stays, and leads nowhere: when we are let in again, nothing but the group is different.
    return { objects: routes, notes: [{ ...about, kind: 'no-path', reason: 'our own certificate ended' }] }
  }
  return {
    objects: [...peerObjects(local, gateway, paths), ...routes],
    notes: missing.map(({ underlay, reason }) => ({
      ...about,
      kind: 'underlay-not-common',
      reason: `${underlay}: ${reason}`,
    })),
  }
}
