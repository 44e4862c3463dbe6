/**
 * An authority as a command finds it: its keys, its state, its book, and the registry it writes to. Looks only, and writes
 * nothing; authority.ts does.
 */
import { mkdir, stat } from 'node:fs/promises'
import { LinkspanError, reasonOf } from '../errors.ts'
import type { RegistryConfig } from '../model/config.ts'
import type { Bag, Delivered } from '../model/document.ts'
import type { Name } from '../model/fabric.ts'
import { momentOf } from '../trust/moment.ts'
import type { Refusal } from '../trust/refusal.ts'
import { serialOf } from '../trust/subject.ts'
import { verify } from '../trust/verify.ts'
import { Book, issuedIn, nameOf, readIssued } from './authority-book.ts'
import type { Issued } from './authority-book.ts'
import { keyFiles } from './authority-key.ts'
import type { KeyFile } from './authority-key.ts'
import { rebuilt } from './authority-recovery.ts'
import { openAuthorityRegistry } from './authority-registry.ts'
import type { AuthorityRegistry } from './authority-registry.ts'
import { readState } from './authority-state.ts'
import type { AuthorityState } from './authority-state.ts'
import { directoryOf } from './ca-option.ts'
import type { CaOptions } from './ca-option.ts'
import { readConfig } from './config.ts'
import { registryOf, registryOption } from './registry-option.ts'

export interface AuthorityView {
  readonly directory: string
  readonly keys: readonly KeyFile[]
  readonly state: AuthorityState
  readonly book: Book
  readonly registry: AuthorityRegistry
  /** False where the state on disk does not name this registry yet. */
  readonly isKept: boolean
  /** Its own copies, as they were. */
  readonly own: readonly Issued[]
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
export async function readAuthority(
  options: CaOptions,
  { fabric, lenient }: ReadOptions = {},
): Promise<Found> {
  const directory = directoryOf(options)
  const keys = await authorityKeys(directory)
  const before = await readState(directory)
  const named = await registryNamed(options, before, before?.fabric ?? fabric)
  const registry = openAuthorityRegistry(named.of)
  const own = await readIssued(directory)
  const bag = await readBag(registry, lenient === true)
  const there = issuedIn(bag.documents, own)
  const remarks: string[] = []
  const state =
    before ?? rebuilt({ directory, keys, own, there, bag, fabric, say: (remark) => remarks.push(remark) })
  const book = Book.of(state.root, own, there)
  const remembered = remember(state, named.text, options)
  if (options.registry !== undefined && remembered.registry !== named.text) {
    remarks.push(
      `note: the registry of this authority is ${remembered.registry ?? ''}; --remember makes it this one`,
    )
  }
  const isKept = before !== undefined && before.registry === remembered.registry
  return {
    directory,
    keys,
    state: absorbed(remembered, book),
    book,
    registry,
    isKept,
    own,
    bag,
    there,
    remarks,
  }
}

/** What gateways would refuse of a book, by the names of documents (nameOf). */
export function refusalsOf(book: Book, fabric: Name, nowMs: number): readonly Refusal[] {
  const documents = book.documents.map((issued): Delivered => ({
    origin: nameOf(issued),
    bytes: issued.bytes,
  }))
  return verify(documents, { authority: book.root, fabric, moment: momentOf(nowMs) }).refusals
}

/** Of a contradiction. */
export function alarm(issued: Issued): string {
  return (
    `${nameOf(issued)} in the registry is signed by our key ${issued.kid}, and not by us: somebody else has this key. ` +
    'Our own copy counts here'
  )
}

/** Keys of the authority in a directory. Throws `usage` where there is none, `permission` where others could write. */
export async function authorityKeys(directory: string): Promise<KeyFile[]> {
  const keys = await keyFiles(directory)
  if (keys.length > 0) {
    await refuseWritable(directory)
    return keys
  }
  const next = 'linkspan ca init FABRIC makes it; --ca DIRECTORY names another place'
  throw new LinkspanError({ code: 'usage', object: directory, reason: 'there is no authority', next })
}

/** Whoever can replace files here can have an authority sign what it should not. */
async function refuseWritable(directory: string): Promise<void> {
  const { mode } = await stat(directory)
  if ((mode & 0o022) === 0) return
  const reason = `has mode 0${(mode & 0o777).toString(8)}: others than its owner can write to it`
  throw new LinkspanError({ code: 'permission', object: directory, reason, next: `chmod 700 ${directory}` })
}

interface Named {
  readonly of: RegistryConfig
  /** As it is remembered; undefined where config.yml remembers it. */
  readonly text?: string
}

async function registryNamed(
  options: CaOptions,
  state: AuthorityState | undefined,
  fabric: Name | undefined,
): Promise<Named> {
  const given = options.registry ?? state?.registry
  if (given !== undefined) {
    const option = await registryOption(given)
    return { of: registryOf(option, fabric), text: option.text }
  }
  try {
    return { of: (await readConfig(options.config)).registry }
  } catch (error) {
    const reason = `no registry is known: ${error instanceof Error ? error.message : String(error)}`
    throw new LinkspanError(
      { code: 'usage', object: '--registry', reason, next: 'give --registry DIRECTORY' },
      { cause: error },
    )
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

function remember(
  state: AuthorityState,
  text: string | undefined,
  { registry, remember: anew }: CaOptions,
): AuthorityState {
  const changes = state.registry === undefined || (anew && registry !== undefined)
  return changes && text !== undefined ? { ...state, registry: text } : state
}

/** The state with what the book says: numbers and serials, whoever signed. */
function absorbed(state: AuthorityState, book: Book): AuthorityState {
  const numbers = new Map(state.numbers)
  for (const { document } of [...book.all('voucher'), ...book.all('certificate')])
    numbers.set(document.payload.gateway, document.payload.number)
  const serials = book.documents.map(({ document }) => serialOf(document))
  return { ...state, numbers, serial: serials.reduce((a, b) => Math.max(a, b), state.serial) }
}

/** Makes the directory, for its owner alone. */
export async function makeDirectory(directory: string): Promise<void> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new LinkspanError(
      { ...reasonOf(error, directory), code: 'permission', reason: 'cannot be made' },
      { cause: error },
    )
  }
}
