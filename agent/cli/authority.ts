/**
 * An authority at work: `withAuthority` opens the key that signs and lets nobody else work on the directory meanwhile.
 *
 * What is signed goes out in an order that bears a death at any point: first the state, with the serials and numbers that
 * are now used up and the names of what comes; then the book; then the registry; then the state again. A number given out and
 * not used is harmless, one used twice is not; and what the registry did not get is put there by the next command.
 */
import type { KeyObject } from 'node:crypto'
import { formatReason, LinkspanError, reasonOf } from '../errors.ts'
import type { Reason } from '../errors.ts'
import type { Document } from '../model/document.ts'
import type { Fabric, Name } from '../model/fabric.ts'
import { proofOf } from '../trust/authorities.ts'
import { kidOf } from '../trust/envelope.ts'
import { isRefusal, parseDocument, sealDocument } from '../trust/parse.ts'
import type { Refusal } from '../trust/refusal.ts'
import { Book, nameOf, readIssued, writeIssued } from './authority-book.ts'
import type { Issued } from './authority-book.ts'
import { readKey } from './authority-key.ts'
import type { KeyFile } from './authority-key.ts'
import { withAuthorityLock } from './authority-lock.ts'
import type { AuthorityLock } from './authority-lock.ts'
import { readState, writeState } from './authority-state.ts'
import type { AuthorityState } from './authority-state.ts'
import { alarm, authorityKeys, readAuthority, refusalsOf } from './authority-view.ts'
import type { AuthorityView, ReadOptions } from './authority-view.ts'
import { directoryOf, passphraseOf } from './ca-option.ts'
import type { SigningOptions } from './ca-option.ts'
import { say } from './output.ts'

/** Documents put at the same time. */
const concurrency = 8

/** A document, and where it is now. */
export interface Brought {
  readonly document: Document
  readonly place: string
}

export class Authority {
  readonly view: AuthorityView
  readonly #key: KeyObject
  readonly #lock: AuthorityLock
  #state: AuthorityState
  #book: Book

  constructor(view: AuthorityView, key: KeyObject, lock: AuthorityLock) {
    this.view = view
    this.#key = key
    this.#lock = lock
    this.#state = view.state
    this.#book = view.book
  }

  get state(): AuthorityState {
    return this.#state
  }

  get book(): Book {
    return this.#book
  }

  /** The fabric document in force. Throws `usage` where there is none yet. */
  get fabric(): Fabric {
    const payload = this.#book.fabric?.document.payload
    if (payload !== undefined) return payload
    const reason = 'has signed no fabric document yet'
    const next = 'linkspan ca fabric FILE.yml'
    throw new LinkspanError({ code: 'usage', object: 'the authority', reason, next })
  }

