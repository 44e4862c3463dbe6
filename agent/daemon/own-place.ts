/**
 * What lies in our own places of the registry: what we say of ourselves, or what somebody else made of it. A document that
 * was deleted or written over stays in force, but a gateway that is new, or that lost its state, never sees it. So who said
 * it puts it back.
 *
 * Who writes over it may do so again, and two gateways of one name would fight for ever: so it waits a minute, in which an
 * operator who restores a backup is done, and then ever longer, up to an hour.
 */
import type { Bag, Delivered, Document, Signed } from '../model/document.ts'
import { isRefusal, parseDocument } from '../trust/parse.ts'
import { serialOf } from '../trust/subject.ts'
import { sameContent } from './announce.ts'

const types = ['record', 'request', 'claim'] as const
type OwnType = (typeof types)[number]

interface Held {
  readonly delivered: Delivered
  /** Looked at when somebody asks: who writes there all the time must not keep us busy. */
  signed?: Signed | undefined
}

/** The origin of one document, not of a folder or of the whole registry. */
const isDocument = /\/(fabric(\.jws)?|(authority|certificates|vouchers|claims|records|requests)\/[^/]+)$/

export class OwnPlaces {
  readonly #gateway: string
  readonly #ends: ReadonlyMap<OwnType, readonly string[]>
  /** Undefined: nothing lies there. Absent: nobody knows. */
  readonly #held = new Map<OwnType, Held | undefined>()

  constructor(gateway: string) {
    this.#gateway = gateway
    const ends = types.map((type) => [type, [`/${type}s/${gateway}`, `/${type}s/${gateway}.jws`]] as const)
    this.#ends = new Map(ends)
  }

  take({ documents, gone = [], complete, unreadable }: Bag): void {
    // What hides our places from us says nothing of them; what cannot be read is not what we said.
    const isHidden = unreadable.some(({ object }) => !isDocument.test(object))
    const lost = [...gone, ...unreadable.map(({ object }) => object)].filter((origin) => this.#isNear(origin))
    const near = documents.filter(({ origin }) => this.#isNear(origin))
    for (const type of types) {
      if ((complete && !isHidden) || lost.some((origin) => this.#isAt(type, origin)))
        this.#held.set(type, undefined)
      for (const delivered of near)
        if (this.#isAt(type, delivered.origin)) this.#held.set(type, { delivered })
    }
  }

  /** Whether the place holds what this document says, signed by `kid`, and not older; undefined where nobody knows. */
  holds(document: Document, kid: string, leastSerial = 0): boolean | undefined {
    const type = types.find((each) => each === document.type)
    if (type === undefined || !this.#held.has(type)) return undefined
    const held = this.#held.get(type)
    if (held === undefined) return false
    if (!('signed' in held)) {
      const parsed = parseDocument(held.delivered)
      held.signed = isRefusal(parsed) ? undefined : parsed
    }
    const { signed } = held
    return (
      signed?.kid === kid &&
      sameContent(signed.document, document) &&
      serialOf(signed.document) >= leastSerial
    )
  }

  /** Cheap: a bag may hold a hundred thousand documents of others. */
  #isNear(origin: string): boolean {
    return origin.endsWith(this.#gateway) || origin.endsWith(`${this.#gateway}.jws`)
  }

  #isAt(type: OwnType, origin: string): boolean {
    return this.#ends.get(type)?.some((end) => origin.endsWith(end)) === true
  }
}

/** ms before it is put back, first and at most. */
const firstMs = 60_000
const lastMs = 3_600_000

/** How long something is waited for before it is put back. Times in ms that never go back. */
export class PutBack {
  readonly #firstMs: number
  readonly #random: () => number
  #dueAtMs: number | undefined
  #times = 0
  #lastAtMs = -Infinity

  constructor(first = firstMs, random: () => number = Math.random) {
    this.#firstMs = first
    this.#random = random
  }

  /** It is not there. Until it may be put back; 0: now. */
  waitMs(nowMs: number): number {
    if (nowMs - this.#lastAtMs > lastMs) this.#times = 0
    const waitMs = Math.min(lastMs, this.#firstMs * 2 ** Math.min(16, this.#times))
    // A fleet whose registry was emptied does not come together.
    this.#dueAtMs ??= nowMs + waitMs * (0.75 + this.#random() / 2)
    return Math.max(0, this.#dueAtMs - nowMs)
  }

  /** It is there. */
  settled(): void {
    this.#dueAtMs = undefined
  }

  done(nowMs: number): void {
    this.#times++
    this.#lastAtMs = nowMs
    this.#dueAtMs = undefined
  }
}
