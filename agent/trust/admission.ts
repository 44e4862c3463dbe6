/** What goes into the ledger and what comes out of it. */
import type { Bag, Delivered, Signed } from '../model/document.ts'
import type { Name } from '../model/fabric.ts'
import type { Snapshot } from '../model/gateway.ts'
import type { Authorities } from './authorities.ts'
import type { Refused } from './refusal-list.ts'
import type { Refusal } from './refusal.ts'

/** A delivered document after its form and signature were checked; without `signed`, as this origin said it before. */
export interface Checked {
  readonly origin: string
  readonly digest: string
  readonly signed?: Signed | Refusal
  readonly bytes: Uint8Array
}

export type CheckedBag = Omit<Bag, 'documents'> & {
  readonly documents: readonly Checked[]
  /** These counted in an earlier run: no gateway among them is unknown. */
  readonly isKnown?: boolean
}

/** A document in force that the registry no longer holds. */
export interface Vanished {
  readonly origin: string
  /** `record aws-a`. */
  readonly object: string
  /** Absent for a document that is not about a gateway. */
  readonly gateway?: Name
  /** Unix ms of the bag that first lacked it. */
  readonly sinceMs: number
}

export interface Admission {
  /** The snapshot is another object than before. */
  readonly changed: boolean
  /** Undefined until a fabric document is in force. */
  readonly snapshot: Snapshot | undefined
  /** In order of origin and rule, as many as are listed; the same array while nothing changed. */
  readonly refusals: readonly Refusal[]
  /** All of them. */
  readonly refused: Refused
  /** Those that are new with this bag, in no particular order. */
  readonly begun: readonly Refusal[]
  /** In order of origin; the same array while nothing changed. */
  readonly vanished: readonly Vanished[]
  /** Documents that came into force with this bag. */
  readonly admitted: readonly Delivered[]
  /** Documents that waited for something that would let them in, and were dropped with this bag to make room. */
  readonly dropped: number
  /** The newest date at which the authority signed what came into force so far: Unix ms, 0 where nothing did. */
  readonly issuedMs: number
  /** The fabric document should have been renewed. */
  readonly stale: boolean
  readonly authorities: Authorities
}
