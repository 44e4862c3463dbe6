/** Path MTU discovery of one path, verdict by verdict. */
import t from 'tap'
import {
  anewMtu,
  askMtu,
  beginMtu,
  dueMs,
  foundMtu,
  judgeMtu,
  lowReason,
  triesOf,
  withDocuments,
} from '../../../agent/probe/mtu.ts'
import type { PathMtu } from '../../../agent/probe/mtu.ts'
import type { TrialVerdict } from '../../../agent/probe/port.ts'

const confirmMs = 10_000

/** The trials of a path that carries `truth`, until `untilMs`: what was asked and what held afterwards. */
function run(
  mtu: PathMtu,
  truth: number,
  untilMs: number,
  tell?: TrialVerdict,
): { mtu: PathMtu; sizes: number[] } {
  const sizes: number[] = []
  let state = mtu
  for (let now = dueMs(state, 60_000); now < untilMs; now = dueMs(state, 60_000)) {
    const next = askMtu(state, now)
    sizes.push(next.asked.size)
    const verdict = tell ?? (next.asked.size <= truth ? 'answered' : 'lost')
    state = judgeMtu(next, next.trial, verdict, confirmMs, now + (verdict === 'lost' ? 1800 : 1))
  }
  return { mtu: state, sizes }
}

const begun = (documents = 1440, found?: number): PathMtu => beginMtu(documents, found, confirmMs, 0)

void t.test('what documents say is confirmed, and again', (t) => {
  const { mtu, sizes } = run(begun(), 1440, 35_000)
  t.same(sizes, [1440, 1440, 1440, 1440])
  t.equal(foundMtu(mtu), undefined)
  t.equal(lowReason(mtu), undefined)
  t.end()
})

void t.test('what is lost is left at once, and what passes is found in few steps and raised once', (t) => {
  const first = askMtu(begun(), 0)
  const lost = judgeMtu(first, first.trial, 'lost', confirmMs, 1800)
  t.match([lost.phase, lost.plpmtu, lost.dueMs], ['base', 1280, 1800])
  t.match(lowReason(lost), /packets of 1440 bytes get lost on the way; it is tried what passes/)
  const { mtu, sizes } = run(begun(), 1340, 15_000)
  t.same(sizes, [1440, 1280, 1360, 1312, 1328, 1344, 1328, 1328, 1328])
  t.match(mtu, { phase: 'complete', plpmtu: 1328 })
  t.equal(lowReason(mtu), 'packets of more than 1328 bytes get lost on the way, documents say 1440')
  t.end()
})

void t.test('smaller bases, and what IPv6 has of it', (t) => {
  const { mtu, sizes } = run(begun(), 1100, 25_000)
  t.same(sizes.slice(0, 4), [1440, 1280, 1200, 1024])
  t.equal(mtu.plpmtu, 1088)
  t.match(lowReason(mtu), /of IPv6 only TCP passes/)
  const none = run(begun(), 100, 60_000)
  t.match(none.mtu, { phase: 'error', plpmtu: 576 })
  t.match(lowReason(none.mtu), /not even packets of 576 bytes/)
  t.equal(run(none.mtu, 1440, 80_000).mtu.plpmtu, 1440, 'all is asked for anew')
  t.end()
})

void t.test('jumbo frames that do not get through are ordinary ones first', (t) => {
  const { mtu, sizes } = run(begun(8440), 1440, 60_000)
  t.same(sizes.slice(0, 3), [8440, 1280, 1408])
  t.equal(mtu.plpmtu, 1440)
  t.ok(sizes.length < 22, `${sizes.length} trials`)
  t.end()
})

