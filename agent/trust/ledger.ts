/**
 * The ledger: every document in force, and what follows from them. Bags come in, a snapshot comes out; nothing else enters.
 * It keeps of each subject the newest document that counted, so that a document that is half written, mangled, rolled back
 * or gone changes nothing that runs. The outcome is that of verify() over the documents and the marks so far; the work is
 * that of the change.
 *
 * A bag is taken in by rank, whatever its order: keys of the authority, fabric document, certificates, records. Who signed a
 * document that its signer may not (yet) sign waits (waiting room below): an authority document or a certificate that comes
 * later may let it in.
 */
import type { Bag, Delivered, Document, DocumentType, Signed } from '../model/document.ts'
import type { Fabric, Name } from '../model/fabric.ts'
import type { Gateway, Snapshot } from '../model/gateway.ts'
import { authoritiesOf } from './authorities.ts'
import type { Authorities } from './authorities.ts'
import { digestOf } from './envelope.ts'
import type { Ground } from './ground.ts'
import { isStale } from './moment.ts'
import type { Moment } from './moment.ts'
import { Origins } from './origins.ts'
import { isRefusal, parseDocument } from './parse.ts'
import { compareRefusals, compareText } from './refusal.ts'
import type { Refusal } from './refusal.ts'
import { Roster } from './roster.ts'
import {
  foreign,
  refuseForgedRequest,
  refuseSigner,
  refuseStale,
  refuseStranger,
  succession,
} from './rule.ts'
import { mapsAfter, sameGateway } from './snapshot.ts'
import { behind, gatewayOf, markOf, nameOf, outranks, subjectOf } from './subject.ts'
import type { Mark } from './subject.ts'
import { noMarks } from './tenure.ts'
import type { Marks } from './tenure.ts'

/** A delivered document after its form and signature were checked; without `signed`, as this origin said it before. */
export interface Checked {
  readonly origin: string
  readonly digest: string
  readonly signed?: Signed | Refusal
  readonly bytes: Uint8Array
}

export type CheckedBag = Omit<Bag, 'documents'> & {
  readonly documents: readonly Checked[]
  /** These counted in an earlier run: no gateway among them is unknown. */
  readonly isKnown?: boolean
}

/** A document in force that the registry no longer holds. */
export interface Vanished {
  readonly origin: string
  /** `record aws-a`. */
  readonly object: string
  /** Absent for a document that is not about a gateway. */
  readonly gateway?: Name
  /** Unix ms of the bag that first lacked it. */
  readonly sinceMs: number
}

export interface Admission {
  /** The snapshot is another object than before. */
  readonly changed: boolean
  /** Undefined until a fabric document is in force. */
  readonly snapshot: Snapshot | undefined
  /** In order of origin and rule; the same array while nothing changed. */
  readonly refusals: readonly Refusal[]
  /** In order of origin; the same array while nothing changed. */
  readonly vanished: readonly Vanished[]
  /** Documents that came into force with this bag. */
  readonly admitted: readonly Delivered[]
  /** The fabric document should have been renewed. */
  readonly stale: boolean
  readonly authorities: Authorities
}

interface InForce {
  readonly signed: Signed
  origin: string
  goneSinceMs?: number
}

interface Arrival {
  readonly origin: string
  readonly signed: Signed
  readonly bytes?: Uint8Array
}

/** Documents taken in between two chances for the event loop. */
const step = 64

export class Ledger {
  readonly #ground: Ground
  readonly #origins = new Origins()
  /** By subject. */
  readonly #inForce = new Map<string, InForce>()
  readonly #marks: Map<string, Mark>
  /** Documents whose signer may not speak so, by origin: bounded by what the registry holds at the moment. */
  readonly #waiting = new Map<string, Arrival>()
  readonly #before: Marks
  /** Who signed the record in force of a gateway. */
  readonly #signers = new Map<Name, string>()
  #authorities: Authorities
  #roster: Roster | undefined
  #snapshot: Snapshot | undefined
  #stale = false
  /** The bag under way holds what counted in an earlier run. */
  #isKnown = false
  #refusals: readonly Refusal[] = []
  #vanished: readonly Vanished[] = []

