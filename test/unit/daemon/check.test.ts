/** Checks on the thread pool: the outcome of a check made here, in the order of the bag, and none made twice. */
import t from 'tap'
import { checked } from '../../../agent/daemon/check.ts'
import type { Delivered } from '../../../agent/model/document.ts'
import { digestOf } from '../../../agent/trust/envelope.ts'
import { Ledger } from '../../../agent/trust/ledger.ts'
import { parseDocument } from '../../../agent/trust/parse.ts'
import {
  certificateDocument,
  delivered,
  deliveredText,
  fabricDocument,
  ground,
  keyOf,
  moment,
  recordDocument,
  sealed,
} from '../../support/documents.ts'

const none = { knows: () => false }
const { signal } = new AbortController()

/** More than one portion of them. */
const many: readonly Delivered[] = [
  delivered(fabricDocument()),
  deliveredText('{}'),
  deliveredText(
    sealed(recordDocument(1))
      .toString()
      .replace(/[^.]+$/, 'A'.repeat(86)),
    'forged.jws',
  ),
  ...Array.from({ length: 150 }, (_, i) => delivered(certificateDocument(i + 1))),
  delivered(recordDocument(1), undefined, keyOf('stranger')),
]

void t.test('as parsed one by one', async (t) => {
  const wanted = many.map((each) => ({ ...each, digest: digestOf(each.bytes), signed: parseDocument(each) }))
  t.strictSame(await checked(many, none, signal), wanted)
  t.strictSame(await checked([], none, signal), [])
})

void t.test('what an origin delivered before is not checked again', async (t) => {
  const ledger = new Ledger(ground)
  ledger.admit({ documents: many, complete: true, unreadable: [] }, moment)
  for (const { signed } of await checked(many, ledger, signal)) t.equal(signed, undefined)
  const [moved] = await checked([delivered(fabricDocument(), 'elsewhere.jws')], ledger, signal)
  t.match(moved?.signed, { kid: ground.authority }, 'another origin says it anew')
  const changed = delivered(fabricDocument({ serial: 2 }))
  t.match(await checked([changed], ledger, signal), [{ signed: { kid: ground.authority } }])
})

void t.test('ends when it is told to', async (t) => {
  await t.rejects(checked(many, none, AbortSignal.abort()))
})