  /** A serial that no document has: Unix ms, or one more than the last. Each call answers another. */
  serial(nowMs: number): number {
    const serial = Math.max(this.#state.serial + 1, nowMs)
    this.#state = { ...this.#state, serial }
    return serial
  }

  /** Keeps a number from being given to anybody else. Written with the next commit. */
  number(gateway: Name, number: number): void {
    this.#state = { ...this.#state, numbers: new Map(this.#state.numbers).set(gateway, number) }
  }

  /** What gateways would refuse of these, were they in force besides what is. */
  refusals(drafts: readonly Document[], nowMs: number): readonly Refusal[] {
    const sealed = drafts.map((draft) => this.#seal(draft))
    const names = new Set(sealed.map(nameOf))
    const all = refusalsOf(this.#book.with(sealed), this.#state.fabric, nowMs)
    return all.filter(({ origin }) => names.has(origin))
  }

  /**
   * Signs documents and brings them out. Answers each with its place. Throws where the registry does not take them all: they
   * are signed and kept then, and the next command tries again.
   */
  async commit(drafts: readonly Document[]): Promise<Brought[]> {
    return this.#deliver(drafts.map((draft) => this.#seal(draft)))
  }

  /** The word of another key that it follows this one (authorities.ts). */
  proof(next: KeyObject): string {
    return proofOf(this.#state.fabric, kidOf(this.#key), next)
  }

  /**
   * Puts what earlier commands could not, and keeps what was learned on the way: documents, and the registry's place. A
   * document that still cannot be put holds up nothing: a revocation must not wait for somebody's certificate.
   */
  async settle(): Promise<void> {
    const { own: kept, there, isKept } = this.view
    const own = new Set(kept.map(({ hash }) => hash))
    const learned = this.#book.documents.filter(({ hash }) => !own.has(hash))
    const held = new Set(there.map(({ hash }) => hash))
    const due = this.#state.pending.flatMap((name) => {
      const issued = this.#book.named(name)
      return issued === undefined || held.has(issued.hash) ? [] : [issued]
    })
    this.#state = { ...this.#state, pending: due.map(nameOf) }
    for (const issued of this.#book.contradictions) say(`note: ${alarm(issued)}`)
    if (own.size > 0 && learned.length > 0) {
      say(`note: ${learned.length} documents in the registry were signed elsewhere with this key: taken over`)
    }
    if (learned.length === 0 && due.length === 0 && isKept) return
    const { failures } = await this.#bringOut(due)
    for (const { object } of failures)
      say(`note: ${object} could not be put into the registry before, and still cannot`)
    const done = due.map(nameOf).filter((name) => !this.#state.pending.includes(name))
    if (done.length > 0) say(`note: an earlier command could not put ${done.join(', ')}: now it is`)
  }

  /** Documents that the registry lost, put there again as they are. */
  async restore(issued: readonly Issued[]): Promise<void> {
    if (issued.length > 0) await this.#deliver(issued)
  }

  #seal(draft: Document): Issued {
    const bytes = Buffer.from(sealDocument(draft, this.#key))
    const signed = parseDocument({ origin: 'the document to sign', bytes })
    if (isRefusal(signed)) throw new LinkspanError(signed)
    return { ...signed, bytes }
  }

  /** Keeps documents and puts them. What could not be put stays pending. */
  async #bringOut(
    issued: readonly Issued[],
  ): Promise<{ places: Map<Issued, string>; failures: readonly Reason[] }> {
    const { directory, registry } = this.view
    await this.#lock.check()
    const names = issued.map(nameOf)
    this.#state = { ...this.#state, pending: [...new Set([...this.#state.pending, ...names])] }
    await writeState(directory, this.#state)
    this.#book = this.#book.with(issued)
    await writeIssued(directory, this.#book.documents)
    const failures: Reason[] = []
    const queue = issued.values()
    const places = new Map<Issued, string>()
    const worker = async (): Promise<void> => {
      for (const one of queue) {
        try {
          await this.#lock.check()
          places.set(one, await registry.put(one, one.bytes))
        } catch (error) {
          const { code, ...reason } = reasonOf(error, nameOf(one))
          failures.push({ code, object: nameOf(one), reason: formatReason({ code, ...reason }) })
        }
      }
    }
    await Promise.all(Array.from({ length: concurrency }, worker))
    const placed = new Set([...places.keys()].map(nameOf))
    this.#state = { ...this.#state, pending: this.#state.pending.filter((name) => !placed.has(name)) }
    await writeState(directory, this.#state)
    return { places, failures }
  }

  /** The same; throws where the registry does not take them all. */
  async #deliver(issued: readonly Issued[]): Promise<Brought[]> {
    const { places, failures } = await this.#bringOut(issued)
    const [failure] = failures
    if (failure === undefined)
      return issued.map((one) => ({ document: one.document, place: places.get(one) ?? '' }))
    const reason = `${failures.length} of ${issued.length} documents are signed but not in the registry: ${failure.reason}`
    const next = 'put the registry right; the next command of linkspan ca puts them there'
    throw new LinkspanError({ code: failure.code, object: this.view.registry.place, reason, next })
  }
}

export interface WorkOptions extends ReadOptions {
  /** Makes the registry where there is none and nothing was ever signed. */
  readonly create?: boolean
}

/** Runs `work` with the key at hand, alone on the authority's directory. */
export async function withAuthority<T>(
  options: SigningOptions,
  work: (authority: Authority) => Promise<T>,
  { create = false, ...reading }: WorkOptions = {},
): Promise<T> {
  const source = passphraseOf(options)
  const directory = directoryOf(options)
  // Asked for before the lock is taken: somebody may have to type a passphrase.
  const likely = await likelySigner(directory)
  const early = likely === undefined ? undefined : await readKey(likely, source)
  return withAuthorityLock(directory, async (lock) => {
    const found = await readAuthority(options, { ...reading, lenient: reading.lenient ?? create })
    for (const remark of found.remarks) say(remark)
    const signer = signerOf(found)
    const key = early !== undefined && signer.kid === likely?.kid ? early : await readKey(signer, source)
    if (create && !found.bag.complete) await makeRegistry(found)
    const authority = new Authority(found, key, lock)
    await authority.settle()
    return work(authority)
  })
}

/** For the first document only: a registry that was there and is not, is not mounted, or its path is mistyped. */
async function makeRegistry({ registry, book, bag }: AuthorityView): Promise<void> {
  const [reason] = bag.unreadable
  if (book.documents.length > 0 && reason !== undefined) throw new LinkspanError(reason)
  if (await registry.create()) say(`made ${registry.place}`)
}

/** Which key will sign, as far as can be told without the registry. Throws `usage` where there is no authority. */
async function likelySigner(directory: string): Promise<KeyFile | undefined> {
  const keys = await authorityKeys(directory)
  if (keys.length === 1) return keys[0]
  const state = await readState(directory)
  const signer = state && Book.of(state.root, await readIssued(directory), []).signer
  return keys.find(({ kid }) => kid === signer)
}

/** The file of the key that signs. Throws `usage` where it is somewhere else. */
function signerOf({ directory, keys, book }: AuthorityView): KeyFile {
  const file = keys.find(({ kid }) => kid === book.signer)
  if (file !== undefined) return file
  const reason = `the key that signs now, ${book.signer}, is not here`
  const next = `it was made by a rollover: bring key-${book.signer}.pem here`
  throw new LinkspanError({ code: 'usage', object: directory, reason, next })
}
