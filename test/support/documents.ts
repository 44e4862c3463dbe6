/**
 * Documents for tests: valid payloads with every field, to be changed one field at a time, and their bytes, signed by who
 * should: the authority, or the gateway's identity. Every key is a function of its name, so no test need keep any.
 */
import { createHash } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import type { Claim, Delivered, Document, Request, Signed, Voucher } from '../../agent/model/document.ts'
import type { Certificate, Fabric, GatewayRecord } from '../../agent/model/fabric.ts'
import { parsePublicKey } from '../../agent/model/key.ts'
import type { PublicKey } from '../../agent/model/key.ts'
import { address, prefix } from '../../agent/model/prefix.ts'
import { kidOf, privateKeyOf } from '../../agent/trust/envelope.ts'
import type { Ground } from '../../agent/trust/ground.ts'
import { momentOf } from '../../agent/trust/moment.ts'
import { isRefusal, parseDocument, sealDocument } from '../../agent/trust/parse.ts'
import { claimProof, voucherBy } from '../../agent/trust/voucher.ts'

export const authorityKey = keyOf('authority')
export const authority = kidOf(authorityKey)
/** What a test's documents are judged for. */
export const ground: Ground = { fabric: 'prod', authority }
/** Everything below is valid then. */
export const nowMs = 1_763_700_000_000
export const moment = momentOf(nowMs)

export function fabricOf(change: Partial<Fabric> = {}): Fabric {
  return {
    fabric: 'prod',
    serial: 1,
    freshUntil: nowMs + 90 * 86_400_000,
    overlay: { ipv4: prefix('100.127.0.0/16'), ipv6: prefix('fd4c:53aa:bb00::/48') },
    underlays: [{ name: 'internet' }],
    prefer: ['internet'],
    mesh: 'all',
    networks: [{ name: 'lan', vni: 7001, kind: 'l2' }],
    policy: { default: 'allow', rules: [] },
    probe: { port: 18620, intervalMs: 200, retryMs: 60, downAfter: 10, underlays: {} },
    rotation: { days: 0 },
    removed: [],
    revoked: { serials: [], identities: [] },
    ...change,
  }
}

/** A certificate of gateway `g<number>` at site `s<number>` for 10.<number>.0.0/16. */
export function certificateOf(number: number, change: Partial<Certificate> = {}): Certificate {
  return {
    fabric: 'prod',
    serial: 1,
    gateway: `g${number}`,
    number,
    site: { name: `s${number}`, provider: '', region: '', labels: {} },
    plane: 0,
    identity: identityOf(`g${number}`),
    notBefore: nowMs - 86_400_000,
    notAfter: 4_102_444_800_000,
    prefixes: [{ prefix: prefix(`10.${number}.0.0/16`) }],
    networks: [],
    grants: [],
    ...change,
  }
}

export function recordOf(number: number, change: Partial<GatewayRecord> = {}): GatewayRecord {
  return {
    fabric: 'prod',
    serial: 1,
    gateway: `g${number}`,
    generation: 0,
    tunnelKeys: tunnelKeysOf(`g${number}`),
    endpoints: [{ underlay: 'internet', address: address(`192.0.2.${number}`), port: 51820 }],
    prefixes: [prefix(`10.${number}.0.0/16`)],
    networks: [],
    weight: 1,
    state: 'active',
    ...change,
  }
}

export function requestOf(number: number, change: Partial<Request> = {}): Request {
  const { fabric, gateway, identity, site } = certificateOf(number)
  return {
    fabric,
    gateway,
    identity,
    site,
    prefixes: [prefix(`10.${number}.0.0/16`)],
    networks: [],
    ...change,
  }
}

/** A voucher for what the gateway's certificate would grant, claimable for another hour. */
export function voucherOf(number: number, change: Partial<Voucher> = {}): Voucher {
  const key = kidOf(voucherKeyOf(`g${number}`))
  const certificate = certificateOf(number, { notBefore: nowMs - 3_600_000 })
  return { ...voucherBy(certificate, key, nowMs + 3_600_000), ...change }
}

