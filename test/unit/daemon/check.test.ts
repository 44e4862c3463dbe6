/** Checks on the thread pool: the outcome of a check made here, in the order of the bag, and none made twice. */
import t from 'tap'
import { checked, Rejected } from '../../../agent/daemon/check.ts'
import type { CheckOptions, Gate } from '../../../agent/daemon/check.ts'
import type { Delivered } from '../../../agent/model/document.ts'
import { digestOf, kidOf, seal } from '../../../agent/trust/envelope.ts'
import { Ledger } from '../../../agent/trust/ledger.ts'
import { parseDocument } from '../../../agent/trust/parse.ts'
import {
  authorityKey,
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

const { signal } = new AbortController()
const options = (change: Partial<CheckOptions> = {}): CheckOptions => ({
  ledger: { knows: () => false },
  rejected: new Rejected(),
  isTrusted: (kid) => kid === ground.authority,
  ...change,
})

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
  t.strictSame(await checked(many, options(), signal), wanted)
  t.strictSame(await checked([], options(), signal), [])
})

void t.test('what an origin delivered before is not checked again', async (t) => {
  const ledger = new Ledger(ground)
  ledger.admit({ documents: many, complete: true, unreadable: [] }, moment)
  for (const { signed } of await checked(many, options({ ledger }), signal)) t.equal(signed, undefined)
  const [moved] = await checked([delivered(fabricDocument(), 'elsewhere.jws')], options({ ledger }), signal)
  t.match(moved?.signed, { kid: ground.authority }, 'another origin says it anew')
  const changed = delivered(fabricDocument({ serial: 2 }))
  t.match(await checked([changed], options({ ledger }), signal), [{ signed: { kid: ground.authority } }])
})

void t.test('ends when it is told to', async (t) => {
  await t.rejects(checked(many, options(), AbortSignal.abort()))
})

void t.test('what was refused is not checked again, wherever it lies', async (t) => {
  const rejected = new Rejected(2)
  let checks = 0
  const gate: Gate = {
    mayCheck: () => ++checks > 0,
    mayEnter: () => true,
    settled: () => undefined,
  }
  const junk = deliveredText('{}', 'records/a.jws')
  const [first] = await checked([junk], options({ rejected, gate }), signal)
  const [again] = await checked([{ ...junk, origin: 'records/b.jws' }], options({ rejected, gate }), signal)
  t.equal(checks, 1)
  t.match(first?.signed, { origin: 'records/a.jws', object: 'records/a.jws' })
  t.match(again?.signed, { origin: 'records/b.jws', object: 'records/b.jws', rule: 'document' })
  const spoilt = sealed(recordDocument(1))
    .toString()
    .replace(/[^.]+$/, 'A'.repeat(86))
  await checked([deliveredText('[]'), deliveredText(spoilt)], options({ rejected, gate }), signal)
  t.equal(rejected.size, 2, 'and no more is kept than that')
  await checked([junk], options({ rejected, gate }), signal)
  t.equal(checks, 4, 'the oldest is forgotten')
})

void t.test('what must wait is as it was', async (t) => {
  const gate: Gate = { mayCheck: () => false, mayEnter: () => true, settled: () => undefined }
  for (const closed of [gate, { ...gate, mayCheck: () => true, mayEnter: () => false }]) {
    const [one] = await checked([delivered(recordDocument(1))], options({ gate: closed }), signal)
    t.equal(one?.signed, undefined)
    t.equal(one?.origin, 'records/g1.jws')
  }
})

void t.test('a long document of a stranger is not read', async (t) => {
  const removed = Array.from({ length: 10_000 }, (_, i) => `gateway-${i}`)
  const long = fabricDocument({ removed })
  const stranger = keyOf('stranger')
  const kid = kidOf(stranger)
  // Its payload is none: only who reads it sees that.
  const nonsense = Buffer.from(seal('fabric', 'x'.repeat(100_000), stranger))
  const cases = [
    [delivered(long), { kid: ground.authority, document: long }],
    [delivered(long, 'x', stranger), { rule: 'authority', reason: RegExp(kid) }],
    [{ origin: 'x', bytes: nonsense }, { rule: 'authority' }],
    [spoilt(delivered(long)), { rule: 'signature' }],
    [spoilt(delivered(long, 'x', stranger)), { rule: 'signature' }],
    [
      { origin: 'x', bytes: Buffer.from(seal('fabric', 'x'.repeat(100_000), authorityKey)) },
      { rule: 'document' },
    ],
    [delivered(fabricDocument(), 'x', stranger), { kid }],
  ] as const
  for (const [one, wanted] of cases) {
    const [outcome] = await checked([one], options(), signal)
    t.match(outcome?.signed, wanted)
  }
  const isTrusted = (): boolean => true
  const [read] = await checked([delivered(long, 'x', stranger)], options({ isTrusted }), signal)
  t.match(read?.signed, { kid, document: long }, 'unless its key is trusted by now')
})

/** With another payload than was signed. */
function spoilt({ origin, bytes }: Delivered): Delivered {
  const copy = Buffer.from(bytes)
  const at = copy.length >> 1
  copy[at] = copy[at] === 0x41 ? 0x42 : 0x41
  return { origin, bytes: copy }
}

void t.test('all who check take breath together', async (t) => {
  let clock = 0
  t.intercept(performance, 'now', { value: () => clock++ })
  let [checks, longest] = [0, 0]
  const beat = (): void => {
    longest = Math.max(longest, checks)
    checks = 0
    next = setImmediate(beat)
  }
  let next = setImmediate(beat)
  const ledger = {
    knows: () => {
      checks++
      return true
    },
  }
  const some = Array.from({ length: 2000 }, (_, n) => ({ origin: `o${n}`, bytes: Buffer.from(`${n}`) }))
  const options = { ledger, rejected: new Rejected(), isTrusted: () => true }
  t.equal((await checked(some, options, new AbortController().signal)).length, 2000)
  clearImmediate(next)
  t.ok(longest > 0 && longest < 80, `${longest} in one turn of the loop`)
})
