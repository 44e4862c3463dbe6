/**
 * From bytes to a typed document: the envelope (envelope.ts), its signature, and then the payload, JSON read strictly
 * (json.ts) and field by field (payload.ts). Whatever is wrong names the document; what is wrong in a payload names line and
 * column in it, says what was expected, and shows the source line. Nothing of a payload is read before its signature holds.
 */
import type { Authority, Delivered, Document, DocumentType, Signed } from '../model/document.ts'
import { maxDocumentBytes, maxFabricBytes } from '../model/document.ts'
import { isProven as isCountersigned } from './authorities.ts'
import { decode, formatPath } from './decode.ts'
import type { Decoder } from './decode.ts'
import {
  digestOf,
  envelopeBytes,
  isAuthentic,
  isAuthenticLater,
  openEnvelope,
  peekEnvelope,
  seal,
} from './envelope.ts'
import type { Envelope } from './envelope.ts'
import type { KeyObject } from 'node:crypto'
import { excerptOf, placeOf } from './excerpt.ts'
import { locateJson, parseJson } from './json.ts'
import type { JsonFault } from './json.ts'
import { authority, certificate, claim, fabric, record, request, voucher } from './payload.ts'
import type { Refusal } from './refusal.ts'
import { didYouMean } from './spelling.ts'
import { isProven } from './voucher.ts'

export const documentTypes: readonly DocumentType[] = [
  'fabric',
  'certificate',
  'record',
  'request',
  'authority',
  'voucher',
  'claim',
]

export function isRefusal(parsed: object): parsed is Refusal {
  return 'rule' in parsed
}

/** The documents among what was delivered; those that parse. */
export function documentsOf(delivered: readonly Delivered[]): Document[] {
  return delivered.map(parseDocument).flatMap((parsed) => (isRefusal(parsed) ? [] : [parsed.document]))
}

/** The document, or why it is none. */
export function parseDocument(delivered: Delivered): Signed | Refusal {
  const opened = open(delivered)
  if (isRefusal(opened)) return opened
  return isAuthentic(opened.envelope) ? read(opened) : forged(saidOf(opened))
}

/**
 * The same, with the signature checked on a thread of the pool. To read a long fabric document takes seconds, so nothing of
 * one is looked at before its signature holds, and one by a key that is not trusted is not read at all: its refusal is
 * that of its signer, whatever is in it (isUnread).
 */
export async function parseDocumentLater(
  delivered: Delivered,
  isTrusted: (kid: string) => boolean = () => true,
): Promise<Signed | Refusal> {
  const { origin, bytes } = delivered
  const isLong = bytes.length > envelopeBytes(maxDocumentBytes) && beginsAsFabric(bytes)
  const peeked = isLong && bytes.length <= envelopeBytes(maxFabricBytes) ? peekEnvelope(bytes) : undefined
  if (peeked !== undefined) {
    const said = { origin, type: 'fabric', kid: peeked.kid } as const
    if (!(await isAuthenticLater(peeked))) return forged(said)
    if (!isTrusted(peeked.kid)) return unread(said)
    const opened = open(delivered)
    return isRefusal(opened) ? opened : read(opened)
  }
  const opened = open(delivered)
  if (isRefusal(opened)) return opened
  return (await isAuthenticLater(opened.envelope)) ? read(opened) : forged(saidOf(opened))
}

/** A document that was read before: its signature was checked then. */
export function readAgain(delivered: Delivered): Signed | Refusal {
  const opened = open(delivered)
  return isRefusal(opened) ? opened : read(opened)
}

/** A document as it travels, signed by an Ed25519 private key. */
export function sealDocument({ type, payload }: Document, key: KeyObject): string {
  return seal(type, JSON.stringify(payload), key)
}

/** Largest payload of a type, in bytes. */
export function maxPayloadBytes(type: string): number {
  return type === 'fabric' ? maxFabricBytes : maxDocumentBytes
}

interface Opened {
  readonly origin: string
  readonly type: DocumentType
  readonly envelope: Envelope
}

function open({ origin, bytes }: Delivered): Opened | Refusal {
  const refuse = (reason: string, next?: string): Refusal => ({
    origin,
    rule: 'document',
    code: 'document-invalid',
    object: origin,
    reason,
    ...(next === undefined ? {} : { next }),
  })
  const most = envelopeBytes(maxFabricBytes)
  if (bytes.length > most) return refuse(`is ${bytes.length} bytes long, expected at most ${most}`)
  // The type decides how long it may be; a long one of another type must not cost the time to be taken apart.
  if (bytes.length > envelopeBytes(maxDocumentBytes) && !beginsAsFabric(bytes)) {
    return refuse(`is ${bytes.length} bytes long, expected at most ${envelopeBytes(maxDocumentBytes)}`)
  }
  const envelope = openEnvelope(bytes)
  if ('malformed' in envelope) return refuse(envelope.malformed, envelope.hint)
  const type = documentTypes.find((known) => known === envelope.type)
  if (type === undefined) {
    const hint = didYouMean(envelope.type, documentTypes)
    return refuse(`has the type linkspan-${envelope.type}, which is none of a document`, hint)
  }
  const { length } = envelope.payload
  if (length > maxPayloadBytes(type)) {
    return refuse(`has a payload of ${length} bytes, expected at most ${maxPayloadBytes(type)}`)
  }
  return { origin, type, envelope }
}

