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

export type Document =
  | { readonly type: 'fabric'; readonly payload: Fabric }
  | { readonly type: 'certificate'; readonly payload: Certificate }
  | { readonly type: 'record'; readonly payload: GatewayRecord }
  | { readonly type: 'request'; readonly payload: Request }

export type DocumentType = Document['type']

/** The largest accepted document, in bytes. */
export const maxFabricBytes = 16 * 1024 * 1024
export const maxDocumentBytes = 64 * 1024

/** A document's text: one line a field, so that people can read and diff a registry, and large lists stay small. */
export function formatDocument({ type, payload }: Document): string {
  const fields = Object.entries(payload).map(([name, value]) => `    "${name}": ${JSON.stringify(value)}`)
  return `{\n  "typ": "linkspan-${type}",\n  "payload": {\n${fields.join(',\n')}\n  }\n}\n`
}
