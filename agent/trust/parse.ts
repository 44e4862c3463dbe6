/**
 * From bytes to a typed document. The envelope is `{"typ": "linkspan-<type>", "payload": {...}}`; signatures will take
 * its place and leave the rest as it is. Whatever is wrong names the document, line and column, what was expected, and
 * shows the source line.
 */
import type { Delivered, Document, DocumentType } from '../model/document.ts'
import { maxDocumentBytes, maxFabricBytes } from '../model/document.ts'
import { decode, fail, formatPath, object } from './decode.ts'
import type { At, Decoder } from './decode.ts'
import { excerptOf, placeOf, quoted } from './excerpt.ts'
import { locateJson, parseJson } from './json.ts'
import type { JsonFault } from './json.ts'
import { certificate, fabric, record, request } from './payload.ts'
import type { Refusal } from './refusal.ts'
import { didYouMean } from './spelling.ts'

export const documentTypes: readonly DocumentType[] = ['fabric', 'certificate', 'record', 'request']

export function isRefusal(parsed: Document | Refusal): parsed is Refusal {
  return 'rule' in parsed
}

/** The documents among what was delivered; those that parse. */
export function documentsOf(delivered: readonly Delivered[]): Document[] {
  return delivered.map(parseDocument).flatMap((parsed) => (isRefusal(parsed) ? [] : [parsed]))
}

/** The document, or why it is none. */
export function parseDocument({ origin, bytes }: Delivered): Document | Refusal {
  const text = decodeText(bytes)
  if (typeof text !== 'string') return refusal(origin, text.text, text)
  if (bytes.length > sizeLimit(text)) {
    const reason = `is ${bytes.length} bytes long, expected at most ${sizeLimit(text)}`
    return { origin, rule: 'document', code: 'document-invalid', object: origin, reason }
  }
  const parsed = parseJson(text)
  if (!('value' in parsed)) return refusal(origin, text, parsed)
  const decoded = decode(envelope, parsed.value)
  if ('value' in decoded) return decoded.value
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
} satisfies Record<DocumentType, Decoder<Document>>

function tagged<T extends DocumentType, P>(type: T, payload: P | null) {
  return payload === null ? null : { type, payload }
}

const any: Decoder<{ readonly value: unknown }> = (value) => ({ value })
const outer = object({ typ: any, payload: any })

const envelope: Decoder<Document> = (value, at, key) => {
  const opened = outer(value, at, key)
  if (opened === null) return null
  const here: At = { problems: at.problems, parent: at, key }
  const typ = opened.typ.value
  const type = documentTypes.find((candidate) => typ === `linkspan-${candidate}`)
  if (type !== undefined) return payloads[type](opened.payload.value, here, 'payload')
  const known = documentTypes.map((candidate) => `linkspan-${candidate}`)
  const hint = typeof typ === 'string' ? didYouMean(typ, known) : `known are: ${known.join(', ')}`
  return fail(here, 'typ', `expected a document type, found ${quoted(typ)}`, hint)
}

/** Only a text that begins as a fabric document may be large, so that no other costs time to be refused. */
function sizeLimit(text: string): number {
  return /^\s{0,64}\{\s{0,64}"typ"\s{0,64}:\s{0,64}"linkspan-fabric"/.test(text)
    ? maxFabricBytes
    : maxDocumentBytes
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function decodeText(bytes: Uint8Array): string | (JsonFault & { text: string }) {
  if (bytes.length > maxFabricBytes) {
    return {
      text: '',
      offset: 0,
      reason: `is ${bytes.length} bytes long, expected at most ${maxFabricBytes}`,
    }
  }
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
