/**
 * An authority as a command finds it: its keys, its state, its book, and the registry it writes to. `readAuthority` only
 * looks; `withAuthority` opens the key that signs and lets nobody else work on the directory meanwhile.
 *
 * What is signed goes out in an order that bears a death at any point: first the state, with the serials and numbers that
 * are now used up and the names of what comes; then the book; then the registry; then the state again. A number given out and
 * not used is harmless, one used twice is not; and what the registry did not get is put there by the next command.
 */
import { mkdir } from 'node:fs/promises'
import type { KeyObject } from 'node:crypto'
import { formatReason, LinkspanError, reasonOf } from '../errors.ts'
import type { Reason } from '../errors.ts'
import type { Bag, Delivered, Document } from '../model/document.ts'
import type { Fabric, Name } from '../model/fabric.ts'
import { proofOf } from '../trust/authorities.ts'
import { kidOf } from '../trust/envelope.ts'
import { momentOf } from '../trust/moment.ts'
import { isRefusal, parseDocument, sealDocument } from '../trust/parse.ts'
import type { Refusal } from '../trust/refusal.ts'
import { serialOf } from '../trust/subject.ts'
import { verify } from '../trust/verify.ts'
import { Book, issuedIn, nameOf, readIssued, writeIssued } from './authority-book.ts'
import type { Issued } from './authority-book.ts'
import { keyFiles, readKey } from './authority-key.ts'
import type { KeyFile } from './authority-key.ts'
import { rebuilt } from './authority-recovery.ts'
import { openRegistry, placeOf } from './authority-registry.ts'
import type { AuthorityRegistry } from './authority-registry.ts'
import { readState, writeState } from './authority-state.ts'
import type { AuthorityState } from './authority-state.ts'
import { directoryOf, passphraseOf } from './ca-option.ts'
import type { CaOptions, SigningOptions } from './ca-option.ts'
import { readConfig } from './config.ts'
import { say } from './output.ts'
import { withRegistryLock } from './registry-lock.ts'
import type { RegistryLock } from './registry-lock.ts'

/** Documents put at the same time. */
const concurrency = 8

export interface AuthorityView {
  readonly directory: string
  readonly keys: readonly KeyFile[]
  readonly state: AuthorityState
  readonly book: Book
  readonly registry: AuthorityRegistry
  /** What the registry holds. */
  readonly bag: Bag
  /** The documents among it that authorities sign. */
  readonly there: readonly Issued[]
}

export interface Found extends AuthorityView {
  /** What the operator should know of how it was found. */
  readonly remarks: readonly string[]
}

export interface ReadOptions {
  /** What the fabric is called, where nothing else says it. */
  readonly fabric?: Name
  /** An unreadable registry counts as an empty one. */
  readonly lenient?: boolean
}

/** Throws `usage` where there is no authority, and whatever is wrong with its files. */
export async function readAuthority(options: CaOptions, { fabric, lenient }: ReadOptions = {}): Promise<Found> {
  const directory = directoryOf(options)
  const keys = await keyFiles(directory)
  if (keys.length === 0) {
    const next = 'linkspan ca init FABRIC makes it; --ca DIRECTORY names another place'
    throw new LinkspanError({ code: 'usage', object: directory, reason: 'there is no authority', next })
  }
  const before = await readState(directory)
  const registry = openRegistry(await registryPlace(options, before))
  const own = await readIssued(directory)
  const bag = await readBag(registry, lenient === true)
  const there = issuedIn(bag.documents)
  const remarks: string[] = []
  const state =
    before ??
    rebuilt({ directory, keys, own, there, bag, fabric, say: (remark) => remarks.push(remark) })
  const book = Book.of(state.root, own, there)
  const remembered = remember(state, registry.place, options)
  if (remembered.registry !== registry.place) {
    remarks.push(`note: the registry of this authority is ${remembered.registry ?? ''}; --remember makes it this one`)
  }
  return { directory, keys, state: absorbed(remembered, book), book, registry, bag, there, remarks }
}

export class Authority {
  readonly view: AuthorityView
  readonly #key: KeyObject
  readonly #lock: RegistryLock
  #state: AuthorityState
  #book: Book

  constructor(view: AuthorityView, key: KeyObject, lock: RegistryLock) {
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
  async commit(drafts: readonly Document[]): Promise<{ document: Document; place: string }[]> {
    return this.#bringOut(drafts.map((draft) => this.#seal(draft)))
  }

  /** The word of another key that it follows this one (authorities.ts). */
  proof(next: KeyObject): string {
    return proofOf(this.#state.fabric, kidOf(this.#key), next)
  }

  /** Puts what earlier commands could not, and takes what was signed elsewhere into the book. */
  async settle(): Promise<void> {
    const { directory, there } = this.view
    const own = new Set((await readIssued(directory)).map(({ hash }) => hash))
    const learned = this.#book.documents.filter(({ hash }) => !own.has(hash))
    const held = new Set(there.map(({ hash }) => hash))
    const pending = this.#state.pending.flatMap((name) => {
      const issued = this.#book.named(name)
      return issued === undefined || held.has(issued.hash) ? [] : [issued]
    })
    if (own.size > 0 && learned.length > 0) {
      say(`note: ${learned.length} documents in the registry were signed elsewhere with this key: taken over`)
    }
    if (pending.length > 0) say(`note: an earlier command could not put ${pending.map(nameOf).join(', ')}: now it is`)
    if (learned.length > 0 || pending.length > 0) await this.#bringOut(pending)
  }

