/**
 * The book of an authority: the newest of each document that it ever signed. Its own copies are kept beside its key, one
 * bundle (`issued.bundle`), because the registry is not trusted to hand them back: one that hides a certificate must not get
 * its prefixes given out again, nor keep it from being revoked, and one that shows an older fabric document must not undo a
 * revocation with the authority's own signature.
 *
 * What the registry holds is read as well. A document there that is newer and by a trusted key was signed elsewhere with the
 * same key, or before the book was lost, and enters it.
 */
import { join } from 'node:path'
import { writeAtomically } from '../atomic-file.ts'
import { errnoOf, LinkspanError } from '../errors.ts'
import type { Delivered, Document, DocumentType, Signed, Voucher } from '../model/document.ts'
import type { Certificate, Name } from '../model/fabric.ts'
import { decodeBundle, encodeBundle, isNoBundle, maxBundleBytes } from '../registry/bundle.ts'
import { documentPath } from '../registry/file.ts'
import { authoritiesOf } from '../trust/authorities.ts'
import type { Authorities } from '../trust/authorities.ts'
import { openEnvelope } from '../trust/envelope.ts'
import { isRefusal, parseDocument } from '../trust/parse.ts'
import { serialOf, subjectOf } from '../trust/subject.ts'
import { certificateBy } from '../trust/voucher.ts'
import { readBounded } from './bounded-file.ts'

export interface Issued<D extends Document = Document> extends Signed<D> {
  readonly bytes: Uint8Array
}

type Of<T extends DocumentType> = Extract<Document, { readonly type: T }>
export type IssuedCertificate = Issued<Of<'certificate'>>

const issuedTypes: readonly string[] = [
  'fabric',
  'certificate',
  'authority',
  'voucher',
] satisfies DocumentType[]

/** Relative to a registry's directory: the name of a document whatever the registry. */
export function nameOf(signed: Signed): string {
  return documentPath('', signed)
}

/**
 * Documents of the types that an authority signs, with a good signature by whatever key. `known`: documents that were
 * checked already; most are in the registry byte for byte as in the book.
 */
export function issuedIn(delivered: readonly Delivered[], known: readonly Issued[] = []): Issued[] {
  const checked = new Map(known.map((issued) => [textOf(issued.bytes), issued]))
  return delivered.flatMap((one) => {
    const before = checked.get(textOf(one.bytes))
    if (before !== undefined) return [before]
    const envelope = openEnvelope(one.bytes)
    // Records and requests are the most, and to check signatures is what takes the time.
    if ('malformed' in envelope || !issuedTypes.includes(envelope.type)) return []
    const signed = parseDocument(one)
    return isRefusal(signed) ? [] : [{ ...signed, bytes: one.bytes }]
  })
}

function textOf({ buffer, byteOffset, byteLength }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString('latin1')
}

export class Book {
  readonly root: string
  readonly authorities: Authorities
  /** What the registry holds by our keys and against our own copies: somebody else signs with a key of ours. */
  readonly contradictions: readonly Issued[]
  readonly #bySubject: ReadonlyMap<string, Issued>
  readonly #certificates: ReadonlyMap<Name, IssuedCertificate>

  private constructor(
    root: string,
    authorities: Authorities,
    bySubject: ReadonlyMap<string, Issued>,
    contradictions: readonly Issued[],
  ) {
    this.root = root
    this.authorities = authorities
    this.#bySubject = bySubject
    this.contradictions = contradictions
    this.#certificates = new Map(this.all('certificate').map((one) => [one.document.payload.gateway, one]))
  }

  /** `root`: the key the authority began with. `own`: its own copies. `there`: what the registry holds. */
  static of(root: string, own: readonly Issued[], there: readonly Issued[]): Book {
    const ownNewest = newest(own)
    const { retired: retiredByUs } = authoritiesOf(root, ownNewest.values())
    const held = new Set(own.map(({ hash }) => hash))
    const credible: Issued[] = []
    const contradicting: Issued[] = []
    for (const issued of there) {
      const before = ownNewest.get(subjectOf(issued))
      // Who stole a key that was retired can still sign with it: what it says counts as far as we have it ourselves.
      const late = retiredByUs.has(issued.kid)
      if (held.has(issued.hash) || !(late || (before !== undefined && contradicts(issued, before))))
        credible.push(issued)
      else contradicting.push(issued)
    }
    const authorities = authoritiesOf(root, newest([...own, ...credible]).values())
    const { trusted, retired } = authorities
    const isOurs = ({ kid }: Issued): boolean => trusted.has(kid) || retired.has(kid)
    // The links of the chain stay, whoever signed them: without them it would begin nowhere.
    const counts = (issued: Issued): boolean =>
      trusted.has(issued.kid) || (retired.has(issued.kid) && issued.document.type === 'authority')
    const counting = [...own.filter(isOurs), ...credible.filter(counts)]
    const rank = ({ kid }: Issued): number => [...trusted].indexOf(kid)
    return new Book(root, authorities, newest(counting, rank), contradicting.filter(isOurs))
  }

