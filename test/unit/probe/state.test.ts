import t from 'tap'
import {
  defaultThresholds,
  measure,
  rank,
  reportsUntil,
  standingOf,
  unmeasured,
} from '../../../agent/probe/state.ts'
import type { Evidence, Measurement, Quality, Thresholds } from '../../../agent/probe/state.ts'

const well: Evidence = { probe: 'up', everAnswered: true, handshakeAgeMs: 20_000, serial: 10 }

function second(lost: number, rttMs = 10): Measurement {
  return { answered: 10 - lost, unanswered: lost, late: 0, rttMs }
}

function after(reports: readonly Measurement[], thresholds: Thresholds = defaultThresholds): Quality {
  return reports.reduce((quality, report) => measure(quality, report, thresholds), unmeasured)
}

const times = (count: number, report: Measurement): Measurement[] =>
  Array.from({ length: count }, () => report)

void t.test('a path that answers is up and fit', (t) => {
  t.same(standingOf(well, unmeasured), {
    condition: 'up',
    rank: rank.fit,
    reasons: [],
    blocked: false,
    withheld: false,
  })
  t.match(standingOf({ ...well, probe: 'unknown' }, unmeasured), { condition: 'unknown', rank: rank.fit })
  t.end()
})

void t.test('loss degrades after some reports, and holds until it is well below', (t) => {
  const bad = times(20, second(4))
  t.match(standingOf(well, after(bad)), {
    condition: 'degraded',
    rank: rank.degraded,
    reasons: [/^\d+ % of probes are lost$/],
  })
  t.equal(standingOf(well, after(times(1, second(10)))).condition, 'up', 'one bad second is not enough')
  const recovering = [...bad, ...times(4, second(0))]
  t.equal(standingOf(well, after(recovering)).condition, 'degraded')
  t.equal(standingOf(well, after([...bad, ...times(40, second(0))])).condition, 'up')
  // Between half of the threshold and all of it nothing changes, from either side.
  const between = times(60, { answered: 93, unanswered: 7, late: 0, rttMs: 1 })
  t.equal(standingOf(well, after(between)).condition, 'up')
  t.equal(standingOf(well, after([...bad, ...between])).condition, 'degraded')
  t.end()
})

void t.test('late answers are not lost, and nothing follows from nothing', (t) => {
  t.equal(after(times(20, { answered: 10, unanswered: 10, late: 10, rttMs: 90 })).loss, 0)
  const quality = after(times(5, second(3)))
  t.equal(measure(quality, { answered: 0, unanswered: 0, late: 0, rttMs: 0 }, defaultThresholds), quality)
  t.equal(measure(quality, { answered: 3, unanswered: 0, late: 5, rttMs: 9 }, defaultThresholds).rttMs, 9)
  t.equal(after([second(0, 25), second(10, 0)]).rttMs, 25, 'a second without answers has no round trip')
  t.end()
})

void t.test('latency degrades above its threshold only where there is one', (t) => {
  const slow = times(reportsUntil.degraded, second(0, 120))
  t.equal(standingOf(well, after(slow)).condition, 'up')
  const limits = { loss: 0.1, latencyMs: 100 }
  t.match(standingOf(well, after(slow, limits)), {
    condition: 'degraded',
    reasons: ['round trips take 120 ms'],
  })
  t.equal(standingOf(well, after(slow.slice(1), limits)).condition, 'up')
  const near = [...slow, ...times(50, second(0, 95))]
  t.equal(standingOf(well, after(near, limits)).condition, 'degraded')
  t.equal(
    standingOf(well, after([...slow, ...times(reportsUntil.well, second(0, 80))], limits)).condition,
    'up',
  )
  t.end()
})

void t.test('the far gateway’s own word makes it unfit, never down', (t) => {
  const word = { draining: true, notForwarding: false, weight: 1, serial: 10 }
  t.match(standingOf({ ...well, word }, unmeasured), {
    condition: 'up',
    rank: rank.draining,
    reasons: ['it is being drained'],
    withheld: false,
  })
  const both = { ...word, notForwarding: true, serial: 11 }
  t.match(standingOf({ ...well, word: both }, unmeasured), {
    rank: rank.notForwarding,
    reasons: ['it says that it does not forward', 'it is being drained'],
    withheld: true,
  })
  t.equal(standingOf({ ...well, probe: 'down', word: both }, unmeasured).rank, rank.down)
  t.end()
})

void t.test('a silent agent is worse than a lossy path and better than none', (t) => {
  const silent = standingOf({ ...well, probe: 'silent' }, unmeasured)
  t.match(silent, { condition: 'silent', rank: rank.silent, blocked: false })
  t.ok(rank.degraded < silent.rank && silent.rank < rank.down)
  t.match(standingOf({ ...well, probe: 'down' }, unmeasured), { condition: 'down', rank: rank.down })
  t.end()
})

void t.test('handshakes stand in where the probe port is blocked', (t) => {
  const blocked: Evidence = { probe: 'silent', everAnswered: false, handshakeAgeMs: 120_000, serial: 1 }
  t.match(standingOf(blocked, unmeasured), {
    condition: 'up',
    rank: rank.fit,
    blocked: true,
    reasons: ['the probe port is blocked; the last handshake was 120 s ago'],
  })
  t.match(standingOf({ ...blocked, handshakeAgeMs: 180_000 }, unmeasured), {
    condition: 'silent',
    blocked: false,
  })
  t.match(standingOf({ ...blocked, everAnswered: true }, unmeasured), { condition: 'silent', blocked: false })
  t.match(standingOf({ ...blocked, probe: 'down' }, unmeasured), { condition: 'down', blocked: false })
  t.match(standingOf({ probe: 'silent', everAnswered: false, serial: 1 }, unmeasured), {
    condition: 'silent',
    blocked: false,
  })
  t.end()
})
