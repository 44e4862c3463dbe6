/**
 * The envelope of every document: a JWS in compact form (RFC 7515, section 7.1), signed with Ed25519 (RFC 8032, RFC 8037).
 *
 *   base64url(header) . base64url(payload) . base64url(signature)
 *
 * There is one way to write each: the header's bytes are fixed but for type and key, base64url must come out the same when
 * it is written again, and nothing surrounds the text but one line feed at the end. So a document has one spelling, its
 * digest names it, and nothing that a parser might read in two ways is signed or checked.
 *
 * The signature is checked under the key that the header names, before anything of the payload is read. It says who speaks;
 * whether that key may say such a thing is decided by the rules (roster.ts, authorities.ts).
 */
import { createPrivateKey, createPublicKey, hash, sign, verify, webcrypto } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { identityPattern } from './payload.ts'

/** What travels in envelopes: the documents, and the proof inside an authority document. */
export type EnvelopeType = string

export interface Envelope {
  readonly type: EnvelopeType
  /** Ed25519 public key of the signer, base64url of the raw 32 bytes. */
  readonly kid: string
  /** What is signed (RFC 7515, section 5.1): header and payload as they travel. */
  readonly input: Buffer
  readonly payload: Buffer
  readonly signature: Buffer
}

export interface Malformed {
  readonly malformed: string
  readonly hint?: string
}

/** Characters of an Ed25519 signature in base64url: 64 bytes; the last character carries 4 bits. */
const signatureLength = 86
const headerPattern = /^\{"alg":"EdDSA","typ":"linkspan-([a-z]{1,16})","kid":"([A-Za-z0-9_-]{43})"\}$/
const part = /^[A-Za-z0-9_-]+$/
/** Longest header: a type of 16 letters. */
const maxHeaderLength = 160

/** Bytes of an envelope around a payload of this size, line feed included: what a registry must let through. */
export function envelopeBytes(payloadBytes: number): number {
  return maxHeaderLength + Math.ceil((payloadBytes * 4) / 3) + signatureLength + 3
}

/** True where the text ends as an envelope does: what does not may be half written. */
export function looksWhole(bytes: Uint8Array): boolean {
  const end = bytes.at(-1) === 0x0a ? bytes.length - 1 : bytes.length
  const dot = bytes.lastIndexOf(0x2e, end)
  return dot > 0 && end - dot - 1 === signatureLength && bytes.indexOf(0x2e) !== dot
}

/** Takes an envelope apart. Checks its form only. */
export function openEnvelope(bytes: Uint8Array): Envelope | Malformed {
  const end = bytes.at(-1) === 0x0a ? bytes.length - 1 : bytes.length
  // Latin-1 is one character a byte: no byte is lost or joined before the alphabet is checked.
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, end).toString('latin1')
  if (text.length === 0) return { malformed: 'is empty' }
  if (text.startsWith('{')) {
    return { malformed: 'is not signed', hint: 'documents are made by linkspan ca and by the agents' }
  }
  const first = text.indexOf('.')
  const second = text.indexOf('.', first + 1)
  if (first < 0 || second < 0)
    return { malformed: 'is no signed document: expected three parts with a dot between' }
  const [head, body, seal] = [text.slice(0, first), text.slice(first + 1, second), text.slice(second + 1)]
  if (head.length > maxHeaderLength) return { malformed: 'has a header that is too long' }
  const header = decodePart(head)
  if (header === undefined) return { malformed: 'has a header that is not base64url' }
  const named = headerPattern.exec(header.toString('latin1'))
  const [, type = '', kid = ''] = named ?? []
  if (named === null || !identityPattern.test(kid)) {
    const hint = 'expected {"alg":"EdDSA","typ":"linkspan-<type>","kid":"<public key>"}, byte for byte'
    return { malformed: 'has a header of another form', hint }
  }
  const payload = decodePart(body)
  if (payload === undefined) return { malformed: 'has a payload that is not base64url' }
  const signature = seal.length === signatureLength ? decodePart(seal) : undefined
  if (signature === undefined)
    return { malformed: 'has a signature of another form: expected 86 characters of base64url' }
  return { type, kid, input: Buffer.from(text.slice(0, second), 'latin1'), payload, signature }
}

