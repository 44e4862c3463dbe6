/**
 * Which keys speak for the authority. It begins with the key in config.yml; an `authority` document, signed by a trusted key
 * and countersigned by the next, adds that one (rollover). A later key of the chain may retire earlier ones, never the other
 * way round: who steals an old key cannot turn the new one out.
 *
 * The links that a retired key made while it was trusted stay, else a gateway that is still configured with it could not
 * find the way to the new one.
 */
import type { Authority, Signed } from '../model/document.ts'
import { isProofOf, proofBy } from './proof.ts'
import type { KeyObject } from 'node:crypto'

export interface Authorities {
  /** Keys whose signatures count. */
  readonly trusted: ReadonlySet<string>
  /** Keys of the chain that were trusted. */
  readonly retired: ReadonlySet<string>
}

/**
 * Walks the chain from `root`. `documents`: authority documents in force, at most one a signer. `before`: a key that was
 * trusted and is no longer named counts as retired.
 */
export function authoritiesOf(root: string, documents: Iterable<Signed>, before?: Authorities): Authorities {
  const bySigner = new Map<string, Authority>()
  for (const { document, kid } of documents) {
    if (document.type === 'authority') bySigner.set(kid, document.payload)
  }
  const chain = [root]
  const retired = new Set<string>()
  for (let at = 0; at < chain.length; at++) {
    const kid = chain[at]
    const said = kid === undefined ? undefined : bySigner.get(kid)
    if (kid === undefined || said === undefined) continue
    for (const earlier of said.retired)
      if (chain.indexOf(earlier) < at && chain.includes(earlier)) retired.add(earlier)
    if (said.next !== undefined && !chain.includes(said.next) && isProven(said, kid)) chain.push(said.next)
  }
  const trusted = new Set(chain.filter((kid) => !retired.has(kid)))
  for (const kid of [...(before?.trusted ?? []), ...(before?.retired ?? [])])
    if (!trusted.has(kid)) retired.add(kid)
  return { trusted, retired }
}

export function sameAuthorities(a: Authorities, b: Authorities): boolean {
  const same = (left: ReadonlySet<string>, right: ReadonlySet<string>): boolean =>
    [...left].join() === [...right].join()
  return same(a.trusted, b.trusted) && same(a.retired, b.retired)
}

/** The next key's word for an authority document: that it is held, and for which fabric and key it follows. */
export function proofOf(fabric: string, current: string, next: KeyObject): string {
  return proofBy(next, { fabric, current })
}

/** True where the next key signed that it follows `current`. */
export function isProven({ fabric, next, proof }: Authority, current: string): boolean {
  return next !== undefined && proof !== undefined && isProofOf(proof, next, { fabric, current })
}