  /** Documents that the registry lost, put there again as they are. */
  async restore(issued: readonly Issued[]): Promise<void> {
    if (issued.length > 0) await this.#bringOut(issued)
  }

  #seal(draft: Document): Issued {
    const bytes = Buffer.from(sealDocument(draft, this.#key))
    const signed = parseDocument({ origin: 'the document to sign', bytes })
    if (isRefusal(signed)) throw new LinkspanError(signed)
    return { ...signed, bytes }
  }

  async #bringOut(issued: readonly Issued[]): Promise<{ document: Document; place: string }[]> {
    const { directory, registry } = this.view
    await this.#lock.check()
    this.#state = { ...this.#state, pending: issued.map(nameOf) }
    await writeState(directory, this.#state)
    this.#book = this.#book.with(issued)
    await writeIssued(directory, this.#book.documents)
    const failures: Reason[] = []
    const queue = issued.values()
    const placed = new Map<Issued, string>()
    const worker = async (): Promise<void> => {
      for (const one of queue) {
        try {
          await this.#lock.check()
          placed.set(one, await registry.put(one, one.bytes))
        } catch (error) {
          failures.push(reasonOf(error, nameOf(one)))
        }
      }
    }
    await Promise.all(Array.from({ length: concurrency }, worker))
    this.#state = { ...this.#state, pending: issued.filter((one) => !placed.has(one)).map(nameOf) }
    await writeState(directory, this.#state)
    const [failure] = failures
    if (failure !== undefined) {
      const reason = `${failures.length} of ${issued.length} documents are signed but not in the registry: ${formatReason(failure)}`
      const next = 'put the registry right; the next command of linkspan ca puts them there'
      throw new LinkspanError({ code: failure.code, object: registry.place, reason, next })
    }
    return issued.map((one) => ({ document: one.document, place: placed.get(one) ?? '' }))
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
  // The passphrase is asked for before the lock is taken: somebody types it. Looked at again below.
  const early = await readAuthority(options, { ...reading, lenient: reading.lenient ?? create })
  const key = { kid: early.book.signer, held: await readKey(signerOf(early), source) }
  return withRegistryLock(early.directory, async (lock) => {
    const found = await readAuthority(options, { ...reading, lenient: reading.lenient ?? create })
    for (const remark of found.remarks) say(remark)
    const held = found.book.signer === key.kid ? key.held : await readKey(signerOf(found), source)
    const isFirst = found.book.documents.length === 0
    if (create && isFirst) await found.registry.create()
    const authority = new Authority(found, held, lock)
    await authority.settle()
    return work(authority)
  })
}

export function refusalsOf(book: Book, fabric: Name, nowMs: number): readonly Refusal[] {
  const documents = book.documents.map((issued): Delivered => ({ origin: nameOf(issued), bytes: issued.bytes }))
  return verify(documents, { authority: book.root, fabric, moment: momentOf(nowMs) }).refusals
}

/** The file of the key that signs. Throws `usage` where it is somewhere else. */
function signerOf({ directory, keys, book }: AuthorityView): KeyFile {
  const file = keys.find(({ kid }) => kid === book.signer)
  if (file !== undefined) return file
  const reason = `the key that signs now, ${book.signer}, is not here`
  const next = `it was made by a rollover: bring key-${book.signer}.pem here`
  throw new LinkspanError({ code: 'usage', object: directory, reason, next })
}

async function registryPlace(options: CaOptions, state: AuthorityState | undefined): Promise<string> {
  if (options.registry !== undefined) return placeOf(options.registry)
  if (state?.registry !== undefined) return state.registry
  try {
    return (await readConfig(options.config)).registry.directory
  } catch (error) {
    const reason = `no registry is known: ${error instanceof Error ? error.message : String(error)}`
    throw new LinkspanError({ code: 'usage', object: '--registry', reason, next: 'give --registry DIRECTORY' }, { cause: error })
  }
}

async function readBag(registry: AuthorityRegistry, lenient: boolean): Promise<Bag> {
  try {
    return await registry.read()
  } catch (error) {
    if (!lenient) throw error
    return { documents: [], complete: false, unreadable: [reasonOf(error, registry.place)] }
  }
}

function remember(state: AuthorityState, place: string, { registry, remember: anew }: CaOptions): AuthorityState {
  const known = state.registry
  return known === undefined || (anew && registry !== undefined) ? { ...state, registry: place } : state
}

/** The state with what the book says: numbers and serials, whoever signed. */
function absorbed(state: AuthorityState, book: Book): AuthorityState {
  const numbers = new Map(state.numbers)
  for (const { document } of book.all('certificate')) numbers.set(document.payload.gateway, document.payload.number)
  const serials = book.documents.map(({ document }) => serialOf(document))
  return { ...state, numbers, serial: serials.reduce((a, b) => Math.max(a, b), state.serial) }
}

/** Makes the directory, for its owner alone. */
export async function makeDirectory(directory: string): Promise<void> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new LinkspanError({ ...reasonOf(error, directory), code: 'permission', reason: 'cannot be made' }, { cause: error })
  }
}

