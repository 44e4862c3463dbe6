/**
 * Who comes in with a bag, and which document of each subject counts: by rank, whatever the order of the bag. Keys of the
 * authority come first, then the fabric document, certificates, vouchers, claims, records, since each says who may sign the
 * next. Beside what arrives, those are judged that waited for something that happened (entrance.ts), and nobody else.
 */
import type { Delivered, DocumentType, Signed } from '../model/document.ts'
import type { Fabric, Name } from '../model/fabric.ts'
import { Entrance } from './entrance.ts'
import type { Ground } from './ground.ts'
import type { InForce } from './in-force.ts'
import { isStale } from './moment.ts'
import type { Moment } from './moment.ts'
import type { Origins } from './origins.ts'
import { behind, markOf, outranks, serialOf, subjectOf } from './subject.ts'
import type { Mark } from './subject.ts'
import { drained } from './voucher.ts'
import type { Contest } from './voucher.ts'
import type { Arrival, Arrivals } from './waiting.ts'

/** Documents looked at between two chances for the event loop. */
const step = 64

export interface ElectionOptions {
  readonly ground: Ground
  readonly origins: Origins
  readonly inForce: InForce
  /** By subject: what counted last. */
  readonly marks: Map<string, Mark>
}

export class Election {
  readonly #origins: Origins
  readonly #inForce: InForce
  readonly #marks: Map<string, Mark>
  readonly entrance: Entrance
  /** Who signed the record in force of a gateway. */
  readonly #signers = new Map<Name, string>()
  /** By gateway: what claims and records that wait were last judged by. */
  readonly #stations = new Map<Name, string>()
  /** Subjects of which another document counts than when retired keys were last heard. */
  #moved = new Set<string>()
  #touched = new Set<string>()
  #admitted: Delivered[] = []
  #stale = false
  #issuedMs = 0

  constructor({ ground, origins, inForce, marks }: ElectionOptions) {
    this.#origins = origins
    this.#inForce = inForce
    this.#marks = marks
    this.entrance = new Entrance(ground, origins, marks)
  }

  /** Subjects that are to be judged. Of a bag that failed they are there for the next. */
  get touched(): Set<string> {
    return this.#touched
  }

  /** Documents that came into force. Of a bag that failed they are there for the next. */
  get admitted(): readonly Delivered[] {
    return this.#admitted
  }

  /** The fabric document should have been renewed. */
  get stale(): boolean {
    return this.#stale
  }

  /** The newest date at which the authority signed what came into force: Unix ms. */
  get issuedMs(): number {
    return this.#issuedMs
  }

  /** A bag is taken in. */
  done(): void {
    this.#touched = new Set()
    this.#admitted = []
  }

  /** Lets in what may come in, by rank. */
  *enter(
    arrivals: readonly Arrival[],
    incumbent: Fabric | undefined,
    moment: Moment,
    isKnown: boolean,
  ): Generator<void> {
    const { entrance } = this
    const touched = this.#touched
    const byType = new Map<DocumentType, Arrival[]>()
    for (const [i, arrival] of arrivals.entries()) {
      if (i % step === 0) yield
      const { type } = arrival.signed.document
      const some = byType.get(type)
      if (some === undefined) byType.set(type, [arrival])
      else some.push(arrival)
    }
    const of = (type: DocumentType): Generator<void, Arrivals> => this.#queue(type, byType.get(type) ?? [])
    const isTrusted = (arrival: Arrival): boolean => entrance.isTrusted(arrival, isKnown)
    entrance.elapse(moment)
    yield* this.#enterAuthorities(yield* of('authority'), isTrusted)
    for (const [subject, some] of yield* of('fabric')) {
      const may = (arrival: Arrival): boolean => isTrusted(arrival) && entrance.follows(arrival, incumbent)
      yield* this.#elect(subject, yield* those(some, may))
    }
    const { fabric } = this.#inForce
    const stale = fabric !== undefined && isStale(fabric, moment)
    if (stale !== this.#stale) entrance.wake('freshness')
    this.#stale = stale
    const unknownStay = stale && !isKnown
    for (const [subject, some] of yield* of('certificate')) {
      const may = (arrival: Arrival): boolean => isTrusted(arrival) && entrance.isKnown(arrival, unknownStay)
      yield* this.#elect(subject, yield* those(some, may))
    }
    for (const [subject, some] of yield* of('voucher'))
      yield* this.#elect(subject, yield* those(some, isTrusted))
    this.#callWaiting()
    yield* this.#enterClaims(of('claim'), { moment, unknownStay, isKnown })
    for (const subject of [...touched]) yield* this.#disown(subject)
    this.#callWaiting()
    for (const [subject, some] of yield* of('record')) {
      const [, gateway = ''] = subject.split(' ')
      const identity = this.#inForce.certificate(gateway)?.payload.identity
      const own = yield* those(some, (arrival) => entrance.isOwn(arrival, identity))
      yield* this.#elect(subject, own)
      if (own.length > 0 && identity !== undefined) this.#signers.set(gateway, identity)
    }
  }

  /** Those that arrive, and those that waited for what happened. */
  *#queue(type: DocumentType, arrivals: readonly Arrival[]): Generator<void, Map<string, Arrival[]>> {
    const subjects = new Map<string, Arrival[]>()
    let count = 0
    for (const some of [arrivals, this.entrance.woken(type)]) {
      for (const arrival of some) {
        if (++count % step === 0) yield
        const subject = subjectOf(arrival.signed)
        const others = subjects.get(subject)
        if (others === undefined) subjects.set(subject, [arrival])
        else others.push(arrival)
      }
    }
    return subjects
  }

