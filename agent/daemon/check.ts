/**
 * Form and signature of what a registry delivers, before the ledger judges it. A check costs a tenth of a millisecond of a
 * core, and a fleet has tens of thousands: they run on the thread pool, so many at a time that it is never idle, and the
 * event loop takes the outcome in small portions. What an origin delivered before is not checked again.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Delivered } from '../model/document.ts'
import { digestOf } from '../trust/envelope.ts'
import type { Checked } from '../trust/admission.ts'
import type { Ledger } from '../trust/ledger.ts'
import { parseDocumentLater } from '../trust/parse.ts'

/** Checks under way at the same time: the pool has four threads. */
const portion = 64

export async function checked(
  documents: readonly Delivered[],
  ledger: Pick<Ledger, 'knows'>,
  signal: AbortSignal,
): Promise<readonly Checked[]> {
  const all: Checked[] = []
  for (let from = 0; from < documents.length; from += portion) {
    signal.throwIfAborted()
    const some = documents.slice(from, from + portion).map(async (delivered): Promise<Checked> => {
      const digest = digestOf(delivered.bytes)
      if (ledger.knows(delivered.origin, digest)) return { ...delivered, digest }
      return { ...delivered, digest, signed: await parseDocumentLater(delivered) }
    })
    all.push(...(await Promise.all(some)))
    await nextTurn()
  }
  return all
}
