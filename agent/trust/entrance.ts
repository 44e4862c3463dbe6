/**
 * Who may come in. A document whose form and signature hold is let in where its signer may say such a thing: the authority a
 * fabric document or a certificate, a gateway's certified identity its record. One that may not waits, because an authority
 * document or a certificate that comes later may let it in; it waits for as long as its origin delivers it, and is judged
 * again when what it waits for happens (waiting.ts).
 */
import type { DocumentType, Signed } from '../model/document.ts'
import type { Fabric, Name } from '../model/fabric.ts'
import { authoritiesOf, sameAuthorities } from './authorities.ts'
import type { Authorities } from './authorities.ts'
import type { Ground } from './ground.ts'
import { graceMs } from './moment.ts'
import type { Moment } from './moment.ts'
import type { Origins } from './origins.ts'
import { isRefusal, readAgain } from './parse.ts'
import { Predecessors } from './predecessors.ts'
import type { Refusal } from './refusal.ts'
import { refuseSigner, refuseStale, refuseStranger, succession } from './rule.ts'
import { behind, gatewayOf, subjectOf } from './subject.ts'
import type { Mark } from './subject.ts'
import { judgeClaims } from './voucher.ts'
import type { Contest } from './voucher.ts'
import { Waiting } from './waiting.ts'
import type { Arrival } from './waiting.ts'

/** Documents kept out between two chances for the event loop. */
const step = 64

export class Entrance {
  readonly #ground: Ground
  readonly #origins: Origins
  /** By subject: what counted last. */
  readonly #marks: ReadonlyMap<string, Mark>
  readonly #waiting: Waiting
  #authorities: Authorities
  /** Keys that were the authority's before the one we begin with. */
  readonly #predecessors = new Predecessors()
  /** When the first voucher ends of those that claims wait for: Unix ms. */
  #endsMs = Infinity
  /** Documents that waited, and are no longer kept. */
  dropped = 0

