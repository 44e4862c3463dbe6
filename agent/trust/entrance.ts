/**
 * Who may come in. A document whose form and signature hold is let in where its signer may say such a thing: the authority a
 * fabric document or a certificate, a gateway's certified identity its record. One that may not waits, because an authority
 * document or a certificate that comes later may let it in; it waits for as long as its origin delivers it and no longer, so
 * what waits is never more than the registry holds.
 */
import type { DocumentType, Signed } from '../model/document.ts'
import type { Fabric, Name } from '../model/fabric.ts'
import { authoritiesOf, predecessorsOf } from './authorities.ts'
import type { Authorities } from './authorities.ts'
import type { Ground } from './ground.ts'
import type { Origins } from './origins.ts'
import type { Refusal } from './refusal.ts'
import { refuseSigner, refuseStale, refuseStranger, succession } from './rule.ts'
import { behind, gatewayOf, subjectOf } from './subject.ts'
import type { Mark } from './subject.ts'
import { judgeClaims } from './voucher.ts'
import type { Contest } from './voucher.ts'

export interface Arrival {
  readonly origin: string
  readonly signed: Signed
  /** Absent where it was in force before. */
  readonly bytes?: Uint8Array
}

/** Arrivals of one type by subject. */
export type Arrivals = ReadonlyMap<string, readonly Arrival[]>

export class Entrance {
  readonly #ground: Ground
  readonly #origins: Origins
  /** By subject: what counted last. */
  readonly #marks: ReadonlyMap<string, Mark>
  readonly #waiting = new Map<string, Arrival>()
  #authorities: Authorities
  /** Keys that were the authority's before the one we begin with. */
  #predecessors: ReadonlySet<string> = new Set()

  constructor(ground: Ground, origins: Origins, marks: ReadonlyMap<string, Mark>) {
    this.#ground = ground
    this.#origins = origins
    this.#marks = marks
    this.#authorities = authoritiesOf(ground.authority, [])
  }

  get authorities(): Authorities {
    return this.#authorities
  }

  /** How far along the chain of the authority's keys a signer is; -1 where it is none of the trusted ones. */
  rank({ kid }: Signed): number {
    return [...this.#authorities.trusted].indexOf(kid)
  }

  /** The authority documents in force are others. */
  rechain(inForce: Iterable<Signed>): void {
    this.#authorities = authoritiesOf(this.#ground.authority, inForce, this.#authorities)
  }

  /** All authority documents that there are. */
  acquaint(arrivals: Arrivals): void {
    const all = [...arrivals.values()].flatMap((some) => some.map(({ signed }) => signed))
    this.#predecessors = predecessorsOf(this.#authorities, all)
  }

  /** An origin says something else now, or is gone. */
  leave(origin: string): void {
    this.#waiting.delete(origin)
  }

  /** Those that arrive and those that wait, by type and subject. All of them are judged now. */
  queue(arrivals: readonly Arrival[]): (type: DocumentType) => Arrivals {
    const byType = new Map<DocumentType, Map<string, Arrival[]>>()
    for (const arrival of [...arrivals, ...this.#waiting.values()]) {
      const { type } = arrival.signed.document
      const subjects = byType.get(type) ?? new Map<string, Arrival[]>()
      byType.set(type, subjects)
      const subject = subjectOf(arrival.signed)
      const some = subjects.get(subject)
      if (some === undefined) subjects.set(subject, [arrival])
      else some.push(arrival)
    }
    this.#waiting.clear()
    return (type) => byType.get(type) ?? new Map<string, Arrival[]>()
  }

  /**
   * What the authority says is signed by a key that is trusted. What counted before its key was retired stays: a registry that
   * hands out the retirement, and withholds what was signed anew, would remove gateways else. `isKnown`: it comes from the
   * last-known-good store, so it counted.
   */
  isTrusted(arrival: Arrival, isKnown = false): boolean {
    const { origin, signed } = arrival
    const { trusted, retired } = this.#authorities
    if (trusted.has(signed.kid)) return true
    const wasTrusted = retired.has(signed.kid)
    if (wasTrusted && (isKnown || this.#marks.get(subjectOf(signed))?.hash === signed.hash)) return true
    if (signed.document.type === 'authority' && this.#predecessors.has(signed.kid)) {
      this.#origins.excuse(origin)
      this.#waiting.set(origin, arrival)
      return false
    }
    return this.#keepOut(arrival, refuseStranger(origin, signed, this.#ground.authority, wasTrusted))
  }

  /** Running gateways have addresses and devices that follow from the fabric document before. */
  follows(arrival: Arrival, incumbent: Fabric | undefined): boolean {
    const { origin, signed } = arrival
    const { document } = signed
    const mark = this.#marks.get('fabric')
    if (incumbent === undefined || document.type !== 'fabric') return true
    if (mark !== undefined && behind(origin, signed, mark) !== undefined) return true
    const refusal = succession(origin, incumbent, document.payload)
    return refusal === undefined || this.#keepOut(arrival, refusal)
  }

  /** While the fabric document is stale, only a gateway that was seen before. */
  isKnown(arrival: Arrival, isStale: boolean): boolean {
    if (!isStale || this.#marks.has(subjectOf(arrival.signed))) return true
    return this.#keepOut(arrival, refuseStale(arrival.origin, arrival.signed))
  }

  /** The claims of one gateway and key that may come in; where it is certified, they are nothing to anybody. */
  claimants(gateway: Name, arrivals: readonly Arrival[], contest: Omit<Contest, 'mark'>): readonly Arrival[] {
    if (this.#marks.has(`certificate ${gateway}`)) {
      for (const { origin } of arrivals) this.#origins.excuse(origin)
      return []
    }
    const [first] = arrivals
    const mark = first && this.#marks.get(subjectOf(first.signed))
    const { standing, refused } = judgeClaims(arrivals, { ...contest, mark })
    for (const [arrival, refusal] of refused) this.#keepOut(arrival, refusal)
    return standing
  }

  /** A record is signed by the identity that its gateway is certified for: undefined where it is not certified. */
  isOwn(arrival: Arrival, identity: string | undefined): boolean {
    const { origin, signed } = arrival
    if (identity === signed.kid) return true
    return this.#keepOut(
      arrival,
      refuseSigner(origin, gatewayOf(signed.document) ?? '', identity !== undefined),
    )
  }

  #keepOut(arrival: Arrival, refusal: Refusal): false {
    this.#origins.refuse(arrival.origin, refusal)
    this.#waiting.set(arrival.origin, arrival)
    return false
  }
}
