/**
 * Form and signature of what a registry delivers, before the ledger judges it. A check costs a tenth of a millisecond of a
 * core, and a fleet has tens of thousands: they run on the thread pool, so many at a time that it is never idle, and the
 * event loop takes the outcome in small portions. What an origin delivered before is not checked again, nor what was refused
 * lately under any name.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { envelopeBytes, digestOf, digestOfLong } from '../trust/envelope.ts'
import type { Delivered, Signed } from '../model/document.ts'
import { maxDocumentBytes } from '../model/document.ts'
import type { Checked } from '../trust/admission.ts'
import type { Ledger } from '../trust/ledger.ts'
import { isRefusal, isUnread, parseDocumentLater } from '../trust/parse.ts'
import type { Refusal } from '../trust/refusal.ts'

/** Checks under way at the same time: the pool has four threads, and what they finish is read at one go. */
const underWay = 32
/** What needs no thread is done for so long at one go, in ms. */
const turnMs = 5

/** Who decides what is checked now. */
export interface Gate {
  mayCheck(one: Delivered): boolean
  mayEnter(one: Delivered, signed: Signed): boolean
  /** It is as it was. */
  settled(origin: string): void
}

export interface CheckOptions {
  readonly ledger: Pick<Ledger, 'knows'>
  readonly rejected: Rejected
  /** Absent: everything is checked. */
  readonly gate?: Gate
  /** Keys whose long documents are read. */
  readonly isTrusted: (kid: string) => boolean
}

export async function checked(
  documents: readonly Delivered[],
  options: CheckOptions,
  signal: AbortSignal,
): Promise<readonly Checked[]> {
  const all = new Array<Checked>(documents.length)
  const queue = documents.entries()
  let since = performance.now()
  let breath: Promise<void> | undefined
  // One for all: if each took its own, all would go on in the same turn of the loop, for so long each.
  const breathe = (): Promise<void> => {
    breath ??= nextTurn().then(() => {
      breath = undefined
      since = performance.now()
    })
    return breath
  }
  const worker = async (): Promise<void> => {
    for (const [i, delivered] of queue) {
      signal.throwIfAborted()
      all[i] = await checkedOne(delivered, options)
      if (breath !== undefined || performance.now() - since >= turnMs) await breathe()
    }
  }
  await Promise.all(Array.from({ length: Math.min(underWay, documents.length) }, worker))
  return all
}

async function checkedOne(delivered: Delivered, options: CheckOptions): Promise<Checked> {
  const { ledger, rejected, gate, isTrusted } = options
  const { origin, bytes } = delivered
  const isLong = bytes.length > envelopeBytes(maxDocumentBytes)
  const digest = isLong ? await digestOfLong(bytes) : digestOf(bytes)
  if (ledger.knows(origin, digest)) {
    gate?.settled(origin)
    return { ...delivered, digest }
  }
  const known = rejected.find(origin, digest)
  if (known !== undefined) {
    gate?.settled(origin)
    return { ...delivered, digest, signed: known }
  }
  if (gate?.mayCheck(delivered) === false) return { ...delivered, digest }
  const signed = await parseDocumentLater(delivered, isTrusted)
  if (isRefusal(signed)) {
    gate?.settled(origin)
    // Not known: when its key is trusted, it must be read.
    if (isUnread(signed)) return { ...delivered, digest: `unread ${digest}`, signed }
    rejected.add(digest, signed)
    return { ...delivered, digest, signed }
  }
  return gate?.mayEnter(delivered, signed) === false
    ? { ...delivered, digest }
    : { ...delivered, digest, signed }
}

/** Bytes that were refused lately for what they are: the same bytes are refused the same way, wherever they lie. */
export class Rejected {
  readonly #most: number
  readonly #refusals = new Map<string, Refusal>()

  constructor(most = 4096) {
    this.#most = most
  }

  get size(): number {
    return this.#refusals.size
  }

  find(origin: string, digest: string): Refusal | undefined {
    const refusal = this.#refusals.get(digest)
    if (refusal === undefined) return undefined
    const { object } = refusal
    const rest = object.startsWith(refusal.origin) ? object.slice(refusal.origin.length) : undefined
    return { ...refusal, origin, object: rest === undefined ? object : `${origin}${rest}` }
  }

  /** The oldest make room. */
  add(digest: string, refusal: Refusal): void {
    const [oldest] = this.#refusals.keys()
    if (this.#refusals.size >= this.#most && oldest !== undefined) this.#refusals.delete(oldest)
    this.#refusals.set(digest, refusal)
  }
}
