/**
 * The ledger: every document in force, and what follows from them. Bags come in, a snapshot comes out; nothing else enters.
 * It keeps of each subject the newest document that counted, so that a document that is half written, mangled, rolled back
 * or gone changes nothing that runs. The outcome is that of verify() over the documents and the marks so far; the work is
 * that of the change.
 *
 * Which documents come in and count is decided in election.ts; who signed a document that its signer may not sign waits
 * (entrance.ts).
 *
 * A registry may hold a hundred thousand documents of strangers, so nothing here goes through all that was ever refused:
 * refusals are a list in order that changes in place, and what waits is asked for by what it waits for.
 */
import type { Bag, Document, Signed } from '../model/document.ts'
import type { Admission, Checked, CheckedBag, Vanished } from './admission.ts'
import type { Fabric, Name } from '../model/fabric.ts'
import type { Gateway, Snapshot } from '../model/gateway.ts'
import { Election } from './election.ts'
import { digestOf } from './envelope.ts'
import type { Ground } from './ground.ts'
import { InForce } from './in-force.ts'
import type { Moment } from './moment.ts'
import { Origins } from './origins.ts'
import { isRefusal, parseDocument } from './parse.ts'
import { RefusalList } from './refusal-list.ts'
import type { Refused } from './refusal-list.ts'
import type { Refusal } from './refusal.ts'
import { Roster } from './roster.ts'
import { foreign, refuseForgedRequest } from './rule.ts'
import { mapsAfter, sameGateway } from './snapshot.ts'
import { subjectOf } from './subject.ts'
import type { Mark } from './subject.ts'
import { noMarks } from './tenure.ts'
import type { Marks } from './tenure.ts'
import type { Arrival } from './waiting.ts'

/** Documents taken in between two chances for the event loop. */
const step = 64

export class Ledger {
  readonly #ground: Ground
  readonly #list: RefusalList
  readonly #origins: Origins
  readonly #inForce: InForce
  readonly #marks: Map<string, Mark>
  readonly #election: Election
  readonly #before: Marks
  #roster: Roster | undefined
  #snapshot: Snapshot | undefined
  #vanished: readonly Vanished[] = []

