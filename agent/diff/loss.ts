/**
 * What goes without being asked to. The kernel takes with a link all that is on it, and with a nexthop its places in
 * groups; a group without members goes with its routes (net/ipv4/nexthop.c, remove_nexthop). Where diff removes a thing
 * only to make it anew, everything observed that goes with it counts as gone, and so is made anew too.
 */
import type { KernelObject, Link, NexthopGroup } from '../model/kernel-object.ts'
import { mustBeRemade } from './equal.ts'
import type { KeyedState } from './keyed.ts'
import { carrierOf } from './ownership.ts'
import type { Found } from './found.ts'

/** Observed objects that must go before their successors can come, under the same name or id. */
export class Loss {
  /** Removals that stand in front of all else. */
  readonly remade: KernelObject[] = []
  readonly #links = new Set<string>()
  readonly #ids = new Set<number>()

  constructor(desired: KeyedState, found: Found) {
    for (const link of found.byKind.link) {
      const successor = desired.byKind.link.get(link)
      if (successor !== undefined && mustBeRemade(successor, link)) {
        this.remade.push(link)
        this.#links.add(link.name)
      }
    }
    this.#clashingIds(desired, found)
    for (const nexthop of found.byKind.nexthop) {
      if (nexthop.device !== undefined && this.#links.has(nexthop.device)) this.#ids.add(nexthop.id)
    }
    if (this.#ids.size === 0) return
    for (const group of found.byKind.group) {
      if (group.members.every(({ id }) => this.#ids.has(id))) this.#ids.add(group.id)
    }
  }

  get isEmpty(): boolean {
    return this.#links.size === 0 && this.#ids.size === 0
  }

  /** What is left of an observed object; undefined: nothing. */
  rest(object: KernelObject): KernelObject | undefined {
    switch (object.kind) {
      case 'link':
        return this.#restOfLink(object)
      case 'nexthop':
        return this.#ids.has(object.id) ? undefined : object
      case 'group':
        return this.#restOfGroup(object)
      case 'route':
        return object.nexthop !== undefined && this.#ids.has(object.nexthop) ? undefined : object
      default:
        return this.#links.has(carrierOf(object) ?? '') ? undefined : object
    }
  }

  #restOfLink(link: Link): Link | undefined {
    if (this.#links.has(link.name)) return undefined
    const { master, ...alone } = link
    return master === undefined || !this.#links.has(master) ? link : alone
  }

  #restOfGroup(group: NexthopGroup): NexthopGroup | undefined {
    if (this.#ids.has(group.id)) return undefined
    const members = group.members.filter(({ id }) => !this.#ids.has(id))
    return members.length === group.members.length ? group : { ...group, members }
  }

  /** Nexthops and groups share one space of ids, and none becomes the other in place. */
  #clashingIds(desired: KeyedState, found: Found): void {
    for (const nexthop of found.byKind.nexthop) {
      if (desired.byKind.group.get({ kind: 'group', id: nexthop.id, members: [] }) === undefined) continue
      this.remade.push(nexthop)
      this.#ids.add(nexthop.id)
    }
    for (const group of found.byKind.group) {
      if (desired.byKind.nexthop.get({ kind: 'nexthop', id: group.id, family: 6 }) === undefined) continue
      this.remade.push(group)
      this.#ids.add(group.id)
    }
  }
}

/**
 * Removals that need no op, because what they are on is removed in the same pass. That keeps every prefix of the op list
 * valid: links go last, and by then no group holds their nexthops and no route needs their addresses.
 */
export class Implied {
  readonly #links = new Set<string>()
  /** Public keys of removed peers by device. */
  readonly #peers = new Map<string, Set<string>>()
  /** Sets that are left when the ruleset changes; undefined: the ruleset stays. */
  readonly #sets: ReadonlySet<string> | undefined

  constructor(desired: KeyedState, found: Found) {
    for (const link of found.byKind.link) {
      if (desired.byKind.link.get(link) === undefined) this.#links.add(link.name)
    }
    for (const peer of found.byKind.peer) {
      if (desired.byKind.peer.get(peer) !== undefined) continue
      const keys = this.#peers.get(peer.device)
      if (keys === undefined) this.#peers.set(peer.device, new Set([peer.publicKey]))
      else keys.add(peer.publicKey)
    }
    for (const before of found.byKind.ruleset) {
      const after = desired.byKind.ruleset.get(before)
      if (after?.digest !== before.digest) this.#sets = new Set(after?.sets.map(({ name }) => name))
    }
  }

  covers(object: KernelObject): boolean {
    switch (object.kind) {
      case 'device':
        return true // there is no WireGuard link without its WireGuard side
      case 'sysctl':
        return false // the driver is to forget what it was before
      case 'element':
        return this.#sets !== undefined && !this.#sets.has(object.set)
      case 'allowed-ip':
        return (
          this.#links.has(object.device) || this.#peers.get(object.device)?.has(object.publicKey) === true
        )
      default:
        return this.#links.has(carrierOf(object) ?? '')
    }
  }
}
