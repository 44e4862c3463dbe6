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

/** Objects of one kind. */
export class Keyed<T extends KernelObject> {
  readonly #scopes = new Map<Key, Map<Key, T>>()
  // Objects come in runs of one table, device or set: remembering the last one saves most outer lookups.
  #lastKey: Key | undefined
  #last: Map<Key, T> | undefined

  set(object: T): void {
    const key = scopeOf(object)
    let scope = this.#scope(key)
    if (scope === undefined) {
      scope = new Map()
      this.#scopes.set(key, scope)
      this.#lastKey = key
      this.#last = scope
    }
    scope.set(keyInScope(object), object)
  }

  /** The object that is the same thing as `other`. */
  get(other: T): T | undefined {
    return this.#scope(scopeOf(other))?.get(keyInScope(other))
  }

  /** As get, and forgets it. */
  take(other: T): T | undefined {
    const scope = this.#scope(scopeOf(other))
    const key = keyInScope(other)
    const object = scope?.get(key)
    if (object !== undefined) scope?.delete(key)
    return object
  }

  *values(): Generator<T> {
    for (const scope of this.#scopes.values()) yield* scope.values()
  }

  #scope(key: Key): Map<Key, T> | undefined {
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
