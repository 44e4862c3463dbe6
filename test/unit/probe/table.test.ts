/** The table of paths: news and reports in, a path state out. */
import t from 'tap'
import type { PathNews, ProbeState, Report, ReportColumn } from '../../../agent/probe/port.ts'
import { pathId } from '../../../agent/probe/known-paths.ts'
import { PathTable } from '../../../agent/probe/table.ts'
import type { NamedPath } from '../../../agent/probe/table.ts'

function named(gateway: string, underlay = 'wan'): NamedPath {
  return { gateway, site: `site-${gateway}`, underlay, device: 'ls-wg0' }
}

const a = named('a')
const aDx = named('a', 'dx')
const b = named('b')

function news(path: NamedPath, state: ProbeState, more: Partial<PathNews> = {}): PathNews {
  return { id: pathId(path), state, cause: 'none', sinceMs: 1, changes: 1, ...more }
}

function report(rows: readonly (readonly [NamedPath, Partial<Record<ReportColumn, number>>])[]): Report {
  return {
    rows: rows.length,
    idOf: (row) => {
      const found = rows[row]
      return found === undefined ? undefined : pathId(found[0])
    },
    value: (row, column) => rows[row]?.[1][column] ?? 0,
    newsOf: () => undefined,
  }
}

function tableOf(...paths: readonly NamedPath[]): PathTable {
  const table = new PathTable()
  table.name(paths, 0)
  return table
}

const quick = { rttMs: 5, answered: 5 }

void t.test('unknown is fit, and what is said is what plan sees', (t) => {
  const table = tableOf(a, b)
  const before = table.state
  t.equal(before.standingOf('a', 'wan', 0), 'fit')
  table.tell(news(a, 'up'))
  t.same(table.settle(), [], 'nothing that plan would see')
  t.equal(table.state, before, 'the same object')
  table.tell(news(a, 'down'))
  t.match(table.settle(), [{ entry: { gateway: 'a' }, before: { standing: 'fit' } }])
  t.equal(table.state.standingOf('a', 'wan', 0), 'down')
  t.equal(table.state.standingOf('b', 'wan', 0), 'fit')
  t.equal(before.standingOf('a', 'wan', 0), 'fit', 'a state that was given out stays as it is')
  t.equal(table.tell(news(named('c'), 'down')), undefined, 'nobody asked')
  t.end()
})

void t.test('what is named again keeps what is known, what is not named goes', (t) => {
  const table = tableOf(a, b)
  table.tell(news(a, 'down'))
  table.tell(news(b, 'down'))
  table.name([a], 5)
  t.equal(table.state.standingOf('a', 'wan', 0), 'down')
  t.equal(table.state.standingOf('b', 'wan', 0), 'fit')
  t.same([...table.memory.standings], [['a wan', 'down']])
  t.end()
})

void t.test('loss is measured while the path is up, and forgotten when it comes back', (t) => {
  const table = tableOf(a)
  table.tell(news(a, 'up'))
  for (let i = 0; i < 20; i++) table.report(report([[a, { answered: 6, unanswered: 4, rttMs: 3 }]]))
  table.settle()
  t.equal(table.state.standingOf('a', 'wan', 0), 'degraded')
  table.tell(news(a, 'down'))
  table.report(report([[a, { unanswered: 15 }]]))
  table.settle()
  t.equal(table.state.standingOf('a', 'wan', 0), 'down')
  table.tell(news(a, 'up'))
  table.settle()
  t.equal(table.state.standingOf('a', 'wan', 0), 'fit', 'what was lost while it was down is history')
  t.end()
})

void t.test('a gateway’s own word: its weight, and that it drains', (t) => {
  const table = tableOf(a)
  t.equal(table.state.weightOf('a'), undefined)
  table.tell(news(a, 'up', { word: { draining: true, notForwarding: false, weight: 7, serial: 3 } }))
  table.settle()
  t.equal(table.state.weightOf('a'), 7)
  t.equal(table.state.standingOf('a', 'wan', 0), 'draining')
  table.tell(news(a, 'silent'))
  table.settle()
  t.equal(table.state.standingOf('a', 'wan', 0), 'draining', 'its last word holds')
  t.end()
})

