/** Of many others a text names a few. */
import t from 'tap'
import { Ledger } from '../../../agent/trust/ledger.ts'
import { others } from '../../../agent/trust/others.ts'
import { verify } from '../../../agent/trust/verify.ts'
import {
  certificateDocument,
  delivered,
  fabricDocument,
  ground,
  moment,
  recordDocument,
  tunnelKeysOf,
} from '../../support/documents.ts'

void t.test('a few and a number', (t) => {
  t.equal(others(['a', 'b'], 'a'), 'b')
  t.equal(others(['a', 'b', 'c', 'd'], 'b'), 'a, c, d')
  t.equal(others(['a', 'b', 'c', 'd', 'e'], 'e'), 'a, b, c and 1 more')
  t.equal(others(['a', 'b', 'c', 'd', 'e', 'f'], 'a'), 'b, c, d and 2 more')
  t.equal(others(['a', 'b', 'c', 'd'], 'x'), 'a, b, c')
  t.end()
})

void t.test('a hundred gateways with one tunnel key say no more than a hundred times as much', (t) => {
  const many = 100
  const tunnelKeys = tunnelKeysOf('copied')
  const numbers = Array.from({ length: many }, (_, i) => i + 1)
  const documents = [
    fabricDocument(),
    ...numbers.flatMap((n) => [certificateDocument(n), recordDocument(n, { tunnelKeys })]),
  ].map((one) => delivered(one))
  const ledger = new Ledger(ground)
  const { refusals } = ledger.admit({ documents, complete: true, unreadable: [] }, moment)
  t.strictSame(refusals, verify(documents, { ...ground, moment }).refusals)
  t.equal(refusals.length, many * Object.keys(tunnelKeys).length)
  t.match(
    refusals.find(({ gateway }) => gateway === 'g50'),
    { reason: 'g1, g10, g100 and 96 more has the same tunnel key, so neither counts' },
  )
  t.ok(refusals.every(({ reason }) => reason.length < 120))
  t.end()
})
