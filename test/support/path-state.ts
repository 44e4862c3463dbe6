/** The state of paths as a value, from words: all that is not named is fit. Equal ones can be told. */
import type { PublicKey } from '../../agent/model/key.ts'
import type { PathState, Standing } from '../../agent/model/path-state.ts'

export class Paths implements PathState {
  readonly words: readonly string[]
  readonly #said = new Map<string, string>()

  /** `gcp-a internet` is down; `gcp-a internet degraded`, `gcp-a internet rank=1`, `gcp-a internet mtu=1328`, `gcp-a weight=3`.
   * Of another lane than 0: `gcp-a internet.2`, and `gcp-a internet.2 proven=KEY`. */
  constructor(words: readonly string[] = []) {
    this.words = words
    for (const word of words) {
      const [gateway = '', what = '', of = 'down'] = word.split(' ')
      const [name = '', value = ''] = (what.includes('=') ? what : of).split('=')
      const place = what.includes('=') ? gateway : `${gateway} ${what}`
      this.#said.set(value === '' ? place : `${place} ${name}`, value === '' ? name : value)
    }
  }

  standingOf(gateway: string, underlay: string, lane = 0): Standing {
    return (this.#said.get(placeOf(gateway, underlay, lane)) ?? 'fit') as Standing
  }

  provenKeyOf(gateway: string, underlay: string, lane = 0): PublicKey | undefined {
    return this.#said.get(`${placeOf(gateway, underlay, lane)} proven`) as PublicKey | undefined
  }

  rankOf(gateway: string, underlay: string): number {
    return Number(this.#said.get(`${gateway} ${underlay} rank`) ?? 0)
  }

  mtuOf(gateway: string, underlay: string, lane = 0): number | undefined {
    const said = this.#said.get(`${placeOf(gateway, underlay, lane)} mtu`)
    return said === undefined ? undefined : Number(said)
  }

  weightOf(gateway: string): number | undefined {
    const said = this.#said.get(`${gateway} weight`)
    return said === undefined ? undefined : Number(said)
  }
}

function placeOf(gateway: string, underlay: string, lane: number): string {
  return `${gateway} ${underlay}${lane === 0 ? '' : `.${lane}`}`
}
