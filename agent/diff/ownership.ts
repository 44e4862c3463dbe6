/**
 * What is ours: the one definition. An observed object that is not ours is never changed and never removed; where it
 * stands in the way of a desired one, that is a conflict (conflict.ts).
 *
 * Ownership survives a restart without memory: link group, ids, protocol numbers, priorities and names say it. Two things
 * cannot carry a mark of their own and follow their link: what sits on a link under one of our names is ours exactly when
 * that link is, which only a view of all links can tell (diff.ts does). A sysctl is ours when we wrote it, which only the
 * state directory knows.
 */
import type { KernelObject, Link, Nexthop, NexthopGroup } from '../model/kernel-object.ts'
import {
  isOwnedNexthop,
  linkGroup,
  linkPattern,
  nexthopProtocol,
  nftTable,
  overlayTable,
  routeProtocol,
  rulePriority,
  underlayTable,
} from '../model/kernel-number.ts'
import { maxUnderlays } from '../model/fabric.ts'

/** True where linkspan made the observed object. For objects on a link: where the link's name is one of ours. */
export function isOurs(object: KernelObject): boolean {
  switch (object.kind) {
    case 'link':
      return isOurLink(object)
    case 'device':
      return linkPattern.test(object.name)
    case 'peer':
    case 'allowed-ip':
      return linkPattern.test(object.device)
    case 'address':
    case 'fdb':
      return linkPattern.test(object.link)
    case 'port':
      return linkPattern.test(object.master)
    case 'group':
      return object.otherType !== true && isOurNexthop(object)
    case 'nexthop':
      return isOurNexthop(object)
    case 'route':
      return isOurTable(object.table) && (object.protocol ?? routeProtocol) === routeProtocol
    case 'rule':
      return isOurPriority(object.priority) && (object.protocol ?? routeProtocol) === routeProtocol
    case 'sysctl':
      return object.previous !== undefined
    case 'ruleset':
      return object.table === nftTable
    case 'element':
      return true // the driver lists no table but ours
  }
}

/** A link by our name that is in our group, or that the state directory lists. */
function isOurLink(link: Link): boolean {
  return linkPattern.test(link.name) && (link.group === linkGroup || link.ours === true)
}

function isOurNexthop({ id, protocol }: Nexthop | NexthopGroup): boolean {
  return isOwnedNexthop(id) && (protocol ?? nexthopProtocol) === nexthopProtocol
}

function isOurTable(table: number): boolean {
  return table === overlayTable || (table >= underlayTable(0) && table < underlayTable(maxUnderlays))
}

function isOurPriority(priority: number): boolean {
  return (
    priority === rulePriority.underlay || priority === rulePriority.stop || priority === rulePriority.overlay
  )
}

/** The link an object sits on and vanishes with; undefined for links and for what needs none. */
export function carrierOf(object: KernelObject): string | undefined {
  switch (object.kind) {
    case 'device':
      return object.name
    case 'peer':
    case 'allowed-ip':
      return object.device
    case 'address':
    case 'fdb':
      return object.link
    case 'port':
      return object.master
    case 'nexthop':
      return object.device
    case 'sysctl':
      return /^net\/ipv[46]\/(?:conf|neigh)\/([^/]+)\//.exec(object.name)?.[1]
    default:
      return undefined
  }
}
