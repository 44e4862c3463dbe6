/** Documents that wait: what wakes them, and how much of them is kept. */
import t from 'tap'
import type { Arrival } from '../../../agent/trust/waiting.ts'
import { Waiting } from '../../../agent/trust/waiting.ts'
import { isRefusal, readAgain } from '../../../agent/trust/parse.ts'
import { delivered, recordDocument, signed } from '../../support/documents.ts'

function waitingOf(mostBytes: number): { waiting: Waiting; dropped: string[] } {
  const dropped: string[] = []
  const waiting = new Waiting({
    mostBytes,
    read: (origin, bytes) => {
      const parsed = readAgain({ origin, bytes })
      return isRefusal(parsed) ? undefined : parsed
    },
    onDrop: (origin) => dropped.push(origin),
  })
  return { waiting, dropped }
}

function arrival(n: number): Arrival {
  const document = recordDocument(n)
  return { ...delivered(document), signed: signed(document) }
}

void t.test('what was woken is taken once, as it came', (t) => {
  const { waiting } = waitingOf(1_000_000)
  for (const n of [1, 2, 3]) waiting.add(arrival(n), [`gateway g${n}`, 'freshness'])
  t.strictSame([...waiting.take('record')], [])
  waiting.wake('gateway g2')
  waiting.wake('gateway g9')
  t.strictSame([...waiting.take('certificate')], [])
  t.strictSame([...waiting.take('record')], [arrival(2)])
  waiting.wake('freshness')
  waiting.delete('records/g1.jws')
  t.strictSame([...waiting.take('record')], [arrival(3)])
  t.equal(waiting.bytes, 0)
  t.end()
})

void t.test('no more is kept than there is room for', (t) => {
  const { waiting, dropped } = waitingOf(2.5 * delivered(recordDocument(1)).bytes.length)
  waiting.add(arrival(1), ['a'], true)
  for (const n of [2, 3, 4]) waiting.add(arrival(n), ['a'])
  t.strictSame(dropped, ['records/g2.jws'], 'the oldest goes, but for what others are judged by')
  waiting.wake('a')
  t.strictSame(
    [...waiting.take('record')].map(({ origin }) => origin),
    ['records/g1.jws', 'records/g3.jws', 'records/g4.jws'],
  )
  t.end()
})