  /** `marks`: of an earlier run. */
  constructor(ground: Ground, marks: Marks = noMarks) {
    this.#ground = ground
    this.#before = marks
    this.#marks = new Map(marks.documents)
    this.#authorities = authoritiesOf(ground.authority, [])
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
    for (const document of bag.documents) {
      delivered.add(document.origin)
      this.#receive(document, arrivals, touched)
    }
    yield
    // First, so that what waited and is gone does not come in now.
    for (const origin of this.#origins.missing(bag, delivered)) {
      this.#waiting.delete(origin)
      const subject = this.#origins.lose(origin)
      if (subject !== undefined) touched.add(subject)
    }
    this.#isKnown = bag.isKnown === true
    yield* this.#enter(arrivals, moment, touched, admitted)
    for (const subject of touched) this.#place(subject, moment)

    const before = this.#snapshot
    yield* this.#judge(touched, moment)
    const refusals = this.#allRefusals()
    if (JSON.stringify(refusals) !== JSON.stringify(this.#refusals)) this.#refusals = refusals
    const vanished = this.#allVanished()
    if (JSON.stringify(vanished) !== JSON.stringify(this.#vanished)) this.#vanished = vanished
    return {
      changed: before !== this.#snapshot,
      snapshot: this.#snapshot,
      refusals: this.#refusals,
      vanished: this.#vanished,
      admitted,
      stale: this.#stale,
      authorities: this.#authorities,
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

  /** The certificate or record in force of a gateway of the fabric, whether or not it is in the snapshot. */
  documentOf(type: 'certificate' | 'record', gateway: Name): Document | undefined {
    return this.#documentOf(type, gateway)?.signed.document
  }

  #documentOf(type: 'certificate' | 'record', gateway: Name): InForce | undefined {
    const certificate = this.#inForce.get(`certificate ${gateway}`)
    if (type === 'certificate' || certificate?.signed.document.type !== 'certificate') return certificate
    return this.#inForce.get(`record ${gateway} ${certificate.signed.document.payload.identity}`)
  }

  #receive({ origin, digest, signed, bytes }: Checked, arrivals: Arrival[], touched: Set<string>): void {
    const isSame = signed === undefined || this.knows(origin, digest)
    const subject = isSame ? this.#origins.repeat(origin) : this.#origins.renew(origin, digest)
    if (subject !== undefined) touched.add(subject)
    if (isSame) return
    this.#waiting.delete(origin)
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
    touched: Set<string>,
    admitted: Delivered[],
  ): Generator<void> {
    // An empty bag only tells the time.
    const byType = new Map<DocumentType, Map<string, Arrival[]>>()
    const sort = (arrival: Arrival): void => {
      const { type } = arrival.signed.document
      const subjects = byType.get(type) ?? new Map<string, Arrival[]>()
      byType.set(type, subjects)
      const subject = subjectOf(arrival.signed)
      subjects.set(subject, [...(subjects.get(subject) ?? []), arrival])
    }
    for (const arrival of arrivals) sort(arrival)
    for (const arrival of this.#waiting.values()) sort(arrival)
    this.#waiting.clear()
    const of = (type: DocumentType): Map<string, Arrival[]> =>
      byType.get(type) ?? new Map<string, Arrival[]>()
    this.#enterAuthorities(of('authority'), touched, admitted)
    const incumbent = this.#snapshot?.fabric
    for (const [subject, some] of of('fabric')) {
      this.#elect(
        subject,
        some.filter((arrival) => this.#maySign(arrival) && this.#follows(arrival, incumbent)),
        touched,
        admitted,
      )
    }
    const fabric = this.#inForce.get('fabric')?.signed.document
    this.#stale = fabric?.type === 'fabric' && isStale(fabric.payload, moment)
    let count = 0
    for (const [subject, some] of of('certificate')) {
      this.#elect(
        subject,
        some.filter((arrival) => this.#maySign(arrival) && this.#isLetIn(arrival, subject)),
        touched,
        admitted,
      )
      if (++count % step === 0) yield
    }
    for (const subject of [...touched]) this.#disown(subject, touched)
    for (const [subject, some] of of('record')) {
      const own = some.filter((arrival) => this.#isOwn(arrival))
      this.#elect(subject, own, touched, admitted)
      const [first] = own
      if (first !== undefined) this.#signers.set(gatewayOf(first.signed.document) ?? '', first.signed.kid)
      if (++count % step === 0) yield
    }
  }

  /** A certificate for another identity ends what the one before said of the gateway. */
  #disown(certificate: string, touched: Set<string>): void {
    const [type, gateway = ''] = certificate.split(' ')
    const kid = type === 'certificate' ? this.#signers.get(gateway) : undefined
    const now = this.documentOf('certificate', gateway)
    if (kid === undefined || (now?.type === 'certificate' && now.payload.identity === kid)) return
    this.#signers.delete(gateway)
    this.#depose(`record ${gateway} ${kid}`, touched, (arrival) => this.#isOwn(arrival))
  }

  /** Takes a document out of force; `why` tells each origin that still says it. */
  #depose(subject: string, touched: Set<string>, why: (arrival: Arrival) => boolean): void {
    const inForce = this.#inForce.get(subject)
    if (inForce === undefined) return
    this.#inForce.delete(subject)
    touched.add(subject)
    for (const origin of this.#origins.speakersOf(subject)) {
      if (this.#origins.isThere(origin)) why({ origin, signed: inForce.signed })
    }
  }

  /** From the root along the chain: whose turn it is depends on the documents only. */
  #enterAuthorities(waiting: Map<string, Arrival[]>, touched: Set<string>, admitted: Delivered[]): void {
    const retired = this.#authorities.retired
    for (let again = true; again;) {
      again = false
      for (const kid of this.#authorities.trusted) {
        const subject = `authority ${kid}`
        const some = waiting.get(subject)
        if (some === undefined || retired.has(kid)) continue
        waiting.delete(subject)
        this.#elect(subject, some, touched, admitted)
        this.#authorities = this.#chain()
        again = true
        break
      }
    }
    for (const arrival of [...waiting.values()].flat()) this.#maySign(arrival)
    // What a retired key signed counts no longer, but for the fabric document: without one there would be no fabric.
    for (const [subject, { signed }] of this.#inForce) {
      if (!subject.startsWith('certificate ') || this.#authorities.trusted.has(signed.kid)) continue
      this.#depose(subject, touched, (arrival) => this.#maySign(arrival))
    }
  }

  #chain(): Authorities {
    const documents: Signed[] = []
    for (const [subject, { signed }] of this.#inForce)
      if (subject.startsWith('authority ')) documents.push(signed)
    return authoritiesOf(this.#ground.authority, documents)
  }

  #maySign(arrival: Arrival): boolean {
    const { origin, signed } = arrival
    if (this.#authorities.trusted.has(signed.kid)) return true
    const wasTrusted = this.#authorities.retired.has(signed.kid)
    if (wasTrusted && signed.document.type === 'fabric' && this.#marks.get('fabric')?.hash === signed.hash)
      return true
    return this.#keepOut(arrival, refuseStranger(origin, signed, this.#ground.authority, wasTrusted))
  }

  /** Running gateways have addresses and devices that follow from the fabric document before. */
  #follows(arrival: Arrival, incumbent: Fabric | undefined): boolean {
    const { origin, signed } = arrival
    const { document } = signed
    const mark = this.#marks.get('fabric')
    if (mark !== undefined && behind(origin, signed, mark) !== undefined) return true
    const refusal =
      incumbent && document.type === 'fabric' ? succession(origin, incumbent, document.payload) : undefined
    return refusal === undefined || this.#keepOut(arrival, refusal)
  }

  /** With a stale fabric document, no gateway that was never seen. */
  #isLetIn(arrival: Arrival, subject: string): boolean {
    if (!this.#stale || this.#isKnown || this.#marks.has(subject)) return true
    return this.#keepOut(arrival, refuseStale(arrival.origin, arrival.signed))
  }

  /** A record is signed by the identity that its gateway is certified for. */
  #isOwn(arrival: Arrival): boolean {
    const { origin, signed } = arrival
    const { document, kid } = signed
    const gateway = gatewayOf(document) ?? ''
    const certificate = this.documentOf('certificate', gateway)
    if (certificate?.type === 'certificate' && certificate.payload.identity === kid) return true
    return this.#keepOut(arrival, refuseSigner(origin, gateway, certificate !== undefined))
  }

  #keepOut(arrival: Arrival, refusal: Refusal): false {
    this.#origins.refuse(arrival.origin, refusal)
    this.#waiting.set(arrival.origin, arrival)
    return false
  }

  /** Finds the document of a subject that counts, and tells the others why they do not. */
  #elect(subject: string, arrivals: readonly Arrival[], touched: Set<string>, admitted: Delivered[]): void {
    let best: Arrival | undefined
    for (const arrival of arrivals) {
      const mark = this.#marks.get(subject)
      if (mark !== undefined && behind(arrival.origin, arrival.signed, mark) !== undefined) continue
      if (best === undefined || outranks(markOf(arrival.signed), markOf(best.signed))) best = arrival
    }
    if (best !== undefined) {
      const { signed, origin, bytes } = best
      const before = this.#inForce.get(subject)
      if (before === undefined || before.signed.hash !== signed.hash) {
        this.#marks.set(subject, markOf(signed))
        this.#inForce.set(subject, { signed, origin })
        if (bytes !== undefined) admitted.push({ origin, bytes })
      }
    }
    for (const { origin, signed } of arrivals) {
      const earlier = this.#origins.speak(origin, signed, subject)
      if (earlier !== undefined) touched.add(earlier)
    }
    if (arrivals.length > 0) touched.add(subject)
  }

  /** Where the document of a subject is now, and since when it is nowhere. */
  #place(subject: string, { likelyMs }: Moment): void {
    const inForce = this.#inForce.get(subject)
    if (inForce === undefined) return
    const { origin, isThere } = this.#origins.place(subject, markOf(inForce.signed))
    if (origin !== undefined) inForce.origin = origin
    if (isThere) {
      delete inForce.goneSinceMs
      this.#origins.forget(subject, inForce.origin)
    } else inForce.goneSinceMs ??= likelyMs
  }

  /** Has the roster judge what is different. */
  *#judge(touched: ReadonlySet<string>, moment: Moment): Generator<void> {
    const document = this.#inForce.get('fabric')?.signed.document
    if (document?.type !== 'fabric') return
    const fabric = document.payload
    const fresh = this.#roster === undefined || !sameGround(this.#snapshot?.fabric, fabric)
    const roster =
      fresh || this.#roster === undefined
        ? new Roster(fabric, this.#roster ?? this.#before, this.#ground.self)
        : this.#roster
    this.#roster = roster
    const gateways = new Set<Name>()
    for (const subject of fresh ? this.#inForce.keys() : touched) {
      const [type, gateway] = subject.split(' ')
      if (gateway !== undefined && (type === 'certificate' || type === 'record')) gateways.add(gateway)
    }
    for (const gateway of gateways) this.#present(roster, gateway)
    const changed = yield* roster.settle(moment)
    this.#renew(fabric, fresh, changed)
  }

  #present(roster: Roster, gateway: Name): void {
    const certificate = this.#documentOf('certificate', gateway)
    const record = certificate && this.#documentOf('record', gateway)
    roster.set(
      gateway,
      certificate?.signed.document.type === 'certificate'
        ? { origin: certificate.origin, payload: certificate.signed.document.payload }
        : undefined,
      record?.signed.document.type === 'record'
        ? { origin: record.origin, payload: record.signed.document.payload }
        : undefined,
    )
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

  #allVanished(): readonly Vanished[] {
    const vanished: Vanished[] = []
    for (const { goneSinceMs, origin, signed } of this.#inForce.values()) {
      if (goneSinceMs === undefined) continue
      const gateway = gatewayOf(signed.document)
      vanished.push({ origin, object: nameOf(signed.document), ...(gateway === undefined ? {} : { gateway }), sinceMs: goneSinceMs })
    }
    return vanished.sort((a, b) => compareText(a.object, b.object))
  }
}

/** True where nothing that gateways are judged by is different. */
function sameGround(before: Fabric | undefined, after: Fabric): boolean {
  const ground = (of: Fabric): string =>
    JSON.stringify([of.fabric, of.overlay, of.underlays, of.networks, of.removed, of.revoked])
  return before !== undefined && ground(before) === ground(after)
}
