/** When something is due, by the day. */
import t from 'tap'
import { Book, issuedIn } from '../../../agent/cli/authority-book.ts'
import { dueOf, inDays, rowOf } from '../../../agent/cli/authority-due.ts'
import type { AuthorityView } from '../../../agent/cli/authority-view.ts'
import type { Certificate, Fabric } from '../../../agent/model/fabric.ts'
import { authority, certificateDocument, delivered, fabricDocument, nowMs } from '../../support/documents.ts'

const dayMs = 86_400_000

function due(fabric: Partial<Fabric>, certificate: Partial<Certificate>): string[] {
  const documents = [
    fabricDocument({ serial: nowMs, freshUntil: nowMs + 90 * dayMs, ...fabric }),
    certificateDocument(1, { notBefore: nowMs, notAfter: nowMs + 398 * dayMs, ...certificate }),
  ]
  const there = issuedIn(documents.map((document) => delivered(document)))
  const book = Book.of(authority, [], there)
  const view = {
    book,
    there,
    state: { pending: [] },
    bag: { complete: true, documents: [] },
  } as unknown as AuthorityView
  const payload = book.fabric?.document.payload
  const rows = book.all('certificate').map(({ document }) => rowOf(payload, document.payload, nowMs))
  return dueOf(view, payload, rows, nowMs).map(({ object, reason, next }) => `${object}: ${reason} (${next})`)
}

void t.test('certificates', (t) => {
  const until = (days: number, madeFor = 398): string[] =>
    due({}, { notBefore: nowMs + (days - madeFor) * dayMs, notAfter: nowMs + days * dayMs })
  t.same(until(31), [])
  t.match(until(30), [/^certificate g1: expires until .*, 30 days left \(linkspan ca renew g1\)$/])
  t.same(until(4, 9), [], 'a third of a short life')
  t.match(until(3, 9), [/3 days left/])
  t.match(until(-1), [/^certificate g1: expired since .*, 1 day ago/])
  t.same(due({ removed: ['g1'] }, { notAfter: nowMs - 1 }), [], 'what was removed is not missed')
  t.same(due({ revoked: { serials: [1], identities: [] } }, { notAfter: nowMs - 1 }), [])
  t.end()
})

void t.test('the fabric document', (t) => {
  const until = (days: number, madeFor = 90): string[] =>
    due({ serial: nowMs + (days - madeFor) * dayMs, freshUntil: nowMs + days * dayMs }, {})
  t.same(until(31), [])
  t.match(until(30), [/^fabric document: fresh until .*, 30 days left \(linkspan ca fabric\)$/])
  t.match(until(-1), [/^fabric document: stale/])
  t.equal(inDays(nowMs + 1, nowMs), `until ${new Date(nowMs).toISOString().slice(0, 10)}, 1 day left`)
  t.end()
})
