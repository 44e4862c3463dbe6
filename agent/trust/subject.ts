/**
 * Which documents speak of one thing, and which of several counts. The subject of a document is its type, fabric and
 * gateway; of several documents of one subject the highest serial counts.
 */
import { hash } from 'node:crypto'
import type { Document } from '../model/document.ts'
import { compareText } from './refusal.ts'
import type { Refusal } from './refusal.ts'

/** A document that parsed, where it came from, and a digest of its bytes. */
export interface Held<D extends Document = Document> {
  readonly origin: string
  readonly digest: string
  readonly document: D
}

export function subjectOf(document: Document): string {
  return document.type === 'fabric'
    ? 'fabric'
    : `${document.type} ${document.payload.fabric} ${document.payload.gateway}`
}

function serialOf({ type, payload }: Document): number {
  return type === 'request' ? 0 : payload.serial
}

/** Newest first; of equal serials the lower origin, so that the order of arrival decides nothing. */
export function compareHeld(a: Held, b: Held): number {
  return serialOf(b.document) - serialOf(a.document) || compareText(a.origin, b.origin)
}

/** The document that counts, and refusals of others that claim its serial with other words. */
export function newest<H extends Held>(
  held: Iterable<H>,
): { winner: H | undefined; refusals: readonly Refusal[] } {
  const [winner, ...others] = [...held].sort(compareHeld)
  if (winner === undefined) return { winner, refusals: [] }
  const { document, digest } = winner
  const refusals = others
    .filter((other) => serialOf(other.document) === serialOf(document) && other.digest !== digest)
    .map((other): Refusal => ({
      origin: other.origin,
      rule: 'duplicate',
      code: 'document-invalid',
      object: `${document.type} ${document.type === 'fabric' ? document.payload.fabric : document.payload.gateway}`,
      reason: `${winner.origin} has the same serial and other contents, and counts`,
      next: 'delete the one that is wrong',
      ...(document.type === 'fabric' ? {} : { gateway: document.payload.gateway }),
    }))
  return { winner, refusals }
}

export function digestOf(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'base64')
}
