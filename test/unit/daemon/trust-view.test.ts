/** What `status` says of trust, and that the weightiest goes first. */
import t from 'tap'
import type { Document } from '../../../agent/model/document.ts'
import { certificateDocument, fabricDocument, nowMs, placeOf } from '../../support/documents.ts'
import { documents, Rig } from '../../support/rig.ts'

const day = 86_400_000

/** Of gateway 1, with this in the place of the document that was there. */
async function summaryOf(change: Document): Promise<string> {
  const rig = new Rig()
  const others = documents(2).filter((document) => placeOf(document) !== placeOf(change))
  rig.deliver([...others, change])
  await rig.turn()
  const { summary } = await rig.view().status()
  rig.stop()
  return summary
}

void t.test('an own certificate that is about to end leads', async (t) => {
  const until = (days: number): Document => certificateDocument(1, { notAfter: nowMs + days * day + 1000 })
  t.match(await summaryOf(until(9)), /^certificate expires in 9 days: linkspan ca renew g1; /)
  t.notMatch(await summaryOf(until(300)), /certificate/)
  t.match(await summaryOf(until(-2)), /^our certificate counts no more, so all peers are gone: /)
  t.notMatch(
    await summaryOf(certificateDocument(2, { notAfter: nowMs + 9 * day })),
    /certificate/,
    "another's",
  )
})

void t.test('a fabric document that turns stale leads, too', async (t) => {
  t.match(await summaryOf(fabricDocument({ freshUntil: nowMs - 2 * day })), /stale/)
})
