/** Names to numbers and back, against a native side that only notes what it is told. */
import t from 'tap'
import { address } from '../../../agent/model/prefix.ts'
import { startProbes } from '../../../agent/probe/engine.ts'
import type { NativeProbes } from '../../../agent/probe/engine.ts'
import type { PathNews, ProbedPath, Report } from '../../../agent/probe/port.ts'
import { rowColumn, rowLength, trialBytes, wishBytes } from '../../../agent/probe/wire.ts'

const profile = { intervalMs: 200, retryMs: 60, downAfter: 10 }
const word = { draining: true, notForwarding: false, weight: 3, serial: 5 }
const path: ProbedPath = { id: 'b/internet', device: 'ls-wg8', address: address('fe80::102'), profile }

type Deliver = (news: Float64Array | null, report: Float64Array | null) => void

function begin(): {
  readonly engine: ReturnType<typeof startProbes>
  readonly wishes: Uint8Array[]
  readonly orders: Uint8Array[]
  readonly verdicts: string[]
  readonly words: number[][]
  readonly news: PathNews[]
  readonly reports: Report[]
  readonly deliver: Deliver
} {
  const wishes: Uint8Array[] = []
  const orders: Uint8Array[] = []
  const verdicts: string[] = []
  const words: number[][] = []
  const news: PathNews[] = []
  const reports: Report[] = []
  let deliver: Deliver = () => undefined
  const native: NativeProbes = {
    probeStart: (_, callback) => {
      deliver = callback
      return {}
    },
    probePaths: (_, bytes) => wishes.push(bytes),
    probeTrials: (_, bytes) => orders.push(bytes),
    probeWord: (_, ...rest) => words.push(rest),
    probeCounters: () => Array.from({ length: 14 }, (_, i) => i * 1e6),
    probeStop: () => undefined,
  }
  const engine = startProbes(native, 18620, word, {
    onChange: (one) => news.push(one),
    onReport: (one) => reports.push(one),
    onVerdict: (...one) => verdicts.push(one.join(' ')),
  })
  return {
    engine,
    wishes,
    orders,
    verdicts,
    words,
    news,
    reports,
    deliver: (...rest) => {
      deliver(...rest)
    },
  }
}

/** id, epoch, state, cause, since, changes, word known, flags, weight, serial, then figures. */
function row(...values: readonly number[]): number[] {
  return Array.from({ length: rowLength }, (_, i) => values[i] ?? i)
}

function numbers(bytes: Uint8Array, at: number): number[] {
  return [...new Uint32Array(bytes.buffer, at * wishBytes, 2)]
}

void t.test('a path is written as the thread reads it', (t) => {
  const { engine, wishes, words } = begin()
  t.same(words, [[1, 3, 5]])
  engine.setPaths([path, { ...path, id: 'four', address: address('100.127.0.2') }])
  const bytes = wishes[0] ?? new Uint8Array(0)
  t.equal(bytes.length, 2 * wishBytes)
  const u32 = [...new Uint32Array(bytes.buffer)]
  t.same(u32.slice(0, 3), [1, 1, 6])
  t.same([...bytes.subarray(12, 28)], [0xfe, 0x80, ...Array.from({ length: 12 }, () => 0), 1, 2])
  t.equal(Buffer.from(bytes.subarray(28, 44)).toString(), 'ls-wg8'.padEnd(16, '\0'))
  t.same(u32.slice(11, 18), [200, 60, 10, 5, 5, 1000, 60_000])
  t.same(u32.slice(18, 21), [2, 2, 4])
  t.same([...bytes.subarray(wishBytes + 12, wishBytes + 18)], [100, 127, 0, 2, 0, 0])
  t.end()
})

void t.test('echo requests go along in time, whatever the profile', (t) => {
  const { engine, wishes } = begin()
  for (const downAfter of [1, 2, 6, 10, 50])
    engine.setPaths([{ ...path, profile: { ...profile, downAfter } }])
  t.same(
    wishes.map((bytes) => new Uint32Array(bytes.buffer)[14]),
    [1, 1, 3, 5, 5],
  )
  t.end()
})

void t.test('a path keeps its number, and gets a new epoch with a new place', (t) => {
  const { engine, wishes, news, deliver } = begin()
  engine.setPaths([path])
  engine.setPaths([{ ...path, profile: { ...profile, downAfter: 6 } }])
  engine.setPaths([{ ...path, device: 'ls-wg9' }])
  engine.setPaths([])
  engine.setPaths([path])
  t.same(
    wishes.filter(({ length }) => length > 0).map((bytes) => numbers(bytes, 0)),
    [
      [1, 1],
      [1, 1],
      [1, 2],
      [2, 3],
    ],
  )
  deliver(Float64Array.from([...row(1, 1, 3, 2), ...row(2, 2, 3, 2), ...row(2, 3, 1, 1, 70.5, 4, 0)]), null)
  t.same(news, [{ id: 'b/internet', state: 'up', cause: 'answered', sinceMs: 70.5, changes: 4 }])
  t.end()
})

