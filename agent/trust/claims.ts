/**
 * An index of who claims what: key -> holders. Nearly every key has one holder (100,000 prefixes do), so a set is made
 * for the second one only.
 */
export class Claims<K, E extends object> {
  readonly #holders = new Map<K, E | Set<E>>()

  add(key: K, holder: E): void {
    const held = this.#holders.get(key)
    if (held === undefined) this.#holders.set(key, holder)
    else if (held instanceof Set) held.add(holder)
    else if (held !== holder) this.#holders.set(key, new Set([held, holder]))
  }

  remove(key: K, holder: E): void {
    const held = this.#holders.get(key)
    if (held === holder) this.#holders.delete(key)
    if (!(held instanceof Set)) return
    held.delete(holder)
    const [last] = held
    if (held.size === 1 && last !== undefined) this.#holders.set(key, last)
  }

  of(key: K): Iterable<E> {
    const held = this.#holders.get(key)
    if (held === undefined) return []
    return held instanceof Set ? held : [held]
  }

  /** Replaces a holder's keys; answers the keys that it gained or lost. */
  move(holder: E, before: readonly K[], after: readonly K[]): K[] {
    if (before === after) return []
    const kept = new Set(after)
    const had = new Set(before)
    const changed: K[] = []
    for (const key of before) {
      if (kept.has(key)) continue
      this.remove(key, holder)
      changed.push(key)
    }
    for (const key of after) {
      if (had.has(key)) continue
      this.add(key, holder)
      changed.push(key)
    }
    return changed
  }
}