void t.test('the quicker underlay goes first, with a dead band', (t) => {
  const table = tableOf(a, aDx)
  for (const path of [a, aDx]) table.tell(news(path, 'up'))
  const ranks = (wan: number, dx: number): string => {
    table.report(
      report([
        [a, { ...quick, rttMs: wan }],
        [aDx, { ...quick, rttMs: dx }],
      ]),
    )
    table.settle()
    return `${table.state.rankOf('a', 'wan')}${table.state.rankOf('a', 'dx')}`
  }
  t.equal(ranks(20, 30), '01')
  t.equal(ranks(20, 16), '01', 'not by enough to move')
  t.equal(ranks(20, 10), '10')
  t.equal(ranks(20, 23), '10', 'nor back')
  t.equal(ranks(20, 40), '01')
  table.tell(news(a, 'down'))
  t.equal(ranks(0, 40), '10', 'who is down leads nobody')
  t.end()
})

void t.test('what an earlier run knew holds until there is news', (t) => {
  const table = new PathTable({ standings: new Map([['a wan', 'down']]), proven: new Map(), mtus: new Map() })
  t.equal(table.state.standingOf('a', 'wan', 0), 'down', 'before anything is named')
  table.name([a, b], 0)
  t.equal(table.state.standingOf('a', 'wan', 0), 'down')
  table.tell(news(a, 'up'))
  table.settle()
  t.equal(table.state.standingOf('a', 'wan', 0), 'fit')
  t.end()
})

void t.test('a path never heard goes by its handshake; one that was down before, by a new one only', (t) => {
  const down = new PathTable({ standings: new Map([['a wan', 'down']]), proven: new Map(), mtus: new Map() })
  const fresh = tableOf(a)
  down.name([a], 0)
  for (const table of [down, fresh]) {
    table.tell(news(a, 'down'))
    table.handshake(a, 20_000, 5000)
    table.settle()
  }
  t.equal(fresh.state.standingOf('a', 'wan', 0), 'silent', 'something drops probes and echo requests')
  t.equal(down.state.standingOf('a', 'wan', 0), 'down', 'an old handshake proves nothing')
  down.handshake(a, 1000, 8000)
  down.settle()
  t.equal(down.state.standingOf('a', 'wan', 0), 'silent')
  fresh.handshake(a, 200_000, 300_000)
  fresh.settle()
  t.equal(fresh.state.standingOf('a', 'wan', 0), 'down')
  t.end()
})

void t.test('an underlay may ask for less loss, or allow more, and bound the round trip', (t) => {
  const strict = { ...named('a'), times: { lossPercent: 2 } }
  const lax = { ...named('b'), times: { lossPercent: 60 } }
  const far = { ...named('c'), times: { latencyMs: 50 } }
  const table = tableOf(strict, lax, far)
  for (const path of [strict, lax, far]) table.tell(news(path, 'up'))
  for (let i = 0; i < 40; i++) {
    table.report(
      report([
        [strict, { answered: 95, unanswered: 5, rttMs: 80 }],
        [lax, { answered: 6, unanswered: 4, rttMs: 80 }],
        [far, { answered: 5, rttMs: 80 }],
      ]),
    )
  }
  table.settle()
  const standings = ['a', 'b', 'c'].map((gateway) => table.state.standingOf(gateway, 'wan', 0))
  t.same(standings, ['degraded', 'fit', 'degraded'])
  t.match(table.entryOf('c', 'wan', 0)?.verdict.reasons, ['round trips take 80 ms'])
  table.name([named('a'), lax, named('c')], 5)
  for (let i = 0; i < 40; i++)
    table.report(
      report([
        [a, { answered: 95, unanswered: 5, rttMs: 80 }],
        [far, { answered: 5, rttMs: 80 }],
      ]),
    )
  table.settle()
  t.equal(table.state.standingOf('a', 'wan', 0), 'fit', 'another document, other demands')
  t.equal(table.state.standingOf('c', 'wan', 0), 'fit')
  t.end()
})
