/**
 * Which documents speak of one thing, and which of several counts. The subject of a document is its type and what it is
 * about; the highest serial counts. What counted once is marked: an older document never comes back (rollback), and another
 * one of the same serial never takes its place (equivocation), whoever delivers it and whenever.
 */
import type { Document, Signed } from '../model/document.ts'
import type { Refusal } from './refusal.ts'

/** The document of a subject that counted last. */
export interface Mark {
  readonly serial: number
  /** Of its payload. */
  readonly hash: string
}

/**
 * Documents of one subject follow each other by serial. A record belongs to the identity that signs it: a reinstalled
 * gateway begins anew. A claim belongs to the voucher whose key signs it.
 */
export function subjectOf({ document, kid }: Signed): string {
  const { type, payload } = document
  switch (type) {
    case 'fabric':
      return 'fabric'
    case 'authority':
      return `authority ${kid}`
    case 'record':
      return `record ${payload.gateway} ${kid}`
    case 'claim':
      return `claim ${payload.gateway} ${kid}`
    case 'certificate':
    case 'voucher':
    case 'request':
      return `${type} ${payload.gateway}`
  }
}

/** As people name it. */
export function nameOf({ type, payload }: Document): string {
  return `${type} ${type === 'fabric' || type === 'authority' ? payload.fabric : payload.gateway}`
}

export function gatewayOf({ type, payload }: Document): string | undefined {
  return type === 'fabric' || type === 'authority' ? undefined : payload.gateway
}

export function serialOf({ type, payload }: Document): number {
  return type === 'request' ? 0 : payload.serial
}

export function markOf({ document, hash }: Signed): Mark {
  return { serial: serialOf(document), hash }
}

/**
 * True where `a` counts rather than `b`. Of two that come at once with one serial the lower hash counts, so that every
 * gateway takes the same one; what is marked stays.
 */
export function outranks(a: Mark, b: Mark): boolean {
  return a.serial > b.serial || (a.serial === b.serial && a.hash < b.hash)
}

export function olderReason(serial: number, mark: Mark): string {
  return `is older than the one in force: serial ${serial}, in force is ${mark.serial}`
}

/** Why a document does not count where `mark` does; undefined where it is the marked one or follows it. */
export function behind(origin: string, signed: Signed, mark: Mark): Refusal | undefined {
  const { document, hash } = signed
  const serial = serialOf(document)
  if (serial > mark.serial || (serial === mark.serial && hash === mark.hash)) return undefined
  const gateway = gatewayOf(document)
  const common = {
    origin,
    code: 'document-invalid' as const,
    object: nameOf(document),
    ...(gateway === undefined ? {} : { gateway }),
  }
  return serial < mark.serial
    ? {
        ...common,
        rule: 'rollback',
        reason: olderReason(serial, mark),
        next: 'put the newer one back, or have it issued anew',
      }
    : {
        ...common,
        rule: 'equivocation',
        reason: `has the serial ${serial} of the one in force and says something else`,
        next: 'somebody signed two documents with one serial: find out who, and have a third issued',
      }
}
