/**
 * The ledger: every document in force, and what follows from them. Bags come in, a snapshot comes out; nothing else enters.
 * It keeps of each subject the newest document that counted, so that a document that is half written, mangled, rolled back
 * or gone changes nothing that runs. The outcome is that of verify() over the documents and the marks so far; the work is
 * that of the change.
 *
 * A bag is taken in by rank, whatever its order: keys of the authority, fabric document, certificates, vouchers, claims,
 * records. Who signed a document that its signer may not sign waits (entrance.ts).
 */
import type { Bag, Delivered, Document, Signed } from '../model/document.ts'
import type { Admission, Checked, CheckedBag, Vanished } from './admission.ts'
import type { Fabric, Name } from '../model/fabric.ts'
import type { Gateway, Snapshot } from '../model/gateway.ts'
import { Entrance } from './entrance.ts'
import type { Arrival, Arrivals } from './entrance.ts'
import { digestOf } from './envelope.ts'
import type { Ground } from './ground.ts'
import { InForce } from './in-force.ts'
import { isStale } from './moment.ts'
import type { Moment } from './moment.ts'
import { Origins } from './origins.ts'
import { isRefusal, parseDocument } from './parse.ts'
import { compareRefusals } from './refusal.ts'
import type { Refusal } from './refusal.ts'
import { Roster } from './roster.ts'
import { foreign, refuseForgedRequest } from './rule.ts'
import { mapsAfter, sameGateway } from './snapshot.ts'
import { behind, markOf, outranks, subjectOf } from './subject.ts'
import type { Mark } from './subject.ts'
import { noMarks } from './tenure.ts'
import type { Marks } from './tenure.ts'
import type { Contest } from './voucher.ts'

/** Documents taken in between two chances for the event loop. */
const step = 64

export class Ledger {
  readonly #ground: Ground
  readonly #origins = new Origins()
  readonly #inForce: InForce
  readonly #marks: Map<string, Mark>
  readonly #entrance: Entrance
  readonly #before: Marks
  /** Who signed the record in force of a gateway. */
  readonly #signers = new Map<Name, string>()
  #roster: Roster | undefined
  #snapshot: Snapshot | undefined
  #stale = false
  #refusals: readonly Refusal[] = []
  #vanished: readonly Vanished[] = []

  /** `marks`: of an earlier run. */
  constructor(ground: Ground, marks: Marks = noMarks) {
    this.#ground = ground
    this.#before = marks
    this.#marks = new Map(marks.documents)
    this.#inForce = new InForce(this.#marks)
    this.#entrance = new Entrance(ground, this.#origins, this.#marks)
  }

  /** Takes in a bag at once, signatures checked here. */
  admit(bag: Bag, moment: Moment): Admission {
    const documents = bag.documents.map((delivered): Checked => {
      const digest = digestOf(delivered.bytes)
      return this.knows(delivered.origin, digest)
        ? { ...delivered, digest }
        : { ...delivered, digest, signed: parseDocument(delivered) }
    })
    const steps = this.admitSteps({ ...bag, documents }, moment)
    for (;;) {
      const { done, value } = steps.next()
      if (done === true) return value
    }
  }

  /** True where this origin delivered these bytes last: then nothing of them need be checked again. */
  knows(origin: string, digest: string): boolean {
    return this.#origins.knows(origin, digest)
  }