const fabricHeader = Buffer.from('{"alg":"EdDSA","typ":"linkspan-fabric","kid":"')
  .toString('base64url')
  .slice(0, 60)

function beginsAsFabric(bytes: Uint8Array): boolean {
  return Buffer.from(bytes.buffer, bytes.byteOffset, fabricHeader.length).toString('latin1') === fabricHeader
}

interface Said {
  readonly origin: string
  readonly type: DocumentType
  readonly kid: string
}

function saidOf({ origin, type, envelope: { kid } }: Opened): Said {
  return { origin, type, kid }
}

/** True of a long document that was not read, because its key is not trusted: it must be, should the key be trusted. */
export function isUnread(refusal: Refusal): boolean {
  return refusal.rule === 'authority'
}

function unread({ origin, type, kid }: Said): Refusal {
  return {
    origin,
    rule: 'authority',
    code: 'document-invalid',
    object: type,
    reason: `is signed by the key ${kid}, which is not the authority's, and is too long to be read for that`,
    next: 'is authority: in config.yml right? else find out who wrote it',
  }
}

function forged({ origin, type, kid }: Said): Refusal {
  return {
    origin,
    rule: 'signature',
    code: 'document-invalid',
    object: origin,
    reason: `the signature of this ${type} is not by the key ${kid} that it names`,
    next: 'it was altered on its way, or never signed: find out by whom',
  }
}

/** Of an authority document that names a next key: the same, by that key. */
function uncountersigned(origin: string, { next = 'none' }: Authority): Refusal {
  return {
    origin,
    rule: 'signature',
    code: 'document-invalid',
    object: 'authority',
    reason: `the key ${next} did not countersign that it is the next`,
    next: 'have it made anew: linkspan ca rollover',
  }
}

/** A claim carries a second signature, which is checked here as well: once, and before anybody acts on it. */
function unproven(origin: string, { payload }: Extract<Document, { type: 'claim' }>): Refusal {
  return {
    origin,
    rule: 'signature',
    code: 'document-invalid',
    object: `claim ${payload.gateway}`,
    gateway: payload.gateway,
    reason: `the identity ${payload.identity} did not sign that it claims this`,
    next: 'find out who wrote it',
  }
}

function names({ next, proof }: Authority): boolean {
  return next !== undefined || proof !== undefined
}

function read({ origin, type, envelope }: Opened): Signed | Refusal {
  const text = decodeText(envelope.payload)
  if (typeof text !== 'string') return refusal(origin, text.text, text)
  const parsed = parseJson(text)
  if (!('value' in parsed)) return refusal(origin, text, parsed)
  const decoder: Decoder<Document> = payloads[type]
  const decoded = decode(decoder, parsed.value)
  if ('value' in decoded) {
    const document = decoded.value
    const { kid } = envelope
    if (document.type === 'claim' && !isProven(document.payload, kid)) return unproven(origin, document)
    if (document.type === 'authority' && names(document.payload) && !isCountersigned(document.payload, kid))
      return uncountersigned(origin, document.payload)
    return { document, kid, hash: digestOf(envelope.payload) }
  }
  const first = decoded[0]
  if (first === undefined) throw new TypeError('a decoder refused without a problem')
  const where = formatPath(first.path)
  return refusal(origin, text, {
    offset: locateJson(text, first.path, first.part),
    reason: `${where === '' ? '' : `${where}: `}${first.reason}`,
    ...(first.hint === undefined ? {} : { hint: first.hint }),
  })
}

function refusal(origin: string, text: string, { offset, reason, hint }: JsonFault): Refusal {
  const { line, column } = placeOf(text, offset)
  return {
    origin,
    rule: 'document',
    code: 'document-invalid',
    object: `${origin}:${line}:${column}`,
    reason,
    excerpt: excerptOf(text, offset),
    ...(hint === undefined ? {} : { next: hint }),
  }
}

const payloads = {
  fabric: (payload, at, key) => tagged('fabric', fabric(payload, at, key)),
  certificate: (payload, at, key) => tagged('certificate', certificate(payload, at, key)),
  record: (payload, at, key) => tagged('record', record(payload, at, key)),
  request: (payload, at, key) => tagged('request', request(payload, at, key)),
  authority: (payload, at, key) => tagged('authority', authority(payload, at, key)),
  voucher: (payload, at, key) => tagged('voucher', voucher(payload, at, key)),
  claim: (payload, at, key) => tagged('claim', claim(payload, at, key)),
} satisfies Record<DocumentType, Decoder<Document>>

function tagged<T extends DocumentType, P>(type: T, payload: P | null) {
  return payload === null ? null : { type, payload }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function decodeText(bytes: Uint8Array): string | (JsonFault & { text: string }) {
  try {
    return utf8.decode(bytes)
  } catch {
    // The longest good beginning, by bisection: `stream` accepts a character cut off at the end.
    let good = 0
    for (let step = bytes.length; step >= 1; step = step >> 1) {
      while (good + step <= bytes.length && decodes(bytes.subarray(0, good + step))) good += step
    }
    const text = new TextDecoder().decode(bytes)
    const offset = new TextDecoder().decode(bytes.subarray(0, good), { stream: true }).length
    return { text, offset, reason: 'is not UTF-8 here', hint: 'save the file as UTF-8' }
  }
}

function decodes(bytes: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: true })
    return true
  } catch {
    return false
  }
}