/** `seed`: whose identity claims it. `key`: of the voucher. */
export function claimOf(
  number: number,
  change: Partial<Claim> = {},
  seed = `g${number}`,
  key = voucherKeyOf(`g${number}`),
): Claim {
  const gateway = `g${number}`
  const proof = claimProof('prod', gateway, kidOf(key), identityKeyOf(seed))
  return { fabric: 'prod', serial: 1, gateway, voucher: 1, identity: identityOf(seed), proof, ...change }
}

/** The private key of this name. */
export function keyOf(name: string): KeyObject {
  return privateKeyOf(createHash('sha256').update(name).digest())
}

export function identityKeyOf(seed: string): KeyObject {
  return keyOf(`identity ${seed}`)
}

/** The one-time key of a voucher. */
export function voucherKeyOf(seed: string): KeyObject {
  return keyOf(`voucher ${seed}`)
}

export function identityOf(seed: string): string {
  return kidOf(identityKeyOf(seed))
}

export function tunnelKeyOf(seed: string): PublicKey {
  const key = parsePublicKey(createHash('sha256').update(`tunnel ${seed}`).digest('base64'))
  if (key === undefined) throw new TypeError('not a key')
  return key
}

export function tunnelKeysOf(seed: string): Record<string, PublicKey> {
  return Object.fromEntries(Array.from({ length: 8 }, (_, i) => [i, tunnelKeyOf(`${seed} ${i}`)]))
}

export const fabricDocument = (change?: Partial<Fabric>): Document => ({
  type: 'fabric',
  payload: fabricOf(change),
})
export const certificateDocument = (number: number, change?: Partial<Certificate>): Document => ({
  type: 'certificate',
  payload: certificateOf(number, change),
})
export const recordDocument = (number: number, change?: Partial<GatewayRecord>): Document => ({
  type: 'record',
  payload: recordOf(number, change),
})
export const requestDocument = (number: number, change?: Partial<Request>): Document => ({
  type: 'request',
  payload: requestOf(number, change),
})
export const voucherDocument = (number: number, change?: Partial<Voucher>): Document => ({
  type: 'voucher',
  payload: voucherOf(number, change),
})
export const claimDocument = (number: number, change?: Partial<Claim>, seed?: string): Document => ({
  type: 'claim',
  payload: claimOf(number, change, seed),
})

/** Who should sign a document. */
export function signerOf({ type, payload }: Document): KeyObject {
  if (type === 'claim') return voucherKeyOf(payload.gateway)
  return type === 'record' || type === 'request' ? identityKeyOf(payload.gateway) : authorityKey
}

/** Signing is slow, and properties make the same few documents again and again. */
const known = new Map<string, Buffer>()

/** As it travels. */
export function sealed(document: Document, key = signerOf(document)): Buffer {
  const what = `${kidOf(key)} ${document.type} ${JSON.stringify(document.payload)}`
  const before = known.get(what)
  if (before !== undefined) return before
  const made = Buffer.from(sealDocument(document, key))
  if (known.size < 4096 && made.length < 65_536) known.set(what, made)
  return made
}

/** As a file registry delivers it; `origin` defaults to the document's own place. */
export function delivered(
  document: Document,
  origin = placeOf(document),
  key = signerOf(document),
): Delivered {
  return { origin, bytes: sealed(document, key) }
}

/** As parsed. */
export function signed(document: Document, key = signerOf(document)): Signed {
  const parsed = parseDocument(delivered(document, placeOf(document), key))
  if (isRefusal(parsed)) throw new Error(`refused: ${parsed.object}: ${parsed.reason}`)
  return parsed
}

export function placeOf({ type, payload }: Document): string {
  if (type === 'fabric') return 'fabric.jws'
  return type === 'authority' ? `authority/${String(payload.serial)}.jws` : `${type}s/${payload.gateway}.jws`
}

/** Text in place of a document. */
export function deliveredText(text: string, origin = 'records/x.jws'): Delivered {
  return { origin, bytes: Buffer.from(text) }
}
