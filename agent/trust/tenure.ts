/**
 * Who holds what only one gateway can have: an identity, a number, a tunnel key. Whoever had it alone keeps it for as long
 * as it claims it, so that a newcomer (a copied state directory, a slip of the authority) is refused and takes nobody out.
 * Where several come at once, with nobody before them, none gets it: recency and order of arrival decide nothing.
 *
 * Tenure is decided once a round, from the holders before it and the claims after it.
 */
import type { Name } from '../model/fabric.ts'
import { Claims } from './claims.ts'
import type { Mark } from './subject.ts'

/** What each key was last held by. */
export type Holders<K> = ReadonlyMap<K, Name>

/** Who held what when documents were last judged. */
export interface Tenures {
  readonly identities: Holders<string>
  readonly numbers: Holders<number>
  readonly tunnelKeys: Holders<string>
}

/** What must be known of the past: who held what, and by subject which document counted last. */
export interface Marks extends Tenures {
  readonly documents: ReadonlyMap<string, Mark>
}

export const noMarks: Marks = {
  identities: new Map(),
  numbers: new Map(),
  tunnelKeys: new Map(),
  documents: new Map(),
}

/** Keys decided between two chances for the event loop. */
const step = 256

/** The rule itself: who holds a key that these claim, where `before` held it. Undefined: nobody. */
export function holderOf(before: Name | undefined, claimants: readonly Name[]): Name | undefined {
  if (before !== undefined && claimants.includes(before)) return before
  return claimants.length === 1 ? claimants[0] : undefined
}

export class Tenure<K, E extends { readonly name: Name }> extends Claims<K, E> {
  /** Holders of keys that several claim; one that is claimed once is held by who claims it. */
  readonly #contested = new Map<K, Name | undefined>()
  /** Keys that moved in this round, with who held them before. */
  readonly #before = new Map<K, Name | undefined>()
  #predecessor: ((key: K) => Name | undefined) | undefined
  /** Who claims a key, in order: of keys that were asked about since they moved. */
  readonly #names = new Map<K, readonly Name[]>()

  /** `predecessor`: holders of an index that this one takes over from, for the first round. */
  constructor(predecessor?: (key: K) => Name | undefined) {
    super()
    this.#predecessor = predecessor
  }

  /** As of the last settle. */
  holder(key: K): Name | undefined {
    if (this.#contested.has(key)) return this.#contested.get(key)
    for (const { name } of this.of(key)) return name
    return undefined
  }

  /** Who holds what several claim. What one claims alone needs no memory: the claim itself says it. */
  holders(): Map<K, Name> {
    const holders = new Map<K, Name>()
    for (const [key, name] of this.#contested) if (name !== undefined) holders.set(key, name)
    return holders
  }

  /** All who claim it, in order. Sorted once for all of them: there may be thousands. */
  names(key: K): readonly Name[] {
    const names = this.#names.get(key) ?? Array.from(this.of(key), ({ name }) => name).sort()
    this.#names.set(key, names)
    return names
  }

  override move(claimant: E, before: readonly K[], after: readonly K[]): K[] {
    for (const key of before === after ? [] : new Set([...before, ...after])) {
      this.#names.delete(key)
      if (!this.#before.has(key)) this.#before.set(key, this.holder(key) ?? this.#predecessor?.(key))
    }
    return super.move(claimant, before, after)
  }

  /** Decides the keys that moved. Run it when all moves of a round are made. */
  *settle(): Generator<void> {
    let steps = 0
    for (const [key, before] of this.#before) {
      if (++steps % step === 0) yield
      const claimants = Array.from(this.of(key), ({ name }) => name)
      if (claimants.length > 1) this.#contested.set(key, holderOf(before, claimants))
      else this.#contested.delete(key)
    }
    this.#before.clear()
    this.#predecessor = undefined
  }
}
