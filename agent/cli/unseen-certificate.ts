/**
 * Certificates in a registry that cannot be read or understood: cut off, altered, on a disk that fails. Somebody may have
 * them, and nobody can say what they grant: the number or the prefix that is given out next, perhaps.
 */
import { basename } from 'node:path'
import { formatReason, LinkspanError } from '../errors.ts'
import type { Reason } from '../errors.ts'
import type { Bag } from '../model/document.ts'
import type { Name } from '../model/fabric.ts'
import { isRefusal, parseDocument } from '../trust/parse.ts'

/** A certificate's place, its gateway the last part of it. */
const place = /(^|\/)(certificates|vouchers)\/[^/]+$/
/** Places of other documents, none of which grants anything. */
const elsewhere = /(^|\/)((records|requests|claims|authority)(\/[^/]+)?|fabric(\.jws)?)$/

export interface Unseen {
  readonly reason: Reason
  /** Undefined where it may be anybody's: a folder that cannot be listed. */
  readonly gateway: Name | undefined
}

export function unseenCertificates({ documents, unreadable }: Bag): readonly Unseen[] {
  const damaged = documents
    .filter(({ origin }) => place.test(origin))
    .flatMap((delivered): Unseen[] => {
      const parsed = parseDocument(delivered)
      return isRefusal(parsed) ? [{ reason: parsed, gateway: gatewayAt(delivered.origin) }] : []
    })
  const unread = unreadable
    .filter(({ object }) => !elsewhere.test(object))
    .map((reason): Unseen => ({ reason, gateway: gatewayAt(reason.object) }))
  return [...unread, ...damaged]
}

/** `why`: what all certificates are needed for. */
export function unseenError(object: string, why: string, unseen: readonly Unseen[]): LinkspanError {
  const files = unseen.map(({ reason }) => `\n  ${formatReason(reason)}`).join('')
  return new LinkspanError({
    code: 'registry-unreadable',
    object,
    reason: `${why}; ${unseen.length} cannot be read:${files}`,
    next: 'put them right or remove them',
  })
}

function gatewayAt(path: string): Name | undefined {
  return place.test(path) ? basename(path, '.jws') : undefined
}
