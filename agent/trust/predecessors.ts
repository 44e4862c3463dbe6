/**
 * Keys before the one that a gateway begins with, by their links to it. Such a link is nothing to it, and nothing wrong
 * either: who is configured anew after a rollover meets it for as long as the registry has it.
 *
 * The way goes back from the keys that are known. Nobody makes a link to a key without that key's proof, so a stranger's
 * links, however many, lead nowhere that is ever looked at.
 */
import type { Signed } from '../model/document.ts'
import type { Authorities } from './authorities.ts'

interface Link {
  readonly kid: string
  readonly next: string
}

export class Predecessors {
  readonly #links = new Map<string, Link>()
  /** By the key that is named as the next: origins of the links. */
  readonly #byNext = new Map<string, Set<string>>()
  #isOther = false
  #authorities: Authorities | undefined
  #kids: ReadonlySet<string> = new Set()

  has(kid: string): boolean {
    return this.#kids.has(kid)
  }

  /** An authority document, its proof checked. */
  add({ origin, signed: { document, kid } }: { readonly origin: string; readonly signed: Signed }): void {
    this.delete(origin)
    const next = document.type === 'authority' ? document.payload.next : undefined
    if (next === undefined) return
    this.#links.set(origin, { kid, next })
    const origins = this.#byNext.get(next) ?? new Set()
    this.#byNext.set(next, origins.add(origin))
    this.#isOther = true
  }

  delete(origin: string): void {
    const link = this.#links.get(origin)
    if (link === undefined) return
    this.#links.delete(origin)
    const origins = this.#byNext.get(link.next)
    origins?.delete(origin)
    if (origins?.size === 0) this.#byNext.delete(link.next)
    this.#isOther = true
  }

  /** Finds them anew, where anything changed. Answers the keys that are among them now, or are no longer. */
  settle(authorities: Authorities): readonly string[] {
    if (!this.#isOther && authorities === this.#authorities) return []
    this.#isOther = false
    this.#authorities = authorities
    const before = this.#kids
    const { trusted, retired } = authorities
    const kids = new Set<string>()
    const ways = [...trusted, ...retired]
    for (let next = ways.pop(); next !== undefined; next = ways.pop()) {
      for (const origin of this.#byNext.get(next) ?? []) {
        const kid = this.#links.get(origin)?.kid
        if (kid === undefined || kids.has(kid) || trusted.has(kid) || retired.has(kid)) continue
        kids.add(kid)
        ways.push(kid)
      }
    }
    this.#kids = kids
    return [...before, ...kids].filter((kid) => before.has(kid) !== kids.has(kid))
  }
}

/** Those among documents that are all there are. */
export function predecessorsOf(authorities: Authorities, documents: readonly Signed[]): ReadonlySet<string> {
  const predecessors = new Predecessors()
  for (const [i, signed] of documents.entries()) predecessors.add({ origin: String(i), signed })
  return new Set(predecessors.settle(authorities))
}