  /** `marks`: of an earlier run. `listed`: how many refusals are told one by one. */
  constructor(ground: Ground, marks: Marks = noMarks, listed = Infinity) {
    this.#ground = ground
    this.#list = new RefusalList(listed)
    this.#origins = new Origins(this.#list)
    this.#before = marks
    this.#marks = new Map(marks.documents)
    this.#inForce = new InForce(this.#marks)
    const [origins, inForce, documents] = [this.#origins, this.#inForce, this.#marks]
    this.#election = new Election({ ground, origins, inForce, marks: documents })
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

  /**
   * Takes in a bag, with a yield every few milliseconds of work. Run it to its end before the next bag. Where it throws, the
   * same documents are news again.
   */
  *admitSteps(bag: CheckedBag, moment: Moment): Generator<void, Admission> {
    const delivered = new Set<string>()
    let isDone = false
    try {
      const admission = yield* this.#admitAll(bag, moment, delivered)
      isDone = true
      return admission
    } finally {
      if (!isDone) this.#origins.doubt(delivered)
    }
  }

  *#admitAll(bag: CheckedBag, moment: Moment, delivered: Set<string>): Generator<void, Admission> {
    const { touched, entrance } = this.#election
    const arrivals: Arrival[] = []
    const droppedBefore = entrance.dropped
    for (const [i, document] of bag.documents.entries()) {
      delivered.add(document.origin)
      this.#receive(document, arrivals, touched)
      if (i % step === 0) yield
    }
    // First, so that what waited and is gone does not come in now.
    for (const origin of this.#origins.missing(bag, delivered)) {
      if (origin === undefined) {
        yield
        continue
      }
      entrance.leave(origin)
      const subject = this.#origins.lose(origin)
      if (subject !== undefined) touched.add(subject)
    }
    yield* this.#election.enter(arrivals, this.#snapshot?.fabric, moment, bag.isKnown === true)
    let count = 0
    for (const subject of touched) {
      yield* this.#place(subject, moment)
      if (++count % step === 0) yield
    }
    if (bag.isKnown === true) this.#origins.dropLate(delivered)
    const before = this.#snapshot
    yield* this.#judge(moment)
    const begun = yield* this.#list.settle()
    if (touched.size > 0) {
      const vanished = this.#inForce.vanished()
      if (JSON.stringify(vanished) !== JSON.stringify(this.#vanished)) this.#vanished = vanished
    }
    const { admitted, stale, issuedMs } = this.#election
    this.#election.done()
    return {
      changed: before !== this.#snapshot,
      snapshot: this.#snapshot,
      refusals: this.#list.list,
      refused: this.#list.refused,
      begun,
      vanished: this.#vanished,
      admitted,
      dropped: entrance.dropped - droppedBefore,
      issuedMs,
      stale,
      authorities: entrance.authorities,
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

  /**
   * True where the document is in force, or was and may be again: its key counts no more, and the registry still has it. Then
   * it comes back without being delivered anew.
   */
  isWanted(signed: Signed): boolean {
    return this.isInForce(signed) || this.#election.entrance.isHeld(signed)
  }

  /** What of a gateway is in force, whether or not it is in the snapshot. A claimed voucher is a certificate. */
  documentOf(type: 'certificate' | 'record' | 'voucher', gateway: Name): Document | undefined {
    return this.#inForce.document(type, gateway)
  }

  /** As of the last bag. */
  get refused(): Refused {
    return this.#list.refused
  }

  /** Why documents in force of a gateway do not stand, or not in full. */
  refusalsOf(gateway: Name): readonly Refusal[] {
    return this.#roster?.refusalsOf(gateway) ?? []
  }

  #receive({ origin, digest, signed, bytes }: Checked, arrivals: Arrival[], touched: Set<string>): void {
    const isSame = signed === undefined || this.knows(origin, digest)
    const subject = isSame ? this.#origins.repeat(origin) : this.#origins.renew(origin, digest)
    if (subject !== undefined) touched.add(subject)
    if (isSame) return
    this.#election.entrance.leave(origin)
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

  /** Where the document of a subject is now, and since when it is nowhere. */
  *#place(subject: string, { likelyMs }: Moment): Generator<void> {
    const mark = this.#marks.get(subject)
    if (mark === undefined) return
    const { origin, isThere } = yield* this.#origins.place(subject, mark)
    const inForce = this.#inForce.get(subject)
    if (inForce === undefined) return
    if (origin !== undefined) inForce.origin = origin
    if (isThere) {
      delete inForce.goneSinceMs
      yield* this.#origins.forget(subject, inForce.origin)
    } else inForce.goneSinceMs ??= likelyMs
  }

  /** Has the roster judge what is different. */
  *#judge(moment: Moment): Generator<void> {
    const { fabric } = this.#inForce
    if (fabric === undefined) return
    const fresh = this.#roster === undefined || !sameGround(this.#snapshot?.fabric, fabric)
    const roster =
      fresh || this.#roster === undefined
        ? new Roster(fabric, this.#list, this.#roster ?? this.#before, this.#ground.self)
        : this.#roster
    const gateways = new Set<Name>()
    for (const subject of fresh ? this.#inForce.keys() : this.#election.touched) {
      const [type, gateway] = subject.split(' ')
      if (gateway !== undefined && type !== 'authority') gateways.add(gateway)
    }
    let count = 0
    for (const gateway of gateways) {
      roster.set(gateway, this.#inForce.certificate(gateway), this.#inForce.record(gateway))
      if (++count % step === 0) yield
    }
    const changed = yield* roster.settle(moment)
    if (roster !== this.#roster) this.#roster?.dissolve()
    this.#roster = roster
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
    if (before?.fabric !== fabric) this.#election.entrance.wake('succession')
    this.#snapshot = { fabric, ...mapsAfter(before, changed) }
  }
}

/** True where nothing that gateways are judged by is different. */
function sameGround(before: Fabric | undefined, after: Fabric): boolean {
  const ground = (of: Fabric): string =>
    JSON.stringify([of.fabric, of.overlay, of.underlays, of.networks, of.removed, of.revoked])
  return before === after || (before !== undefined && ground(before) === ground(after))
}