  /** The key that signs: the last of the chain, in whose order they are. */
  get signer(): string {
    return [...this.authorities.trusted].at(-1) ?? this.root
  }

  get fabric(): Issued<Of<'fabric'>> | undefined {
    const [first] = this.all('fabric')
    return first
  }

  certificate(gateway: Name): IssuedCertificate | undefined {
    return this.#certificates.get(gateway)
  }

  all<T extends 'fabric' | 'certificate' | 'authority' | 'voucher'>(type: T): Issued<Of<T>>[] {
    const is = (issued: Issued): issued is Issued<Of<T>> => issued.document.type === type
    return [...this.#bySubject.values()].filter(is)
  }

  get documents(): Issued[] {
    return [...this.#bySubject.values()]
  }

  /** By name (nameOf). */
  named(name: string): Issued | undefined {
    return this.documents.find((issued) => nameOf(issued) === name)
  }

  /** The book with these in it. */
  with(issued: readonly Issued[]): Book {
    return Book.of(this.root, [...this.documents, ...issued], [])
  }
}

/**
 * What gateways were granted: certificates, and vouchers of gateways that have none, each as the certificate of whoever has
 * its key.
 */
export function grantsOf(book: Book): readonly Certificate[] {
  return [
    ...book.all('certificate').map(({ document }) => document.payload),
    ...vouchersOf(book).map((voucher) => certificateBy(voucher, { identity: voucher.key })),
  ]
}

/** Vouchers of gateways that have no certificate: of all others they count for nothing. */
export function vouchersOf(book: Book): readonly Voucher[] {
  return book
    .all('voucher')
    .map(({ document }) => document.payload)
    .filter(({ gateway }) => book.certificate(gateway) === undefined)
}

/** Two that cannot both be ours: of one serial and different, or two keys that both come next. */
function contradicts({ document, hash }: Issued, before: Issued): boolean {
  const same = serialOf(document) === serialOf(before.document)
  if (same && hash !== before.hash) return true
  if (document.type !== 'authority' || before.document.type !== 'authority') return false
  const { next } = before.document.payload
  return next !== undefined && next !== document.payload.next
}

/** By subject; of two with one serial the first stays, of the same words those by the later key. */
function newest(
  documents: readonly Issued[],
  rank: (issued: Issued) => number = () => 0,
): Map<string, Issued> {
  const bySubject = new Map<string, Issued>()
  for (const issued of documents) {
    const subject = subjectOf(issued)
    const before = bySubject.get(subject)
    const isAnew = before?.hash === issued.hash && rank(issued) > rank(before)
    if (before === undefined || isAnew || serialOf(issued.document) > serialOf(before.document))
      bySubject.set(subject, issued)
  }
  return bySubject
}

function pathOf(directory: string): string {
  return join(directory, 'issued.bundle')
}

/** The authority's own copies; none where there is no bundle. Throws `state-unreadable` where it is damaged. */
export async function readIssued(directory: string): Promise<Issued[]> {
  const path = pathOf(directory)
  let bytes: Buffer
  try {
    bytes = await readBounded(path, maxBundleBytes)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return []
    throw error
  }
  const bundle = decodeBundle(bytes)
  const next = 'move it away: it is rebuilt from the registry'
  const refuse = (reason: string): LinkspanError =>
    new LinkspanError({ code: 'state-unreadable', object: path, reason, next })
  if (isNoBundle(bundle)) throw refuse(bundle.malformed)
  const [bad] = bundle.badLines
  if (bad !== undefined) throw refuse(`line ${bad.line}: ${bad.reason}`)
  const issued = issuedIn(
    bundle.entries.map(({ name, bytes: document }) => ({ origin: name, bytes: document })),
  )
  if (issued.length < bundle.entries.length)
    throw refuse('holds what no authority signs, or signatures that do not hold')
  return issued
}

export async function writeIssued(directory: string, documents: readonly Issued[]): Promise<void> {
  const entries = documents.map((issued) => ({ name: nameOf(issued), bytes: issued.bytes }))
  await writeAtomically(pathOf(directory), encodeBundle(entries), 0o600)
}