  /** Claims and records wait for what is granted to their gateway, and to whom. */
  #callWaiting(): void {
    for (const subject of this.#touched) {
      const [type, gateway = ''] = subject.split(' ')
      if (type !== 'certificate' && type !== 'voucher' && type !== 'claim') continue
      const identity = this.#inForce.certificate(gateway)?.payload.identity
      const voucher = this.#inForce.voucher(gateway)
      const station = [identity, voucher?.key, voucher?.serial, this.#inForce.isOutranked(gateway)].join(' ')
      if (this.#stations.get(gateway) === station) continue
      this.#stations.set(gateway, station)
      this.entrance.wake(`gateway ${gateway}`)
    }
  }

  /**
   * Of the keys that are trusted the latest first: what it retires speaks no more, so that a stolen key that was given up
   * cannot turn its successor out by what it says in the same breath.
   */
  *#enterAuthorities(arrivals: Arrivals, isTrusted: (arrival: Arrival) => boolean): Generator<void> {
    const { entrance } = this
    const left = new Map(arrivals)
    const join = (others: Arrivals): void => {
      for (const [subject, some] of others) left.set(subject, [...(left.get(subject) ?? []), ...some])
    }
    let isOther = false
    for (;;) {
      const kid = [...entrance.authorities.trusted].findLast((trusted) => left.has(`authority ${trusted}`))
      if (kid === undefined) break
      const subject = `authority ${kid}`
      yield* this.#elect(subject, left.get(subject) ?? [])
      left.delete(subject)
      if (!entrance.rechain(this.#inForce.of('authority'))) continue
      isOther = true
      join(yield* this.#queue('authority', []))
    }
    entrance.acquaint([...left.values()].flat())
    join(yield* this.#queue('authority', []))
    for (const [subject, some] of left) yield* this.#elect(subject, yield* those(some, isTrusted))
    // Who was told that a key may not speak is told anew.
    const moved = this.#moved
    this.#moved = new Set()
    const mayBeOther = entrance.authorities.retired.size > 0 ? moved : []
    let count = 0
    for (const subject of isOther ? this.#inForce.keys() : mayBeOther) {
      if (++count % step === 0) yield
      if (/^(fabric$|certificate |voucher )/.test(subject))
        yield* this.#tell(subject, (arrival) => entrance.isTrusted(arrival))
    }
  }

  *#enterClaims(
    arriving: Generator<void, Arrivals>,
    when: Pick<Contest, 'moment' | 'unknownStay' | 'isKnown'>,
  ): Generator<void> {
    const { entrance } = this
    const enter = (subject: string, some: readonly Arrival[]): Generator<void, readonly Arrival[]> => {
      const [, gateway = ''] = subject.split(' ')
      const voucher = this.#inForce.voucher(gateway)
      return entrance.claimants(gateway, some, { ...when, voucher })
    }
    // What claims another voucher than the one that counts now, or is certified now, counts no longer.
    const hasNews = [...this.#touched].some((subject) => /^(certificate|voucher) /.test(subject))
    for (const { document, kid } of hasNews ? [...this.#inForce.of('claim')] : []) {
      if (document.type !== 'claim') continue
      const { gateway, voucher } = document.payload
      const now = this.#inForce.voucher(gateway)
      if (!this.#inForce.isOutranked(gateway) && now?.key === kid && now.serial === voucher) continue
      const subject = `claim ${gateway} ${kid}`
      yield* this.#depose(subject, (arrival) => drained(enter(subject, [arrival])))
    }
    // All claims of one voucher are judged together.
    const arrivals = yield* arriving
    for (const subject of arrivals.keys()) entrance.wake(`claims ${subject}`)
    const rivals = yield* this.#queue('claim', [])
    for (const [subject, some] of arrivals)
      yield* this.#elect(subject, yield* enter(subject, [...some, ...(rivals.get(subject) ?? [])]))
  }

  /** A certificate for another identity ends what the one before said of the gateway. */
  *#disown(subject: string): Generator<void> {
    const [type, gateway = ''] = subject.split(' ')
    const kid = type === 'record' || type === 'authority' ? undefined : this.#signers.get(gateway)
    const identity = this.#inForce.certificate(gateway)?.payload.identity
    if (kid === undefined || identity === kid) return
    this.#signers.delete(gateway)
    yield* this.#depose(`record ${gateway} ${kid}`, (arrival) => this.entrance.isOwn(arrival, identity))
  }

  /** Takes a document out of force; `why` tells each origin that still says it. */
  *#depose(subject: string, why: (arrival: Arrival) => unknown): Generator<void> {
    if (!this.#inForce.delete(subject)) return
    this.#touched.add(subject)
    yield* this.#tell(subject, why)
    // Who comes back with it is to be judged anew.
    yield* this.#origins.forget(subject, '')
  }

  *#tell(subject: string, why: (arrival: Arrival) => unknown): Generator<void> {
    let count = 0
    for (const origin of [...this.#origins.speakersOf(subject)]) {
      if (++count % step === 0) yield
      const signed = this.#origins.wordOf(origin)
      if (signed !== undefined) why({ origin, signed })
    }
  }

  /** Finds the document of a subject that counts, and tells the others why they do not. */
  *#elect(subject: string, arrivals: readonly Arrival[]): Generator<void> {
    const [touched, admitted] = [this.#touched, this.#admitted]
    let count = 0
    let best: Arrival | undefined
    for (const arrival of arrivals) {
      if (++count % step === 0) yield
      const mark = this.#marks.get(subject)
      if (mark !== undefined && behind(arrival.origin, arrival.signed, mark) !== undefined) continue
      if (
        best === undefined ||
        outranks(markOf(arrival.signed), markOf(best.signed)) ||
        this.#outlasts(arrival.signed, best.signed)
      )
        best = arrival
    }
    if (best !== undefined) {
      const { signed, origin, bytes } = best
      const before = this.#inForce.get(subject)
      if (before === undefined || before.signed.hash !== signed.hash) {
        this.#marks.set(subject, markOf(signed))
        this.#moved.add(subject)
        if (isOfAuthority(signed)) this.#issuedMs = Math.max(this.#issuedMs, serialOf(signed.document))
        this.entrance.wake(`mark ${subject}`)
        if (subject === 'fabric') this.entrance.wake('succession')
        this.#inForce.set(subject, { signed, origin })
        if (bytes !== undefined) admitted.push({ origin, bytes })
      } else if (this.#outlasts(signed, before.signed)) {
        this.#inForce.set(subject, { ...before, signed: { ...before.signed, kid: signed.kid } })
        if (bytes !== undefined) admitted.push({ origin, bytes })
      }
    }
    for (const { origin, signed } of arrivals) {
      if (++count % step === 0) yield
      const earlier = this.#origins.speak(origin, signed, subject)
      if (earlier !== undefined) touched.add(earlier)
    }
    if (arrivals.length > 0) touched.add(subject)
    yield // subjects are many, too
  }

  /** The same words, signed by a later key of the authority's: they still count when the earlier one is retired. */
  #outlasts(a: Signed, b: Signed): boolean {
    return a.hash === b.hash && a.kid !== b.kid && this.entrance.rank(a) > this.entrance.rank(b)
  }
}

function isOfAuthority({ document: { type } }: Signed): boolean {
  return type === 'fabric' || type === 'certificate' || type === 'authority' || type === 'voucher'
}

/** Those who may. */
function* those(
  arrivals: readonly Arrival[],
  may: (arrival: Arrival) => boolean,
): Generator<void, readonly Arrival[]> {
  const some: Arrival[] = []
  for (const [i, arrival] of arrivals.entries()) {
    if (i % step === step - 1) yield
    if (may(arrival)) some.push(arrival)
  }
  return some
}
