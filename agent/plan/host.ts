/**
 * The share of the host: what this gateway has once, whatever its peers. It changes when a device comes or goes, when the
 * host or our own site changes, and when a prefix length comes into use that the firewall has no set for.
 */
import type { KernelObject } from '../model/kernel-object.ts'
import { prefixElement } from './firewall-element.ts'
import { ruleset } from './firewall.ts'
import type { FirewallInput } from './firewall.ts'
import type { Note } from './input.ts'
import type { Local } from './local.ts'
import { deviceNexthops } from './nexthop.ts'
import { overlayEnds, throwRoutes, underlayRoutes } from './route.ts'
import { rules } from './rule.ts'
import { sysctls } from './sysctl.ts'
import { deviceObjects, heldDevices } from './wireguard.ts'

/** The certificate says which site is ours; what the configuration calls it is not asked. */
export function firewallInput({ input, self }: Local): FirewallInput {
  return { snapshot: input.snapshot, own: { ...input.own, site: self.site.name }, facts: input.facts }
}

export function hostShare(local: Local): {
  readonly objects: readonly KernelObject[]
  readonly notes: readonly Note[]
} {
  const held = heldDevices(local)
  const certified = new Set(local.site.flatMap((gateway) => gateway.certified))
  const objects: readonly KernelObject[] = [
    ruleset(firewallInput(local)),
    ...[...certified].map((prefix) => prefixElement('own', prefix)),
    ...deviceObjects(local, held),
    ...sysctls(local, held),
    ...deviceNexthops(local, held),
    ...overlayEnds(local),
    ...throwRoutes(local),
    ...underlayRoutes(local),
    ...rules(local),
  ]
  return { objects, notes: local.notes }
}
