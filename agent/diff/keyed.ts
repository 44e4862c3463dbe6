/**
 * Objects by kind and key.
 *
 * Routes, AllowedIPs and nft elements are the many (100,000 each), so no key string is built for them: they are kept in
 * two levels, by table, device or set and then by the prefix text they hold anyway. Iteration is in order of insertion.
 */
import { keyOf } from '../model/kernel-object.ts'
import type { Kind, KernelObject } from '../model/kernel-object.ts'

type Key = string | number

export type ObjectOf<K extends Kind> = Extract<KernelObject, { readonly kind: K }>

/**
 * Objects of one kind. The maps hold positions in one list: what is taken leaves a gap there, which is cheaper than a
 * deletion from a map.
 */
export class Keyed<T extends KernelObject> {
  readonly #scopes = new Map<Key, Map<Key, number>>()
  readonly #objects: (T | undefined)[] = []
  // Objects come in runs of one table, device or set: remembering the last one saves most outer lookups.
  #lastKey: Key | undefined
  #last: Map<Key, number> | undefined

  set(object: T): void {
    const key = scopeOf(object)
    let scope = this.#scope(key)
    if (scope === undefined) {
      scope = new Map()
      this.#scopes.set(key, scope)
      this.#last = scope
    }
    const inner = keyInScope(object)
    const { size } = scope
    scope.set(inner, this.#objects.length)
    // One lookup, not two, for the 100,000; that a key comes twice is for conflicts, which set a group anew.
    if (scope.size === size) this.#forget(key, inner)
    this.#objects.push(object)
  }

  /** The object that is the same thing as `other`. */
  get(other: T): T | undefined {
    const position = this.#scope(scopeOf(other))?.get(keyInScope(other))
    return position === undefined ? undefined : this.#objects[position]
  }

  /** As get, and forgets it. */
  take(other: T): T | undefined {
    const position = this.#scope(scopeOf(other))?.get(keyInScope(other))
    if (position === undefined) return undefined
    const object = this.#objects[position]
    this.#objects[position] = undefined
    return object
  }

  /** What is left, in order of insertion. */
  *values(): Generator<T> {
    for (const object of this.#objects) if (object !== undefined) yield object
  }

  #forget(scope: Key, inner: Key): void {
    const position = this.#objects.findIndex(
      (object) => object !== undefined && scopeOf(object) === scope && keyInScope(object) === inner,
    )
    if (position >= 0) this.#objects[position] = undefined
  }

  #scope(key: Key): Map<Key, number> | undefined {
    if (key === this.#lastKey) return this.#last
    this.#lastKey = key
    this.#last = this.#scopes.get(key)
    return this.#last
  }
}

function scopeOf(object: KernelObject): Key {
  switch (object.kind) {
    case 'route':
      return object.table
    case 'allowed-ip':
      return object.device
    case 'element':
      return object.set
    default:
      return 0
  }
}

function keyInScope(object: KernelObject): Key {
  switch (object.kind) {
    case 'route':
      return object.metric === undefined ? object.prefix : `${object.prefix} ${object.metric}`
    case 'allowed-ip':
      return object.prefix
    case 'element':
      return object.key
    case 'nexthop':
    case 'group':
      return object.id
    default:
      return keyOf(object)
  }
}

type ByKind = { readonly [K in Kind]: Keyed<ObjectOf<K>> }

/** Objects of every kind. */
export class KeyedState {
  readonly byKind: ByKind = {
    link: new Keyed(),
    port: new Keyed(),
    device: new Keyed(),
    peer: new Keyed(),
    'allowed-ip': new Keyed(),
    address: new Keyed(),
    fdb: new Keyed(),
    nexthop: new Keyed(),
    group: new Keyed(),
    route: new Keyed(),
    rule: new Keyed(),
    sysctl: new Keyed(),
    ruleset: new Keyed(),
    element: new Keyed(),
  }

  of(kind: Kind): Keyed<KernelObject> {
    return this.byKind[kind]
  }

  set(object: KernelObject): void {
    this.of(object.kind).set(object)
  }
}
