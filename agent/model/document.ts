/**
 * Documents as they travel. A registry delivers bytes under an origin (a file path, a URL, an etcd key); the origin is
 * there for messages and to tell versions of one document apart, and carries no trust. trust/parse.ts makes typed
 * documents of them; trust/ledger.ts decides what they mean together.
 */
import type { Reason } from '../errors.ts'
import type { Attachment, Certificate, Fabric, GatewayRecord, Name, Site } from './fabric.ts'
import type { Prefix } from './prefix.ts'

/** One document as delivered. */
export interface Delivered {
  readonly origin: string
  readonly bytes: Uint8Array
}

/** What a registry says at one moment. Updates only add: what is no longer delivered stays in force. */
export interface Bag {
  readonly documents: readonly Delivered[]
  /** True when this bag holds all the registry has: what is missing from it has vanished. */
  readonly complete: boolean
  /** Origins of earlier documents that are gone; for bags that are not complete. */
  readonly gone?: readonly string[]
  /** All that cannot be read at the moment, in full with every bag; its previous documents stay. */
  readonly unreadable: readonly Reason[]
}

/** What a gateway asks of the authority: the raw material of a certificate. Never in a snapshot. */
export interface Request {
  readonly fabric: Name
  readonly gateway: Name
  /** Ed25519 public key, base64url. */
  readonly identity: string
  readonly site: Site
  readonly prefixes: readonly Prefix[]
  readonly networks: readonly Attachment[]
}

/**
 * The authority's own news, signed by a key that is trusted: which key comes next, and which are no longer trusted. A
 * fabric begins with the key in config.yml; every other trusted key is named by such a document.
 */
export interface Authority {
  readonly fabric: Name
  readonly serial: number
  /** The key that is trusted beside the signing one from now on. */
  readonly next?: string
  /** The next key's word that it is held: a `linkspan-proof` envelope by it over {fabric, current}. */
  readonly proof?: string
  /** Keys whose signatures count no longer. Never the signing one. */
  readonly retired: readonly string[]
}

/**
 * A certificate for whoever comes first: all that it grants, and in place of the identity a key that is used once, to sign
 * the claim. For gateways that boot without anybody at hand (cloud-init).
 */
export interface Voucher extends Omit<Certificate, 'identity'> {
  /** Ed25519 public key, base64url: whoever holds its other half may claim. */
  readonly key: string
  /** Unix ms: who claims later is refused. At most 24 h after `notBefore`. */
  readonly until: number
}

/** A gateway's word that a voucher is its own, signed by the voucher's key. */
export interface Claim {
  readonly fabric: Name
  readonly serial: number
  readonly gateway: Name
  /** The serial of the voucher. */
  readonly voucher: number
  /** Ed25519 public key, base64url. */
  readonly identity: string
  /** The identity's word that it is held: a `linkspan-proof` envelope by it over {fabric, gateway, voucher}. */
  readonly proof: string
}

export type Document =
  | { readonly type: 'fabric'; readonly payload: Fabric }
  | { readonly type: 'certificate'; readonly payload: Certificate }
  | { readonly type: 'record'; readonly payload: GatewayRecord }
  | { readonly type: 'request'; readonly payload: Request }
  | { readonly type: 'authority'; readonly payload: Authority }
  | { readonly type: 'voucher'; readonly payload: Voucher }
  | { readonly type: 'claim'; readonly payload: Claim }

export type DocumentType = Document['type']

/** A document whose signature holds under the key that its header names. Whether that key may speak is a rule's business. */
export interface Signed<D extends Document = Document> {
  readonly document: D
  /** Ed25519 public key of the signer, base64url. */
  readonly kid: string
  /** SHA-256 of the payload, base64: two documents of one serial and different hashes contradict each other. */
  readonly hash: string
}

/** The largest accepted payload, in bytes. */
export const maxFabricBytes = 16 * 1024 * 1024
export const maxDocumentBytes = 64 * 1024
