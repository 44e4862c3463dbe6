/**
 * The observed state, sorted into what is ours, by kind, and what is somebody else's. References only: 100,000 routes
 * cost an array of pointers.
 */
import type { Kind, KernelObject } from '../model/kernel-object.ts'
import { carrierOf, isOurs } from './ownership.ts'
import type { ObjectOf } from './keyed.ts'

type Lists = { readonly [K in Kind]: ObjectOf<K>[] }

export class Found {
  readonly byKind: Lists = {
    link: [],
    port: [],
    device: [],
    peer: [],
    'allowed-ip': [],
    address: [],
    fdb: [],
    nexthop: [],
    group: [],
    route: [],
    rule: [],
    sysctl: [],
    ruleset: [],
    element: [],
  }
  readonly foreign: KernelObject[] = []
  readonly #foreignLinks = new Set<string>()

  add(object: KernelObject): void {
    // A sysctl belongs to nobody; what another wrote is observed so that it can be compared.
    if (object.kind === 'sysctl' || isOurs(object)) this.of(object.kind).push(object)
    else {
      this.foreign.push(object)
      if (object.kind === 'link') this.#foreignLinks.add(object.name)
    }
  }

  of(kind: Kind): KernelObject[] {
    return this.byKind[kind]
  }

  /** True where the object sits on somebody else's link under a name of ours: then it is theirs as well. */
  isOnForeignLink(object: KernelObject): boolean {
    return this.#foreignLinks.size > 0 && this.#foreignLinks.has(carrierOf(object) ?? '')
  }
}
