/**
 * The ledger: every document in force, and what follows from them. Bags come in, a snapshot comes out; nothing else
 * enters. It keeps of each origin the last document that was good, so that a document half written, mangled or gone
 * changes nothing that runs. The outcome is that of verify() over the documents held and the marks so far; the work is that
 * of the change.
 */
import type { Bag, Delivered, Document } from '../model/document.ts'
import type { Fabric, Name } from '../model/fabric.ts'
import type { Gateway, Snapshot } from '../model/gateway.ts'
import { isRefusal, parseDocument } from './parse.ts'
import { compareRefusals, compareText } from './refusal.ts'
import type { Refusal } from './refusal.ts'
import { Roster } from './roster.ts'
import { foreign, foreignFabric, succession } from './rule.ts'
import { mapsAfter, sameGateway } from './snapshot.ts'
import { digestOf, newest, subjectOf } from './subject.ts'
import type { Held } from './subject.ts'

/** A document in force that the registry no longer holds. */
export interface Vanished {
  readonly origin: string
  /** Absent for a fabric document. */
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
}

interface Source {
  digest: string
  /** What its last good document speaks of. */
  subject?: string
  /** Why its present bytes do not count. */
  refusal?: Refusal
  gone: boolean
}

type InForce = Held & { readonly goneSinceMs?: number }

/** Documents parsed between two chances for the event loop. */
const step = 8

export class Ledger {
  readonly #sources = new Map<string, Source>()
  /** By subject: the documents in force, at most one an origin. */
  readonly #held = new Map<string, readonly InForce[]>()
  readonly #winners = new Map<string, InForce>()
  readonly #duplicates = new Map<string, readonly Refusal[]>()
  /** Documents of other fabrics, by subject. */
  readonly #foreign = new Map<string, Refusal>()
  #roster: Roster | undefined
  #snapshot: Snapshot | undefined
  #refusals: readonly Refusal[] = []
  #vanished: readonly Vanished[] = []

  readonly #fabric: Name | undefined

  /** `fabric`: the only fabric whose document is taken; absent: the first that comes. */
  constructor({ fabric }: { readonly fabric?: Name } = {}) {
    this.#fabric = fabric
  }

  /** Takes in a bag at once. `nowMs`: Unix. */
  admit(bag: Bag, nowMs: number): Admission {
    const steps = this.admitSteps(bag, nowMs)
    for (;;) {
      const { done, value } = steps.next()
      if (done === true) return value
    }
  }

