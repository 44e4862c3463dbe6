/**
 * An authority whose state was lost, rebuilt: from its own copies and from what the registry holds under its key. Numbers of
 * gateways that have no document any more are known to nobody, so new ones begin above the highest that is seen.
 */
import { LinkspanError } from '../errors.ts'
import type { Bag } from '../model/document.ts'
import type { Name } from '../model/fabric.ts'
import { isProven } from '../trust/authorities.ts'
import { Book } from './authority-book.ts'
import type { Issued } from './authority-book.ts'
import type { KeyFile } from './authority-key.ts'
import type { AuthorityState } from './authority-state.ts'
import { unseenCertificates, unseenError } from './unseen-certificate.ts'

interface Remains {
  readonly directory: string
  readonly keys: readonly KeyFile[]
  readonly own: readonly Issued[]
  readonly there: readonly Issued[]
  readonly bag: Bag
  /** Where no document says it. */
  readonly fabric: Name | undefined
  readonly say: (remark: string) => void
}

/** Throws `usage` where nothing says which fabric it was, and `registry-unreadable` where something may not have been seen. */
export function rebuilt({ directory, keys, own, there, bag, fabric, say }: Remains): AuthorityState {
  const unseen = unseenCertificates(bag)
  if (unseen.length > 0)
    throw unseenError(directory, 'its state is lost, and to rebuild it needs all certificates', unseen)
  const books = keys.map(({ kid }) => bookFrom(kid, own, there))
  const held = (book: Book): number => keys.filter(({ kid }) => book.authorities.trusted.has(kid)).length
  const [book] = books.toSorted((a, b) => held(b) - held(a) || b.documents.length - a.documents.length)
  const named = book?.fabric?.document.payload.fabric ?? book?.documents[0]?.document.payload.fabric ?? fabric
  if (book === undefined || named === undefined) {
    throw new LinkspanError({
      code: 'usage',
      object: directory,
      reason: 'its state is lost, and the registry holds nothing that this authority signed',
      next: 'name its registry by --registry; if it never signed anything: linkspan ca fabric FILE.yml',
    })
  }
  const certificates = [...book.all('voucher'), ...book.all('certificate')].map(
    ({ document }) => document.payload,
  )
  const above = certificates.reduce((highest, { number }) => Math.max(highest, number), 0)
  say(
    `note: the state of this authority was lost and is rebuilt from ${book.documents.length} documents: fabric ${named}, ` +
      `${certificates.length} certificates, numbers up to ${above}. Gateways without a certificate there are not known, ` +
      `so new numbers begin at ${above + 1}.`,
  )
  return {
    fabric: named,
    root: book.root,
    serial: 0,
    numbers: numbersOf(book, [...own, ...there]),
    above,
    pending: [],
  }
}

/** By gateway; of certificates by a retired key, too: somebody may have kept such a one, though it counts no more. */
function numbersOf(book: Book, documents: readonly Issued[]): Map<Name, number> {
  const { trusted, retired } = book.authorities
  const numbers = new Map<Name, number>()
  for (const { document, kid } of [...documents, ...book.all('certificate')]) {
    if (
      (document.type !== 'certificate' && document.type !== 'voucher') ||
      !(trusted.has(kid) || retired.has(kid))
    )
      continue
    numbers.set(document.payload.gateway, document.payload.number)
  }
  return numbers
}

/**
 * The book that begins with the earliest key from which a chain leads to this one. The word of a key that it follows another
 * is signed by itself, so it can be believed; gateways may still have the earlier one in their config.yml.
 */
function bookFrom(kid: string, own: readonly Issued[], there: readonly Issued[]): Book {
  let book = Book.of(kid, own, there)
  for (let root: string | undefined = kid; root !== undefined;) {
    const current: string = root
    root = [...own, ...there].find(
      ({ document, kid: signer }) =>
        document.type === 'authority' &&
        document.payload.next === current &&
        isProven(document.payload, signer),
    )?.kid
    const longer = root === undefined ? undefined : Book.of(root, own, there)
    if (longer?.authorities.trusted.has(kid) === true && longer.root !== kid) book = longer
    else break
  }
  return book
}
