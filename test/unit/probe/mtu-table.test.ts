/** Path MTU discovery of many paths: who is asked when. */
import t from 'tap'
import { MtuTable } from '../../../agent/probe/mtu-table.ts'
import type { MtuPath } from '../../../agent/probe/mtu-table.ts'
import type { SizeTrial } from '../../../agent/probe/port.ts'

function path(gateway: string, change: Partial<MtuPath> = {}): MtuPath {
  return {
    id: `${gateway} wan`,
    gateway,
    underlay: 'wan',
    mtu: 1440,
    intervalMs: 200,
    ground: '192.0.2.2',
    ...change,
  }
}

function tableOf(...paths: readonly MtuPath[]): MtuTable {
  const table = new MtuTable()
  table.name(paths, 0)
  return table
}

const due = (table: MtuTable, nowMs: number, most = 32): readonly SizeTrial[] =>
  table.due(nowMs, most, () => 0)
const found = (table: MtuTable): Record<string, number> =>
  Object.fromEntries([...table.views()].map(([id, { mtu }]) => [id, mtu]))

/** Lost once, and nothing after it. */
function lower(table: MtuTable, nowMs: number): void {
  for (const { id, trial } of due(table, nowMs)) table.judge(id, trial, 'lost', nowMs)
}

void t.test('only paths that are up are asked, and those that are due together go together', (t) => {
  const table = tableOf(path('a'), path('b'), path('c'))
  t.equal(table.nextMs(), Infinity)
  table.stand('a wan', true, 100)
  table.stand('b wan', true, 900)
  t.same(
    due(table, 1000).map(({ id, size, tries }) => [id, size, tries]),
    [
      ['a wan', 1440, 12],
      ['b wan', 1440, 12],
    ],
  )
  t.same(due(table, 1001), [], 'one at a time')
  t.equal(table.judge('a wan', 1, 'answered', 1001), undefined, 'nothing to be told')
  table.judge('b wan', 1, 'answered', 1900)
  t.equal(table.nextMs(), 11_001)
  t.equal(due(table, 11_000).length, 0)
  t.equal(due(table, 11_001).length, 2, 'b goes before its time')
  table.stand('a wan', false, 11_002)
  t.equal(table.judge('a wan', 2, 'lost', 11_003), undefined, 'it is down')
  t.equal(found(table)['a wan'], 1440)
  table.rest(12_000)
  t.equal(table.nextMs(), Infinity)
  t.end()
})

void t.test('thousands do not begin at once', (t) => {
  const many = Array.from({ length: 100 }, (_, i) => path(`g${i}`))
  const table = tableOf(...many)
  for (const { id } of many) table.stand(id, true, 0)
  const rounds = [0, 100, 200, 300].map((ms) => due(table, ms).map(({ id }) => id))
  t.same(
    rounds.map(({ length }) => length),
    [32, 32, 32, 4],
  )
  t.equal(due(table, 400).length, 0)
  t.equal(new Set(rounds.flat()).size, 100)
  t.end()
})

void t.test('what is found is told once, with the reason', (t) => {
  const table = tableOf(path('a'))
  table.stand('a wan', true, 0)
  due(table, 0)
  t.match(table.judge('a wan', 1, 'lost', 1800), {
    path: { gateway: 'a' },
    before: 1440,
    view: { mtu: 1280, documents: 1440, reason: /1440 bytes get lost/ },
  })
  t.same(found(table), { 'a wan': 1280 })
  t.equal(table.judge('a wan', 1, 'lost', 1801), undefined)
  t.equal(table.judge('x wan', 1, 'lost', 1801), undefined)
  t.end()
})

void t.test('off, and on again', (t) => {
  const table = tableOf(path('a'))
  table.stand('a wan', true, 0)
  lower(table, 0)
  table.name([path('a', { mtuMs: 0 })], 10)
  t.same([found(table), table.nextMs()], [{ 'a wan': 1440 }, Infinity])
  table.name([path('a', { mtuMs: 1000 })], 20)
  t.same([found(table), table.nextMs()], [{ 'a wan': 1280 }, 20])
  t.match(due(table, 20), [{ trial: 2 }], 'numbers of trials go on')
  t.end()
})

void t.test('an earlier run, a lane beside it, another end, and back from down', (t) => {
  const table = new MtuTable(new Map([['a wan', 1328]]))
  table.name([path('a')], 0)
  t.same(found(table), { 'a wan': 1328 })
  table.stand('a wan', true, 0)
  for (const { id, trial } of due(table, 0)) table.judge(id, trial, 'answered', 1)
  t.equal(table.nextMs(), 10_001)
  const lane = path('a', { id: 'a wan 2' })
  table.name([path('a'), lane, path('a', { id: 'a dx', underlay: 'dx' })], 10)
  t.same(found(table), { 'a wan': 1328, 'a wan 2': 1328, 'a dx': 1440 })
  table.name([lane], 20)
  t.same(found(table), { 'a wan 2': 1328 })
  table.name([path('a')], 30)
  table.stand('a wan', true, 30)
  for (const { id, trial } of due(table, 30)) table.judge(id, trial, 'answered', 31)
  table.name([path('a', { ground: '192.0.2.3' })], 40)
  t.equal(table.nextMs(), 40)
  for (const { id, trial } of due(table, 40)) table.judge(id, trial, 'answered', 41)
  t.match(due(table, 41), [{ size: 1440 }], 'it may carry more')
  table.stand('a wan', false, 50)
  table.stand('a wan', true, 5000)
  t.equal(table.nextMs(), 5000)
  t.match(due(table, 5000), [{ size: 1440 }])
  table.name([], 6000)
  table.name([path('a')], 6001)
  t.same(
    found(table),
    { 'a wan': 1440 },
    'a path that is new is believed, whatever was found of one of its name',
  )
  t.end()
})
