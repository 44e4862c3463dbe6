/** The path state that the table of probed paths gives out: a value that never changes, made anew where something differs. */
import type { Name } from '../model/fabric.ts'
import type { PublicKey } from '../model/key.ts'
import type { PathState, Standing } from '../model/path-state.ts'

/** How paths stood when an earlier run ended. */
export interface Remembered {
  /** By path; of those that were not fit. */
  readonly standings: ReadonlyMap<string, Standing>
  /** Of rotating keys: paths that had been heard, and the far end's key. */
  readonly proven: ReadonlyMap<string, PublicKey>
  /** Of those that carry less than documents say: bytes. */
  readonly mtus: ReadonlyMap<string, number>
}

export const nothingRemembered: Remembered = { standings: new Map(), proven: new Map(), mtus: new Map() }

export function pathId({
  gateway,
  underlay,
  lane = 0,
}: {
  readonly gateway: Name
  readonly underlay: Name
  readonly lane?: number
}): string {
  return lane === 0 ? `${gateway} ${underlay}` : `${gateway} ${underlay} ${lane}`
}

export class KnownPaths implements PathState, Remembered {
  readonly standings: ReadonlyMap<string, Standing>
  readonly proven: ReadonlyMap<string, PublicKey>
  readonly mtus: ReadonlyMap<string, number>
  readonly #ranks: ReadonlyMap<string, number>
  readonly #weights: ReadonlyMap<Name, number>

  constructor(
    { standings, proven, mtus }: Remembered,
    ranks: ReadonlyMap<string, number>,
    weights: ReadonlyMap<Name, number>,
  ) {
    this.standings = standings
    this.proven = proven
    this.mtus = mtus
    this.#ranks = ranks
    this.#weights = weights
  }

  standingOf(gateway: Name, underlay: Name, lane: number): Standing {
    return this.standings.size === 0
      ? 'fit'
      : (this.standings.get(pathId({ gateway, underlay, lane })) ?? 'fit')
  }

  provenKeyOf(gateway: Name, underlay: Name, lane: number): PublicKey | undefined {
    return this.proven.size === 0 ? undefined : this.proven.get(pathId({ gateway, underlay, lane }))
  }

  rankOf(gateway: Name, underlay: Name): number {
    return this.#ranks.size === 0 ? 0 : (this.#ranks.get(pathId({ gateway, underlay })) ?? 0)
  }

  mtuOf(gateway: Name, underlay: Name, lane: number): number | undefined {
    return this.mtus.size === 0 ? undefined : this.mtus.get(pathId({ gateway, underlay, lane }))
  }

  weightOf(gateway: Name): number | undefined {
    return this.#weights.get(gateway)
  }

  equals(other: KnownPaths): boolean {
    return (
      sameMap(this.standings, other.standings) &&
      sameMap(this.proven, other.proven) &&
      sameMap(this.mtus, other.mtus) &&
      sameMap(this.#ranks, other.#ranks) &&
      sameMap(this.#weights, other.#weights)
    )
  }
}

function sameMap<T>(one: ReadonlyMap<string, T>, other: ReadonlyMap<string, T>): boolean {
  if (one.size !== other.size) return false
  for (const [key, value] of one) if (other.get(key) !== value) return false
  return true
}
