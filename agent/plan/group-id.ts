/**
 * Ids of nexthop groups.
 *
 * Routes point at a group by id, so an id must mean the same over restarts and must never come to mean something else:
 * `next` only grows and is kept, with the map, in the state directory. If that is lost, the ids are recovered from the
 * routes that point at them, by set().
 */
import { LinkspanError } from '../errors.ts'
import { nexthopId } from '../model/kernel-number.ts'
import type { NexthopGroup } from '../model/kernel-object.ts'

/** The saved form. */
export interface SavedGroupIds {
  readonly next: number
  readonly ids: Readonly<Record<string, number>>
}

/** Group of the prefixes of the default network that exactly these gateways of a site originate. */
export function prefixGroupKey(site: string, gateways: readonly string[]): string {
  return `default ${site} ${[...gateways].sort().join(',')}`
}

/** Group of a remote gateway's overlay addresses. */
export function gatewayGroupKey(gateway: string): string {
  return `gateway ${gateway}`
}

export class GroupIds {
  /** Something changed since it was last saved; whoever saves sets it to false. */
  dirty = false
  #next: number
  readonly #ids: Map<string, number>

  constructor(saved: SavedGroupIds = { next: nexthopId.firstGroup, ids: {} }) {
    this.#ids = new Map(Object.entries(saved.ids))
    this.#next = Math.max(nexthopId.firstGroup, saved.next)
    for (const id of this.#ids.values()) this.#next = Math.max(this.#next, id + 1)
  }

  /** The id of this key, or the next free one. Throws `internal` when 16 million are used up. */
  idOf(key: string): number {
    const known = this.#ids.get(key)
    if (known !== undefined) return known
    const id = this.#next
    if (id > nexthopId.last) {
      throw new LinkspanError({
        code: 'internal',
        object: `nexthop group "${key}"`,
        reason: 'all ids for nexthop groups were used once',
        next: 'run `linkspan down` and start the agent with an empty state directory',
      })
    }
    this.#ids.set(key, id)
    this.#next = id + 1
    this.dirty = true
    return id
  }

  has(key: string): boolean {
    return this.#ids.has(key)
  }

  /** Recovery: this key has this id already, in the kernel. */
  set(key: string, id: number): void {
    if (this.#ids.get(key) === id) return
    this.#ids.set(key, id)
    this.#next = Math.max(this.#next, id + 1)
    this.dirty = true
  }

  /** Gateways that have a group of their own. */
  get gateways(): readonly string[] {
    const mark = gatewayGroupKey('')
    return [...this.#ids.keys()].filter((key) => key.startsWith(mark)).map((key) => key.slice(mark.length))
  }

  /** Forgets the keys of groups that are not among these. Their ids are not given out again. */
  retain(groups: Iterable<NexthopGroup>): void {
    const used = new Set<number>()
    for (const { id } of groups) used.add(id)
    for (const [key, id] of this.#ids) {
      if (used.has(id)) continue
      this.#ids.delete(key)
      this.dirty = true
    }
  }

  toJSON(): SavedGroupIds {
    return { next: this.#next, ids: Object.fromEntries(this.#ids) }
  }
}