void t.test('more is asked for in time, and given after several answers in a row', (t) => {
  const low = run(begun(), 1340, 25_000).mtu
  const early = run(low, 1440, low.raiseMs - 1)
  t.equal(foundMtu(early.mtu), 1328, 'not before')
  t.same(new Set(early.sizes), new Set([1328]))
  const late = run(early.mtu, 1440, low.raiseMs + confirmMs + 3000)
  t.same(late.sizes.slice(0, 4), [1328, 1440, 1440, 1440], 'what holds goes first')
  t.equal(foundMtu(late.mtu), undefined)
  // Once in a while is no raise.
  let flaky = early.mtu
  for (const [size, verdict] of [
    [1328, 'answered'],
    [1440, 'answered'],
    [1440, 'answered'],
    [1440, 'lost'],
  ] as const) {
    const next = askMtu(flaky, Math.max(dueMs(flaky, 60_000), low.raiseMs))
    t.equal(next.asked.size, size)
    flaky = judgeMtu(next, next.trial, verdict, confirmMs, next.asked.sinceMs + 1)
  }
  t.equal(flaky.plpmtu, 1328)
  t.match(run(flaky, 1328, low.raiseMs + 60_000).mtu, { phase: 'complete', plpmtu: 1328 }, 'the search ends')
  t.end()
})

void t.test('no verdict changes nothing, and is asked for again, ever less', (t) => {
  for (const verdict of ['void', 'too-big'] as const) {
    const { mtu, sizes } = run(begun(), 1440, 60_000, verdict)
    t.equal(foundMtu(mtu), undefined)
    t.ok(sizes.length >= 8 && sizes.length <= 10, `${sizes.length} trials`)
  }
  const first = askMtu(begun(), 0)
  t.equal(judgeMtu(first, first.trial + 1, 'lost', confirmMs, 5), first, 'a verdict on another trial')
  const idle = begun()
  t.equal(judgeMtu(idle, 0, 'lost', confirmMs, 5), idle, 'or on none')
  t.equal(dueMs(first, 60_000), 60_000, 'one that does not come is not waited for')
  t.end()
})

void t.test('what our own device does not take is nothing to search for', (t) => {
  const low = run(begun(), 1340, 25_000).mtu
  const base = { ...low, raiseMs: low.dueMs }
  const confirm = askMtu(base, base.dueMs)
  const search = judgeMtu(confirm, confirm.trial, 'answered', confirmMs, confirm.asked.sinceMs)
  const next = askMtu(search, search.dueMs)
  t.match(judgeMtu(next, next.trial, 'too-big', confirmMs, search.dueMs), { plpmtu: 1328, high: 1440 })
  t.end()
})

void t.test('another path, or other documents', (t) => {
  const low = run(begun(), 1340, 25_000).mtu
  const anew = anewMtu(low, 30_000)
  t.same(run(anew, 1440, 33_000).sizes, [1328, 1440, 1440, 1440])
  t.equal(withDocuments(low, 1440, confirmMs, 30_000), low)
  t.match(withDocuments(low, 1320, confirmMs, 30_000), { plpmtu: 1320, max: 1320, dueMs: 30_000 })
  t.match(withDocuments(low, 8440, confirmMs, 30_000), { plpmtu: 1328, max: 8440 })
  t.match(withDocuments(begun(), 8440, confirmMs, 30_000), { plpmtu: 8440, max: 8440 })
  t.ok(withDocuments(low, 1400, confirmMs, 30_000).trial >= low.trial, 'numbers of trials go on')
  t.equal(foundMtu(begun(9500)), undefined, 'more than can be asked about')
  t.same(run(begun(9500), 9500, 1).sizes, [9216])
  t.equal(foundMtu(begun(1440, 1328)), 1328, 'what an earlier run found')
  t.equal(foundMtu(begun(1300, 1328)), undefined)
  t.end()
})

void t.test('the more are lost by chance, the more are sent', (t) => {
  const { phase, ...rest } = begun()
  const of = (loss: number | undefined, one: PathMtu['phase'] = phase): number =>
    triesOf({ phase: one, ...rest }, loss)
  t.same(
    [0, 0.1, 0.2, 0.4, 0.9].map((loss) => of(loss)),
    [6, 9, 12, 20, 23],
  )
  t.equal(of(undefined), 12, 'of a path that is new nothing is known')
  t.equal(of(0, 'search'), 3)
  for (const loss of [0.01, 0.05, 0.1, 0.2]) t.ok(loss ** of(loss) < 2e-7, `${loss}`)
  t.end()
})
