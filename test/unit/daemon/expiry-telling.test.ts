/** When it is said that our own certificate ends. */
import t from 'tap'
import { Events } from '../../../agent/daemon/event.ts'
import { ExpiryTelling } from '../../../agent/daemon/expiry-telling.ts'
import { momentOf } from '../../../agent/trust/moment.ts'
import { certificateDocument, nowMs } from '../../support/documents.ts'
import { documents, Rig } from '../../support/rig.ts'

const day = 86_400_000

void t.test('thirty days, a week and a day before', (t) => {
  const events = new Events()
  const telling = new ExpiryTelling(events)
  const told = (): unknown[] =>
    events.since(0).map(({ event, level, fields }) => [event, level, fields['days']])
  const certificate = certificateDocument(1, { notBefore: nowMs, notAfter: nowMs + 398 * day })
  for (let at = 0; at < 400; at += 0.5) telling.tell(certificate, momentOf(nowMs + at * day))
  const once = [
    ['certificate-expires', 'warning', 29],
    ['certificate-expires', 'warning', 6],
    ['certificate-expires', 'error', 0],
  ]
  t.strictSame(told(), once)
  const renewed = certificateDocument(1, { serial: 2, notBefore: nowMs, notAfter: nowMs + 500 * day })
  telling.tell(renewed, momentOf(nowMs + 400 * day))
  t.strictSame(told(), once)
  telling.tell(renewed, momentOf(nowMs + 495 * day))
  t.equal(told().length, 4, 'a start in the last week says it once')
  const short = certificateDocument(1, { serial: 3, notBefore: nowMs, notAfter: nowMs + 6 * day })
  telling.tell(short, momentOf(nowMs))
  t.equal(told().length, 4, 'one that is short-lived by intent')
  t.end()
})

void t.test('the agent says so', async (t) => {
  const rig = new Rig()
  const own = certificateDocument(1, { notBefore: nowMs - 300 * day, notAfter: nowMs + 20.5 * day })
  const [fabric, , ...others] = documents(2)
  rig.deliver(fabric === undefined ? [] : [fabric, own, ...others])
  await rig.turn()
  rig.reconciler.inputs.tick()
  await rig.turn()
  t.match(
    rig.events.since(0).filter(({ event }) => event === 'certificate-expires'),
    [{ fields: { days: 20, next: 'linkspan ca renew g1' } }],
  )
  t.equal(rig.told.filter((event) => event === 'certificate-expires').length, 1)
  rig.stop()
})