  constructor(ground: Ground, origins: Origins, marks: ReadonlyMap<string, Mark>) {
    this.#ground = ground
    this.#origins = origins
    this.#marks = marks
    this.#authorities = authoritiesOf(ground.authority, [])
    this.#waiting = new Waiting({
      read: (origin, bytes) => {
        const signed = readAgain({ origin, bytes })
        return isRefusal(signed) ? undefined : signed
      },
      onDrop: (origin) => {
        this.dropped++
        this.#predecessors.delete(origin)
        // Delivered again, it is judged again.
        origins.doubt([origin])
      },
    })
  }

  get authorities(): Authorities {
    return this.#authorities
  }

  /** How far along the chain of the authority's keys a signer is; -1 where it is none of the trusted ones. */
  rank({ kid }: Signed): number {
    return [...this.#authorities.trusted].indexOf(kid)
  }

  /** The authority documents in force are others. True where other keys are trusted now. */
  rechain(inForce: Iterable<Signed>): boolean {
    const before = this.#authorities
    const after = authoritiesOf(this.#ground.authority, inForce, before)
    if (sameAuthorities(before, after)) return false
    this.#authorities = after
    const kids = [before, after].flatMap(({ trusted, retired }) => [...trusted, ...retired])
    for (const kid of new Set(kids)) {
      const isSame = before.trusted.has(kid) === after.trusted.has(kid)
      if (!isSame || before.retired.has(kid) !== after.retired.has(kid)) this.wake(`key ${kid}`)
    }
    return true
  }

  /** Authority documents by keys that are not trusted. Says who was the authority before, and who was not after all. */
  acquaint(arrivals: Iterable<Arrival>): void {
    for (const arrival of arrivals) this.#predecessors.add(arrival)
    for (const kid of this.#predecessors.settle(this.#authorities)) this.wake(`key ${kid}`)
  }

  /** An origin says something else now, or is gone. */
  leave(origin: string): void {
    // Where one of two that claim the same is gone, the other may have it.
    for (const cause of this.#waiting.causesOf(origin)) if (cause.startsWith('claims ')) this.wake(cause)
    this.#waiting.delete(origin)
    this.#predecessors.delete(origin)
  }

  /** True where it was in force and waits to be so again. */
  isHeld(signed: Signed): boolean {
    return this.#waiting.holds(signed)
  }

  /** Something happened that documents wait for. */
  wake(cause: string): void {
    this.#waiting.wake(cause)
  }

  /** Time passes. */
  elapse({ sureMs }: Moment): void {
    if (sureMs <= this.#endsMs) return
    this.#endsMs = Infinity
    this.wake('end')
  }

  /** Those of a type for whom what they wait for may have happened. */
  woken(type: DocumentType): Generator<Arrival> {
    return this.#waiting.take(type)
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
    const causes = [`key ${signed.kid}`, ...(wasTrusted ? [`mark ${subjectOf(signed)}`] : [])]
    if (signed.document.type === 'authority' && this.#predecessors.has(signed.kid)) {
      this.#origins.excuse(origin)
      this.#waiting.add(arrival, causes)
      return false
    }
    return this.#keepOut(arrival, refuseStranger(origin, signed, this.#ground.authority, wasTrusted), causes)
  }

  /** Running gateways have addresses and devices that follow from the fabric document before. */
  follows(arrival: Arrival, incumbent: Fabric | undefined): boolean {
    const { origin, signed } = arrival
    const { document } = signed
    const mark = this.#marks.get('fabric')
    if (incumbent === undefined || document.type !== 'fabric') return true
    if (mark !== undefined && behind(origin, signed, mark) !== undefined) return true
    const refusal = succession(origin, incumbent, document.payload)
    return refusal === undefined || this.#keepOut(arrival, refusal, [`key ${signed.kid}`, 'succession'])
  }

  /** While the fabric document is stale, only a gateway that was seen before. */
  isKnown(arrival: Arrival, isStale: boolean): boolean {
    const { origin, signed } = arrival
    const subject = subjectOf(signed)
    if (!isStale || this.#marks.has(subject)) return true
    return this.#keepOut(arrival, refuseStale(origin, signed), [
      `key ${signed.kid}`,
      `mark ${subject}`,
      'freshness',
    ])
  }

  /** The claims of one gateway and key that may come in; where it is certified, they are nothing to anybody. */
  *claimants(
    gateway: Name,
    arrivals: readonly Arrival[],
    contest: Omit<Contest, 'mark'>,
  ): Generator<void, readonly Arrival[]> {
    if (this.#marks.has(`certificate ${gateway}`)) {
      for (const { origin } of arrivals) this.#origins.excuse(origin)
      return []
    }
    const [first] = arrivals
    if (first === undefined) return []
    const subject = subjectOf(first.signed)
    const { standing, refused } = yield* judgeClaims(arrivals, {
      ...contest,
      mark: this.#marks.get(subject),
    })
    for (const [i, [arrival, refusal]] of refused.entries()) {
      if (i % step === step - 1) yield
      const isStranger = refusal.rule === 'voucher'
      const until = contest.voucher?.until ?? Infinity
      if (!isStranger) this.#endsMs = Math.min(this.#endsMs, until + graceMs)
      const causes = isStranger ? [] : [`claims ${subject}`, `mark ${subject}`, 'freshness', 'end']
      this.#keepOut(arrival, refusal, [`gateway ${gateway}`, ...causes], !isStranger)
    }
    return standing
  }

  /** A record is signed by the identity that its gateway is certified for: undefined where it is not certified. */
  isOwn(arrival: Arrival, identity: string | undefined): boolean {
    const { origin, signed } = arrival
    if (identity === signed.kid) return true
    const gateway = gatewayOf(signed.document) ?? ''
    return this.#keepOut(arrival, refuseSigner(origin, gateway, identity !== undefined), [
      `gateway ${gateway}`,
    ])
  }

  #keepOut(arrival: Arrival, refusal: Refusal, causes: readonly string[], isFirm = false): false {
    this.#origins.refuse(arrival.origin, refusal)
    this.#waiting.add(arrival, causes, isFirm)
    return false
  }
}