  /** Takes in a bag, with a yield every few milliseconds of work. Run it to its end before the next bag. */
  *admitSteps(bag: CheckedBag, moment: Moment): Generator<void, Admission> {
    const admitted: Delivered[] = []
    const touched = new Set<string>()
    const arrivals: Arrival[] = []
    const delivered = new Set<string>()
    for (const [i, document] of bag.documents.entries()) {
      delivered.add(document.origin)
      this.#receive(document, arrivals, touched)
      if (i % step === 0) yield
    }
    // First, so that what waited and is gone does not come in now.
    for (const origin of this.#origins.missing(bag, delivered)) {
      this.#entrance.leave(origin)
      const subject = this.#origins.lose(origin)
      if (subject !== undefined) touched.add(subject)
    }
    yield* this.#enter(arrivals, moment, bag.isKnown === true, touched, admitted)
    let count = 0
    for (const subject of touched) {
      this.#place(subject, moment)
      if (++count % step === 0) yield
    }
    if (bag.isKnown === true) this.#origins.dropLate(delivered)
    const before = this.#snapshot
    yield* this.#judge(touched, moment)
    const refusals = this.#allRefusals()
    if (JSON.stringify(refusals) !== JSON.stringify(this.#refusals)) this.#refusals = refusals
    const vanished = this.#inForce.vanished()
    if (JSON.stringify(vanished) !== JSON.stringify(this.#vanished)) this.#vanished = vanished
    return {
      changed: before !== this.#snapshot,
      snapshot: this.#snapshot,
      refusals: this.#refusals,
      vanished: this.#vanished,
      admitted,
      stale: this.#stale,
      authorities: this.#entrance.authorities,
    }
  }

  /**
   * What must outlive this process beside the documents in force, so that nothing that counted is undone: serials of
   * documents that were taken out of force, and who holds what several claim.
   */
  marks(): Marks {
    const documents = new Map<string, Mark>()
    for (const [subject, mark] of this.#marks) if (!this.#inForce.has(subject)) documents.set(subject, mark)
    return { ...(this.#roster?.holders() ?? this.#before), documents }
  }

  /** True where a document with this payload is in force. */
  isInForce(signed: Signed): boolean {
    return this.#inForce.get(subjectOf(signed))?.signed.hash === signed.hash
  }

  /** What of a gateway is in force, whether or not it is in the snapshot. A claimed voucher is a certificate. */
  documentOf(type: 'certificate' | 'record' | 'voucher', gateway: Name): Document | undefined {
    return this.#inForce.document(type, gateway)
  }

  #receive({ origin, digest, signed, bytes }: Checked, arrivals: Arrival[], touched: Set<string>): void {
    const isSame = signed === undefined || this.knows(origin, digest)
    const subject = isSame ? this.#origins.repeat(origin) : this.#origins.renew(origin, digest)
    if (subject !== undefined) touched.add(subject)
    if (isSame) return
    this.#entrance.leave(origin)
    if (isRefusal(signed)) {
      this.#origins.refuse(origin, signed)
      return
    }
    const { document, kid } = signed
    if (document.payload.fabric !== this.#ground.fabric)
      this.#origins.refuse(origin, foreign(origin, document, this.#ground.fabric))
    else if (document.type !== 'request') arrivals.push({ origin, signed, bytes })
    else if (document.payload.identity !== kid)
      this.#origins.refuse(origin, refuseForgedRequest(origin, document.payload))
  }

  /** Lets in what may come in, by rank. */
  *#enter(
    arrivals: readonly Arrival[],
    moment: Moment,
    isKnown: boolean,
    touched: Set<string>,
    admitted: Delivered[],
  ): Generator<void> {
    const entrance = this.#entrance
    const of = entrance.queue(arrivals)
    const elect = (subject: string, some: readonly Arrival[]): void => {
      this.#elect(subject, some, touched, admitted)
    }
    this.#enterAuthorities(of('authority'), isKnown, elect)
    const incumbent = this.#snapshot?.fabric
    for (const [subject, some] of of('fabric')) {
      elect(
        subject,
        some.filter(
          (arrival) => entrance.isTrusted(arrival, isKnown) && entrance.follows(arrival, incumbent),
        ),
      )
    }
    const { fabric } = this.#inForce
    this.#stale = fabric !== undefined && isStale(fabric, moment)
    const unknownStay = this.#stale && !isKnown
    let count = 0
    for (const [subject, some] of of('certificate')) {
      elect(
        subject,
        some.filter(
          (arrival) => entrance.isTrusted(arrival, isKnown) && entrance.isKnown(arrival, unknownStay),
        ),
      )
      if (++count % step === 0) yield
    }
    for (const [subject, some] of of('voucher')) {
      elect(
        subject,
        some.filter((arrival) => entrance.isTrusted(arrival, isKnown)),
      )
    }
    this.#enterClaims(of('claim'), { moment, unknownStay, isKnown }, touched, elect)
    for (const subject of [...touched]) this.#disown(subject, touched)
    for (const [subject, some] of of('record')) {
      const [, gateway = ''] = subject.split(' ')
      const identity = this.#inForce.certificate(gateway)?.payload.identity
      const own = some.filter((arrival) => entrance.isOwn(arrival, identity))
      elect(subject, own)
      if (own.length > 0 && identity !== undefined) this.#signers.set(gateway, identity)
      if (++count % step === 0) yield
    }
  }

  /**
   * Of the keys that are trusted the latest first: what it retires speaks no more, so that a stolen key that was given up
   * cannot turn its successor out by what it says in the same breath.
   */
  #enterAuthorities(
    arrivals: Arrivals,
    isKnown: boolean,
    elect: (subject: string, some: readonly Arrival[]) => void,
  ): void {
    if (arrivals.size === 0) return
    const entrance = this.#entrance
    const left = new Map(arrivals)
    for (;;) {
      const kid = [...entrance.authorities.trusted].findLast((trusted) => left.has(`authority ${trusted}`))
      if (kid === undefined) break
      const subject = `authority ${kid}`
      elect(subject, left.get(subject) ?? [])
      left.delete(subject)
      entrance.rechain(this.#inForce.of('authority'))
    }
    entrance.acquaint(arrivals)
    for (const [subject, some] of left) {
      elect(
        subject,
        some.filter((arrival) => entrance.isTrusted(arrival, isKnown)),
      )
    }
    // Who was told that a key may not speak is told anew.
    for (const [subject, { signed }] of this.#inForce) {
      const { type } = signed.document
      if (type === 'fabric' || type === 'certificate' || type === 'voucher')
        this.#tell(subject, (arrival) => entrance.isTrusted(arrival))
    }
  }

  #enterClaims(
    arrivals: Arrivals,
    when: Pick<Contest, 'moment' | 'unknownStay' | 'isKnown'>,
    touched: Set<string>,
    elect: (subject: string, some: readonly Arrival[]) => void,
  ): void {
    const enter = (subject: string, some: readonly Arrival[]): readonly Arrival[] => {
      const [, gateway = ''] = subject.split(' ')
      const voucher = this.#inForce.voucher(gateway)
      return this.#entrance.claimants(gateway, some, { ...when, voucher })
    }
    // What claims another voucher than the one that counts now, or is certified now, counts no longer.
    const hasNews = [...touched].some((subject) => /^(certificate|voucher) /.test(subject))
    for (const { document, kid } of hasNews ? [...this.#inForce.of('claim')] : []) {
      if (document.type !== 'claim') continue
      const { gateway, voucher } = document.payload
      const now = this.#inForce.voucher(gateway)
      if (!this.#inForce.isOutranked(gateway) && now?.key === kid && now.serial === voucher) continue
      const subject = `claim ${gateway} ${kid}`
      this.#depose(subject, touched, (arrival) => enter(subject, [arrival]))
    }
    for (const [subject, some] of arrivals) elect(subject, enter(subject, some))
  }

  /** A certificate for another identity ends what the one before said of the gateway. */
  #disown(subject: string, touched: Set<string>): void {
    const [type, gateway = ''] = subject.split(' ')
    const kid = type === 'record' || type === 'authority' ? undefined : this.#signers.get(gateway)
    const identity = this.#inForce.certificate(gateway)?.payload.identity
    if (kid === undefined || identity === kid) return
    this.#signers.delete(gateway)
    this.#depose(`record ${gateway} ${kid}`, touched, (arrival) => this.#entrance.isOwn(arrival, identity))
  }

  /** Takes a document out of force; `why` tells each origin that still says it. */
  #depose(subject: string, touched: Set<string>, why: (arrival: Arrival) => unknown): void {
    if (!this.#inForce.delete(subject)) return
    touched.add(subject)
    this.#tell(subject, why)
    // Who comes back with it is to be judged anew.
    this.#origins.forget(subject, '')
  }

  #tell(subject: string, why: (arrival: Arrival) => unknown): void {
    for (const origin of this.#origins.speakersOf(subject)) {
      const signed = this.#origins.wordOf(origin)
      if (signed !== undefined) why({ origin, signed })
    }
  }

  /** Finds the document of a subject that counts, and tells the others why they do not. */
  #elect(subject: string, arrivals: readonly Arrival[], touched: Set<string>, admitted: Delivered[]): void {
    let best: Arrival | undefined
    for (const arrival of arrivals) {
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
        this.#inForce.set(subject, { signed, origin })
        if (bytes !== undefined) admitted.push({ origin, bytes })
      } else if (this.#outlasts(signed, before.signed)) {
        this.#inForce.set(subject, { ...before, signed: { ...before.signed, kid: signed.kid } })
        if (bytes !== undefined) admitted.push({ origin, bytes })
      }
    }
    for (const { origin, signed } of arrivals) {
      const earlier = this.#origins.speak(origin, signed, subject)
      if (earlier !== undefined) touched.add(earlier)
    }
    if (arrivals.length > 0) touched.add(subject)
  }

  /** The same words, signed by a later key of the authority's: they still count when the earlier one is retired. */
  #outlasts(a: Signed, b: Signed): boolean {
    return a.hash === b.hash && a.kid !== b.kid && this.#entrance.rank(a) > this.#entrance.rank(b)
  }

  /** Where the document of a subject is now, and since when it is nowhere. */
  #place(subject: string, { likelyMs }: Moment): void {
    const mark = this.#marks.get(subject)
    if (mark === undefined) return
    const { origin, isThere } = this.#origins.place(subject, mark)
    const inForce = this.#inForce.get(subject)
    if (inForce === undefined) return
    if (origin !== undefined) inForce.origin = origin
    if (isThere) {
      delete inForce.goneSinceMs
      this.#origins.forget(subject, inForce.origin)
    } else inForce.goneSinceMs ??= likelyMs
  }

  /** Has the roster judge what is different. */
  *#judge(touched: ReadonlySet<string>, moment: Moment): Generator<void> {
    const { fabric } = this.#inForce
    if (fabric === undefined) return
    const fresh = this.#roster === undefined || !sameGround(this.#snapshot?.fabric, fabric)
    const roster =
      fresh || this.#roster === undefined
        ? new Roster(fabric, this.#roster ?? this.#before, this.#ground.self)
        : this.#roster
    this.#roster = roster
    const gateways = new Set<Name>()
    for (const subject of fresh ? this.#inForce.keys() : touched) {
      const [type, gateway] = subject.split(' ')
      if (gateway !== undefined && type !== 'authority') gateways.add(gateway)
    }
    let count = 0
    for (const gateway of gateways) {
      roster.set(gateway, this.#inForce.certificate(gateway), this.#inForce.record(gateway))
      if (++count % step === 0) yield
    }
    const changed = yield* roster.settle(moment)
    this.#renew(fabric, fresh, changed)
  }

  #renew(fabric: Fabric, fresh: boolean, changed: Map<Name, Gateway | undefined>): void {
    const before = this.#snapshot
    if (fresh && before !== undefined) {
      // A new roster makes every gateway anew: keep the object of each that is the same.
      for (const name of before.gateways.keys()) if (!changed.has(name)) changed.set(name, undefined)
      for (const [name, gateway] of changed) {
        const old = before.gateways.get(name)
        if (sameGateway(old, gateway)) changed.delete(name)
      }
    }
    if (before !== undefined && changed.size === 0 && before.fabric === fabric) return
    this.#snapshot = { fabric, ...mapsAfter(before, changed) }
  }

  #allRefusals(): readonly Refusal[] {
    return [...(this.#roster?.refusals() ?? []), ...this.#origins.refusals()].sort(compareRefusals)
  }
}

/** True where nothing that gateways are judged by is different. */
function sameGround(before: Fabric | undefined, after: Fabric): boolean {
  const ground = (of: Fabric): string =>
    JSON.stringify([of.fabric, of.overlay, of.underlays, of.networks, of.removed, of.revoked])
  return before !== undefined && ground(before) === ground(after)
}
