/**
 * The mesh: which gateways may reach each other. Selectors match what the authority certified of a site, never what a
 * gateway says of itself. A rule holds in both directions, since both ends must list the other as a peer.
 */
import type { Fabric, Selector, Site } from '../model/fabric.ts'
import type { Gateway } from '../model/gateway.ts'

/** Gateways of one site always may. */
export function mayReach(fabric: Fabric, a: Gateway, b: Gateway): boolean {
  if (fabric.mesh === 'all' || a.site.name === b.site.name) return true
  return fabric.mesh.some(
    ({ between, and }) =>
      (selects(between, a.site) && selects(and, b.site)) ||
      (selects(between, b.site) && selects(and, a.site)),
  )
}

/** All that is given must hold. */
export function selects(selector: Selector, site: Site): boolean {
  return (
    (selector.site === undefined || selector.site === site.name) &&
    (selector.provider === undefined || selector.provider === site.provider) &&
    (selector.region === undefined || selector.region === site.region) &&
    Object.entries(selector.labels ?? {}).every(([name, value]) => site.labels[name] === value)
  )
}
