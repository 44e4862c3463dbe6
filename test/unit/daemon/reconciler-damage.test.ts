/**
 * What a bad disk, a bad link or a bad registry makes of a document: each truncation and each flipped bit of a fabric document,
 * a certificate and a record, told beside the good ones and in place of them. Nothing is written, nothing ends.
 */
import t from 'tap'
import type { Delivered } from '../../../agent/model/document.ts'
import {
  certificateDocument,
  delivered,
  fabricDocument,
  placeOf,
  recordDocument,
  sealed,
} from '../../support/documents.ts'
import { documents, Rig } from '../../support/rig.ts'

/** Told in one bag, and of a place one by one. */
const [together, alone] = [1000, 61] as const
const free = { burst: 1_000_000, perSecond: 1_000_000 }

/** All bytes that differ from these by what is missing at the end, or by one bit; without its line feed a document is whole. */
function* damaged(bytes: Buffer): Generator<Buffer> {
  for (let length = 0; length < bytes.length - 1; length++) yield bytes.subarray(0, length)
  for (let bit = 0; bit < 8 * bytes.length; bit++) {
    const flipped = Buffer.from(bytes)
    flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
    yield flipped
  }
}

for (const [what, document] of Object.entries({
  'a fabric document': fabricDocument({ serial: 9, mesh: [] }),
  'a certificate': certificateDocument(2, { serial: 9, notAfter: 4102444800000, prefixes: [] }),
  'a record': recordDocument(2, { serial: 9, prefixes: [], weight: 7 }),
})) {
  void t.test(`each truncation and each flipped bit of ${what}`, async (t) => {
    const rig = new Rig(undefined, { limits: { checks: free, work: free, changes: free } })
    rig.deliver(documents(3))
    await rig.turn()
    t.ok(rig.reconciler.settled)
    const { applied } = rig.kernel
    const planned = rig.reconciler.planned?.snapshot
    const place = placeOf(document)
    const tell = async (told: readonly Delivered[]): Promise<void> => {
      void rig.reconciler.deliver({ documents: told, complete: false, unreadable: [] })
      if (!(await rig.turn())) t.fail(`a turn failed: ${JSON.stringify(rig.last('reconcile-failed'))}`)
    }
    const all = [...damaged(sealed(document))]
    t.ok(all.length > 4000, `${all.length} of them`)
    for (let from = 0; from < all.length; from += together) {
      const some = all.slice(from, from + together)
      await tell(some.map((bytes, i) => ({ origin: `${place}.${from + i}`, bytes })))
    }
    t.equal(rig.reconciler.inputs.admission.refused.total, all.length, 'each is refused')
    for (let i = 0; i < all.length; i += alone) await tell([{ origin: place, bytes: all[i] ?? Buffer.of() }])
    t.equal(rig.kernel.applied, applied, 'not one write')
    t.equal(rig.reconciler.planned?.snapshot, planned, 'the snapshot is the same object')
    await tell([delivered(document)])
    t.not(rig.reconciler.planned?.snapshot, planned, 'whole, it counts')
    rig.stop()
  })
}