  /** The same with a yield every few milliseconds of work. Run it to its end before the next bag. */
  *admitSteps(bag: Bag, nowMs: number): Generator<void, Admission> {
    const touched = new Set<string>()
    const delivered = new Set<string>()
    // All of one bag is held against the same incumbent, so that its order decides nothing.
    const incumbent = this.#snapshot?.fabric
    let count = 0
    for (const document of bag.documents) {
      delivered.add(document.origin)
      this.#receive(document, incumbent, nowMs, touched)
      if (++count % step === 0) yield
    }
    for (const origin of this.#missing(bag, delivered)) this.#lose(origin, nowMs, touched)
    for (const subject of touched) this.#prune(subject)

    const before = this.#snapshot
    yield* this.#elect(touched)
    const refusals = this.#allRefusals()
    if (JSON.stringify(refusals) !== JSON.stringify(this.#refusals)) this.#refusals = refusals
    const vanished = this.#allVanished()
    if (JSON.stringify(vanished) !== JSON.stringify(this.#vanished)) this.#vanished = vanished
    return {
      changed: before !== this.#snapshot,
      snapshot: this.#snapshot,
      refusals: this.#refusals,
      vanished: this.#vanished,
    }
  }

  /** The certificate or record in force of a gateway of the fabric, whether or not it is in the snapshot. */
  documentOf(type: 'certificate' | 'record', gateway: Name): Document | undefined {
    const fabric = this.#snapshot?.fabric.fabric
    return fabric === undefined ? undefined : this.#winners.get(`${type} ${fabric} ${gateway}`)?.document
  }

  #receive(delivered: Delivered, incumbent: Fabric | undefined, nowMs: number, touched: Set<string>): void {
    const { origin } = delivered
    const digest = digestOf(delivered.bytes)
    const source = this.#sources.get(origin)
    if (source?.digest === digest && !source.gone) return
    const document = admissible(delivered, incumbent, this.#fabric)
    if (isRefusal(document)) {
      // What the origin said before stays in force.
      const subject = source?.subject
      const said = subject === undefined ? {} : { subject }
      this.#sources.set(origin, { digest, gone: false, refusal: document, ...said })
      if (subject !== undefined) this.#mark(subject, origin, undefined, touched)
      return
    }
    const subject = subjectOf(document)
    if (source?.subject !== undefined && source.subject !== subject)
      this.#mark(source.subject, origin, nowMs, touched)
    if (document.type === 'request') {
      this.#sources.set(origin, { digest, gone: false })
      return
    }
    this.#sources.set(origin, { digest, gone: false, subject })
    const others = (this.#held.get(subject) ?? []).filter((held) => held.origin !== origin)
    this.#held.set(subject, [...others, { origin, digest, document }])
    touched.add(subject)
  }

  /** Origins known and no longer there. */
  *#missing(bag: Bag, delivered: ReadonlySet<string>): Generator<string> {
    if (!bag.complete) {
      for (const origin of bag.gone ?? []) if (!delivered.has(origin)) yield origin
      return
    }
    const unreadable = bag.unreadable.map(({ object }) => object)
    for (const [origin, { gone }] of [...this.#sources]) {
      if (gone || delivered.has(origin)) continue
      if (!unreadable.some((object) => origin === object || origin.startsWith(`${object}/`))) yield origin
    }
  }

  #lose(origin: string, nowMs: number, touched: Set<string>): void {
    const source = this.#sources.get(origin)
    if (source === undefined || source.gone) return
    if (source.subject === undefined) {
      this.#sources.delete(origin)
      return
    }
    delete source.refusal
    source.gone = true
    this.#mark(source.subject, origin, nowMs, touched)
  }

  /** Marks a document in force as gone since then, or as there again. */
  #mark(subject: string, origin: string, goneSinceMs: number | undefined, touched: Set<string>): void {
    const marked = (this.#held.get(subject) ?? []).map((held): InForce => {
      if (held.origin !== origin) return held
      const { digest, document } = held
      return { origin, digest, document, ...(goneSinceMs !== undefined && { goneSinceMs }) }
    })
    this.#held.set(subject, marked)
    touched.add(subject)
  }

  /** A vanished document stays only while no other speaks of the same. */
  #prune(subject: string): void {
    const all = this.#held.get(subject) ?? []
    if (!all.some((held) => held.goneSinceMs === undefined)) return
    this.#held.set(
      subject,
      all.filter(({ goneSinceMs, origin }) => {
        if (goneSinceMs === undefined) return true
        const source = this.#sources.get(origin)
        if (source?.gone === true && source.subject === subject) this.#sources.delete(origin)
        return false
      }),
    )
  }

  /** Finds the document that counts for each touched subject, and has the roster judge what is different. */
  *#elect(touched: ReadonlySet<string>): Generator<void> {
    const different = new Set<string>()
    for (const subject of touched) {
      const { winner, refusals } = newest(this.#held.get(subject) ?? [])
      if (refusals.length > 0) this.#duplicates.set(subject, refusals)
      else this.#duplicates.delete(subject)
      const before = this.#winners.get(subject)
      if (winner === undefined) this.#winners.delete(subject)
      else this.#winners.set(subject, winner)
      if (winner?.document !== before?.document || winner?.origin !== before?.origin) different.add(subject)
    }
    const winner = this.#winners.get('fabric')?.document
    if (winner?.type !== 'fabric') return
    const fabric = winner.payload
    const fresh = this.#roster === undefined || !sameGround(this.#snapshot?.fabric, fabric)
    const roster = fresh || this.#roster === undefined ? new Roster(fabric, this.#roster) : this.#roster
    this.#roster = roster
    if (fresh) this.#foreign.clear()
    for (const subject of fresh ? this.#winners.keys() : different)
      this.#enter(roster, fabric.fabric, subject)
    const changed = yield* roster.settle()
    this.#renew(fabric, fresh, changed)
  }

  #enter(roster: Roster, fabric: Name, subject: string): void {
    const winner = this.#winners.get(subject)
    this.#foreign.delete(subject)
    const [type = '', of = '', gateway = ''] = subject.split(' ')
    if (of !== fabric) {
      if (winner !== undefined && type !== 'fabric') {
        this.#foreign.set(subject, foreign(winner.origin, type, gateway, of, fabric))
      }
      return
    }
    const { origin = '', document } = winner ?? {}
    if (type === 'certificate') {
      roster.setCertificate(
        gateway,
        document?.type === type ? { origin, payload: document.payload } : undefined,
      )
    } else {
      roster.setRecord(
        gateway,
        document?.type === 'record' ? { origin, payload: document.payload } : undefined,
      )
    }
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
    const refusals = [...(this.#roster?.refusals() ?? [])]
    for (const { refusal } of this.#sources.values()) if (refusal !== undefined) refusals.push(refusal)
    for (const list of this.#duplicates.values()) refusals.push(...list)
    refusals.push(...this.#foreign.values())
    return refusals.sort(compareRefusals)
  }

  #allVanished(): readonly Vanished[] {
    const vanished: Vanished[] = []
    for (const { goneSinceMs, origin, document } of this.#winners.values()) {
      if (goneSinceMs === undefined) continue
      const gateway = document.type === 'fabric' ? {} : { gateway: document.payload.gateway }
      vanished.push({ origin, ...gateway, sinceMs: goneSinceMs })
    }
    return vanished.sort((a, b) => compareText(a.origin, b.origin))
  }
}

/** The document, unless it is none or may not follow the fabric document in force. */
export function admissible(
  delivered: Delivered,
  incumbent: Fabric | undefined,
  wanted?: Name,
): Document | Refusal {
  const document = parseDocument(delivered)
  if (isRefusal(document) || document.type !== 'fabric') return document
  const { payload } = document
  if (wanted !== undefined && payload.fabric !== wanted)
    return foreignFabric(delivered.origin, payload, wanted)
  return (incumbent && succession(delivered.origin, incumbent, payload)) ?? document
}

/** True where nothing that gateways are judged by is different. */
function sameGround(before: Fabric | undefined, after: Fabric): boolean {
  const ground = (of: Fabric): string =>
    JSON.stringify([of.fabric, of.overlay, of.underlays, of.networks, of.removed, of.revoked])
  return before !== undefined && ground(before) === ground(after)
}
