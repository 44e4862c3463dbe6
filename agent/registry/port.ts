/**
 * The registry port: bags of documents. Paths and keys carry no trust, and updates only add: a document that is no longer
 * delivered stays in force (DESIGN "Omission is not deletion").
 */
import type { Bag, Delivered, Signed } from '../model/document.ts'
import type { Marks } from '../trust/tenure.ts'

export type { Bag, Delivered } from '../model/document.ts'

/**
 * Whether a document may take the place of what lies there; undefined: nothing does, or nothing that can be read. Throws
 * where it may not. Asked again where somebody else was quicker.
 */
export type Judge = (present: Uint8Array | undefined) => void

export interface Registry {
  /** Ends when the signal aborts. An unreachable registry yields a bag with `unreadable` and no documents. */
  watch(signal: AbortSignal): AsyncIterable<Bag>
  /** Ms that the last answer took. Undefined where there was none yet; absent where nobody waits for one, as of a directory. */
  readonly latencyMs?: number | undefined
  /** Absent where the registry is read-only to a gateway. */
  publish?(document: Uint8Array, signal: AbortSignal, judge?: Judge): Promise<void>
  /** Present where publish() only lays documents down for somebody to carry them into the registry. */
  readonly outbox?: Outbox
}

/** By what a document is and whom it is of. */
export interface Outbox {
  pathOf(document: Signed): string
  /** What lies in that document's place; undefined where nothing does, or nothing that counts. */
  read(document: Signed): Promise<Signed | undefined>
}

/** What came into force is kept, enough to boot without a registry. */
export interface LastKnown {
  /** Resolves when they are on disk. */
  append(documents: readonly Delivered[]): Promise<void>
  saveMarks(marks: Marks, floorMs: number): Promise<void>
  /** Much of what is kept is no longer in force. */
  readonly isGrown: boolean
  rewrite(isInForce: (document: Delivered) => boolean): Promise<void>
}
