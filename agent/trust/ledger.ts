/**
 * The ledger: every document in force, and what follows from them. Bags come in, a snapshot comes out; nothing else enters.
 * It keeps of each subject the newest document that counted, so that a document that is half written, mangled, rolled back
 * or gone changes nothing that runs. The outcome is that of verify() over the documents and the marks so far; the work is
 * that of the change.
 *
 * A bag is taken in by rank, whatever its order: keys of the authority, fabric document, certificates, records. Who signed a
 * document that its signer may not sign waits (entrance.ts).
 */
import type { Bag, Delivered, Document, DocumentType, Signed } from '../model/document.ts'
import type { Admission, Checked, CheckedBag, Vanished } from './admission.ts'
import type { Fabric, Name } from '../model/fabric.ts'
import type { Gateway, Snapshot } from '../model/gateway.ts'
import { Entrance } from './entrance.ts'
import type { Arrival, Arrivals } from './entrance.ts'
import { digestOf } from './envelope.ts'
import type { Ground } from './ground.ts'
import { isStale } from './moment.ts'
import type { Moment } from './moment.ts'
import { Origins } from './origins.ts'
import { isRefusal, parseDocument } from './parse.ts'
import { compareRefusals, compareText } from './refusal.ts'
import type { Refusal } from './refusal.ts'
import { Roster } from './roster.ts'
import { foreign, refuseForgedRequest } from './rule.ts'
import { mapsAfter, sameGateway } from './snapshot.ts'
import { behind, gatewayOf, markOf, nameOf, outranks, subjectOf } from './subject.ts'
import type { Mark } from './subject.ts'
import { noMarks } from './tenure.ts'
import type { Marks } from './tenure.ts'

interface InForce {
  readonly signed: Signed
  origin: string
  goneSinceMs?: number
}

/** Documents taken in between two chances for the event loop. */
const step = 64

export class Ledger {
  readonly #ground: Ground
  readonly #origins = new Origins()
  /** By subject. */
  readonly #inForce = new Map<string, InForce>()
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
    for (const document of bag.documents) {
      delivered.add(document.origin)
      this.#receive(document, arrivals, touched)
    }
    yield
    // First, so that what waited and is gone does not come in now.
    for (const origin of this.#origins.missing(bag, delivered)) {
      this.#entrance.leave(origin)
      const subject = this.#origins.lose(origin)
      if (subject !== undefined) touched.add(subject)
    }
    yield* this.#enter(arrivals, moment, bag.isKnown === true, touched, admitted)
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
    const fabric = this.#inForce.get('fabric')?.signed.document
    this.#stale = fabric?.type === 'fabric' && isStale(fabric.payload, moment)
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
    for (const subject of [...touched]) this.#disown(subject, touched)
    for (const [subject, some] of of('record')) {
      const [, gateway = ''] = subject.split(' ')
      const identity = this.#identityOf(gateway)
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
      entrance.rechain(this.#inForceOf('authority'))
    }
    for (const [subject, some] of left) {
      elect(
        subject,
        some.filter((arrival) => entrance.isTrusted(arrival, isKnown)),
      )
    }
    // Who was told that a key may not speak is told anew.
    for (const subject of this.#inForce.keys())
      if (subject.startsWith('certificate ')) this.#tell(subject, (arrival) => entrance.isTrusted(arrival))
  }

  *#inForceOf(type: DocumentType): Generator<Signed> {
    for (const { signed } of this.#inForce.values()) if (signed.document.type === type) yield signed
  }

  #identityOf(gateway: Name): string | undefined {
    const certificate = this.documentOf('certificate', gateway)
    return certificate?.type === 'certificate' ? certificate.payload.identity : undefined
  }

  /** A certificate for another identity ends what the one before said of the gateway. */
  #disown(certificate: string, touched: Set<string>): void {
    const [type, gateway = ''] = certificate.split(' ')
    const kid = type === 'certificate' ? this.#signers.get(gateway) : undefined
    const identity = this.#identityOf(gateway)
    if (kid === undefined || identity === kid) return
    this.#signers.delete(gateway)
    this.#depose(`record ${gateway} ${kid}`, touched, (arrival) => this.#entrance.isOwn(arrival, identity))
  }

  /** Takes a document out of force; `why` tells each origin that still says it. */
  #depose(subject: string, touched: Set<string>, why: (arrival: Arrival) => boolean): void {
    if (!this.#inForce.delete(subject)) return
    touched.add(subject)
    this.#tell(subject, why)
  }

  #tell(subject: string, why: (arrival: Arrival) => boolean): void {
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
      vanished.push({
        origin,
        object: nameOf(signed.document),
        ...(gateway === undefined ? {} : { gateway }),
        sinceMs: goneSinceMs,
      })
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