void t.test('news and reports are read by column', (t) => {
  const { engine, news, reports, deliver } = begin()
  engine.setPaths([path])
  deliver(
    Float64Array.from(row(1, 1, 2, 3, 9, 2, 1, 2, 7, 99)),
    Float64Array.from([...row(1, 1), ...row(5, 5)]),
  )
  t.match(news, [
    {
      state: 'silent',
      cause: 'echo-only',
      word: { draining: false, notForwarding: true, weight: 7, serial: 99 },
    },
  ])
  const [report] = reports
  t.same(
    [report?.rows, report?.idOf(0), report?.idOf(1), report?.newsOf(1)],
    [2, 'b/internet', undefined, undefined],
  )
  t.same([report?.value(0, 'lastSeenMs'), report?.value(0, 'sent'), report?.value(0, 'rttMs')], [10, 11, 19])
  t.match(engine.counters(), { reflected: 0, malformed: 1e6, wakeups: 11e6, cpuMs: 12 })
  engine.stop()
  deliver(Float64Array.from(row(1, 1, 1)), Float64Array.from(row(1, 1)))
  t.same([news.length, reports.length], [1, 1], 'nothing after stop()')
  t.end()
})

void t.test('what cannot be carried is refused, and changes nothing', (t) => {
  const { engine, wishes, words } = begin()
  for (const [wrong, reason] of [
    [{ ...path, device: '' }, /no device/],
    [{ ...path, device: 'sixteen-letters-' }, /no device/],
    [{ ...path, device: 'a/b' }, /no device/],
    [{ ...path, profile: { ...profile, intervalMs: 0 } }, /intervalMs is 0/],
    [{ ...path, profile: { ...profile, retryMs: 1.5 } }, /retryMs/],
    [{ ...path, profile: { ...profile, holdMs: 1e9 } }, /holdMs/],
  ] as const) {
    t.throws(
      () => {
        engine.setPaths([wrong])
      },
      { code: 'config-invalid', object: 'path b/internet', reason },
    )
  }
  t.throws(
    () => {
      engine.setPaths([path, path])
    },
    { code: 'internal', reason: 'it is named twice' },
  )
  for (const wrong of [{ weight: -1 }, { weight: 65_536 }, { serial: -1 }, { serial: 2 ** 53 }]) {
    t.throws(
      () => {
        engine.setWord({ ...word, ...wrong })
      },
      { code: 'internal' },
    )
  }
  t.same([wishes.length, words.length], [0, 1])
  t.throws(
    () => startProbes({} as NativeProbes, 0, word, { onChange: () => undefined, onReport: () => undefined }),
    {
      code: 'config-invalid',
      object: 'probe.port',
    },
  )
  t.end()
})

void t.test('a trial is ordered by number, and its verdict told by name, once', (t) => {
  const { engine, orders, news, verdicts, deliver } = begin()
  const decided = (trial: number, verdict: number, ...values: readonly number[]): number[] => {
    const one = row(...values)
    one[rowColumn.trial] = trial
    one[rowColumn.verdict] = verdict
    return one
  }
  engine.setPaths([path])
  engine.ask([
    { id: 'nobody', trial: 1, size: 1400, tries: 6 },
    { id: path.id, trial: 2 ** 32 + 7, size: 1440, tries: 12 },
  ])
  t.equal(orders[0]?.length, trialBytes)
  t.same([...new Uint32Array(orders[0]?.buffer ?? new ArrayBuffer(0))], [1, 1, 7, 1440, 12])
  const up = [1, 1, 1, 1, 70, 1, 0] as const
  deliver(Float64Array.from(decided(0, 0, ...up)), null)
  t.same([news.length, verdicts], [1, []])
  deliver(Float64Array.from(decided(7, 2, ...up)), null)
  t.same([news.length, verdicts], [1, [`${path.id} 7 lost`]], 'a verdict alone is no change')
  deliver(Float64Array.from(decided(7, 2, 1, 1, 3, 2, 80, 2, 0)), null)
  t.same([news.length, verdicts.length], [2, 1], 'nor is it told again with the next change')
  deliver(Float64Array.from(decided(8, 1, 1, 1, 1, 1, 90, 3, 0)), null)
  t.same([news.length, verdicts.at(-1)], [3, `${path.id} 8 answered`], 'both at once')
  for (const verdict of [3, 4]) deliver(Float64Array.from(decided(10 + verdict, verdict, ...up)), null)
  t.same(verdicts.slice(2), [`${path.id} 13 too-big`, `${path.id} 14 void`])
  t.end()
})
