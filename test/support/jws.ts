/** An envelope in pieces, to be put together wrongly. */
import { sign } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { kidOf, seal } from '../../agent/trust/envelope.ts'
import { keyOf } from './documents.ts'

export const key = keyOf('somebody')
export const kid = kidOf(key)
export const payload = '{"a":1}'
/** Well formed, with its line feed. */
export const whole = seal('record', payload, key)
/** Its three parts as they travel. */
export const [head = '', body = '', tail = ''] = whole.trimEnd().split('.')

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

export function encode(text: string | Uint8Array): string {
  return Buffer.from(text).toString('base64url')
}

/** Signs two parts as they are, so that a refusal is never for want of a signature. */
export function signedParts(first: string, second: string, by: KeyObject = key): string {
  return `${first}.${second}.${encode(sign(null, Buffer.from(`${first}.${second}`), by))}`
}

/** Any text as the header of a well-signed envelope. */
export function withHeader(header: string): string {
  return signedParts(encode(header), encode(payload))
}

/** The right header with other, more or (undefined) fewer fields. */
export function headerOf(change: Readonly<Record<string, unknown>> = {}): string {
  return JSON.stringify({ alg: 'EdDSA', typ: 'linkspan-record', kid, ...change })
}

/** The same base64url with another last character that decodes to the same bytes: it carries bits that mean nothing. */
export function tailsOf(text: string): readonly string[] {
  const free = { 0: 0, 2: 4, 3: 2 }[text.length % 4] ?? 0
  const last = alphabet.indexOf(text.slice(-1))
  return Array.from(alphabet)
    .filter((_, i) => i !== last && i >> free === last >> free)
    .map((character) => text.slice(0, -1) + character)
}
