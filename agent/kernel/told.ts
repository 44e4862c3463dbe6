/**
 * What the daemon has been told of links and addresses, by facts, by an observation, or because it did it itself.
 *
 * Events are compared with this and with nothing else: one that says the same is no news. The driver's own changes come
 * back as events without our port id (links going up, IPv6 addresses), and a router advertisement repeats an address
 * every few seconds; neither may cost an audit.
 */
import { linkPattern } from '../model/kernel-number.ts'
import type { ObservedLink } from './link.ts'

export class Told {
  readonly #links = new Map<number, string>()
  readonly #addresses = { own: new Set<string>(), foreign: new Set<string>() }
  readonly #ownLinks = new Set<number>()
  /** Links whose routes of table main are facts. */
  bound: ReadonlySet<number> = new Set()

  /** All links of one side: ours by name (`own`), or the host's. */
  links(found: readonly ObservedLink[], own: boolean): void {
    for (const ifindex of this.#links.keys()) {
      if (this.#ownLinks.has(ifindex) === own) this.forget(ifindex)
    }
    for (const link of found) if (linkPattern.test(link.name) === own) this.link(link)
  }

  link(link: ObservedLink): void {
    this.#links.set(link.ifindex, textOf(link))
    if (linkPattern.test(link.name)) this.#ownLinks.add(link.ifindex)
    else this.#ownLinks.delete(link.ifindex)
  }

  forget(ifindex: number): void {
    this.#links.delete(ifindex)
    this.#ownLinks.delete(ifindex)
  }

  knows(link: ObservedLink): boolean {
    return this.#links.get(link.ifindex) === textOf(link)
  }

  has(ifindex: number): boolean {
    return this.#links.has(ifindex)
  }

  addresses(found: Iterable<{ ifindex: number; address: string; length: number }>, own: boolean): void {
    const set = own ? this.#addresses.own : this.#addresses.foreign
    set.clear()
    for (const { ifindex, address, length } of found) set.add(addressKey(ifindex, `${address}/${length}`))
  }

  /** An address of our own that is about to be added or removed. */
  address(verb: 'add' | 'remove', ifindex: number, address: string): void {
    const key = addressKey(ifindex, address)
    if (verb === 'add') this.#addresses.own.add(key)
    else this.#addresses.own.delete(key)
  }

  knowsAddress(own: boolean, ifindex: number, address: string): boolean {
    return (own ? this.#addresses.own : this.#addresses.foreign).has(addressKey(ifindex, address))
  }
}

function addressKey(ifindex: number, address: string): string {
  return `${ifindex} ${address}`
}

function textOf({ name, up, mtu, group, master, alias, mac }: ObservedLink): string {
  return `${name} ${up} ${mtu} ${group} ${master ?? 0} ${mac ?? ''} ${alias ?? ''}`
}
