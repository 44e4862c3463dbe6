/**
 * The registry port: bags of documents. Paths and keys carry no trust, and updates only add: a document that is no longer
 * delivered stays in force (DESIGN "Omission is not deletion").
 */
import type { Reason } from '../errors.ts'

/** One document as delivered; `origin` says where from, for messages: a file path, a URL, an etcd key. */
export interface Delivered {
  readonly origin: string
  readonly bytes: Uint8Array
}

export interface Bag {
  readonly documents: readonly Delivered[]
  /** True when this bag holds all the registry has: what is missing from it has vanished. */
  readonly complete: boolean
  /** Origins that could not be read: their previous documents stay. */
  readonly unreadable: readonly Reason[]
}

export interface Registry {
  /** Ends when the signal aborts. An unreachable registry yields a bag with `unreadable` and no documents. */
  watch(signal: AbortSignal): AsyncIterable<Bag>
  /** Absent where the registry is read-only to a gateway. */
  publish?(document: Uint8Array, signal: AbortSignal): Promise<void>
}