/** True where the signature is by the key that the header names. */
export function isAuthentic({ kid, input, signature }: Omit<Envelope, 'payload'>): boolean {
  return verify(null, input, publicKeyOf(kid), signature)
}

/** The same on a thread of the pool. */
export function isAuthenticLater({ kid, input, signature }: Omit<Envelope, 'payload'>): Promise<boolean> {
  return new Promise((resolve, reject) => {
    verify(null, input, publicKeyOf(kid), signature, (error, holds) => {
      if (error === null) resolve(holds)
      else reject(error)
    })
  })
}

/**
 * What of a long envelope says who signed it, with nothing of its payload taken apart or copied. Undefined where its form is
 * another; then openEnvelope says what is wrong.
 */
export function peekEnvelope(bytes: Uint8Array): Omit<Envelope, 'payload'> | undefined {
  const end = bytes.at(-1) === 0x0a ? bytes.length - 1 : bytes.length
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, end)
  const head = decodePart(text.toString('latin1', 0, text.subarray(0, maxHeaderLength + 1).indexOf('.')))
  const [, type = '', kid = ''] = headerPattern.exec(head?.toString('latin1') ?? '') ?? []
  const dot = end - signatureLength - 1
  const signature = text[dot] === 0x2e ? decodePart(text.toString('latin1', dot + 1)) : undefined
  if (!identityPattern.test(kid) || signature === undefined) return undefined
  return { type, kid, input: text.subarray(0, dot), signature }
}

/** Signs a payload: the whole text of a document. `key`: an Ed25519 private key. */
export function seal(type: EnvelopeType, payload: string | Uint8Array, key: KeyObject): string {
  const header = `{"alg":"EdDSA","typ":"linkspan-${type}","kid":"${kidOf(key)}"}`
  const input = `${encode(header)}.${encode(payload)}`
  return `${input}.${sign(null, Buffer.from(input), key).toString('base64url')}\n`
}

/** The name of a key: its public half, base64url of the raw 32 bytes (RFC 8037, section 2: the `x` of its JWK). */
export function kidOf(key: KeyObject): string {
  const { x } = (key.type === 'private' ? createPublicKey(key) : key).export({ format: 'jwk' })
  if (typeof x !== 'string') throw new TypeError('not an Ed25519 key')
  return x
}

/** The Ed25519 private key with this seed of 32 bytes (RFC 8032, section 5.1.5). */
export function privateKeyOf(seed: Uint8Array): KeyObject {
  const der = Buffer.concat([pkcs8Header, seed])
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
}

/** SHA-256, base64. */
export function digestOf(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'base64')
}

/** The same on a thread of the pool. */
export async function digestOfLong(bytes: Uint8Array): Promise<string> {
  return Buffer.from(await webcrypto.subtle.digest('SHA-256', bytes)).toString('base64')
}

/** DER of a private Ed25519 key up to its 32 raw bytes (RFC 8410, section 7). */
const pkcs8Header = Buffer.from('302e020100300506032b657004220420', 'hex')

/** One key signs all certificates. */
const recent = new Map<string, KeyObject>()
const maxRecent = 8

function publicKeyOf(kid: string): KeyObject {
  const known = recent.get(kid)
  if (known !== undefined) return known
  // As a JWK (RFC 8037, section 2), because to take DER apart costs nearly as much as to check a signature.
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: kid }, format: 'jwk' })
  const [oldest] = recent.keys()
  if (recent.size >= maxRecent && oldest !== undefined) recent.delete(oldest)
  recent.set(kid, key)
  return key
}

function encode(text: string | Uint8Array): string {
  return Buffer.from(text).toString('base64url')
}

/** Undefined where the text is not the one base64url form of its bytes. */
function decodePart(text: string): Buffer | undefined {
  if (!part.test(text)) return undefined
  const bytes = Buffer.from(text, 'base64url')
  return bytes.toString('base64url') === text ? bytes : undefined
}
