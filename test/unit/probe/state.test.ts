import t from 'tap'
import { judge, measure, reportsUntil, thresholdsOf, unmeasured } from '../../../agent/probe/state.ts'
import type { Evidence, Measurement, Quality, Thresholds } from '../../../agent/probe/state.ts'

const well: Evidence = { probe: 'up', everAnswered: true, handshakeAgeMs: 20_000 }

function second(lost: number, rttMs = 10): Measurement {
  return { answered: 10 - lost, unanswered: lost, late: 0, rttMs }
}

function after(reports: readonly Measurement[], thresholds: Thresholds = thresholdsOf()): Quality {
  return reports.reduce((quality, report) => measure(quality, report, thresholds), unmeasured)
}

const times = (count: number, report: Measurement): Measurement[] =>
  Array.from({ length: count }, () => report)

void t.test('a path that answers is up and fit', (t) => {
  t.same(judge(well, unmeasured), {
    condition: 'up',
    standing: 'fit',
    reasons: [],
    blocked: false,
  })
  t.match(judge({ ...well, probe: 'unknown' }, unmeasured), { condition: 'unknown', standing: 'fit' })
  t.end()
})

void t.test('loss degrades after some reports, and holds until it is well below', (t) => {
  const bad = times(20, second(4))
  t.match(judge(well, after(bad)), {
    condition: 'degraded',
    standing: 'degraded',
    reasons: [/^\d+ % of probes are lost$/],
  })
  t.equal(judge(well, after(times(1, second(10)))).condition, 'up', 'one bad second is not enough')
  const recovering = [...bad, ...times(4, second(0))]
  t.equal(judge(well, after(recovering)).condition, 'degraded')
  t.equal(judge(well, after([...bad, ...times(40, second(0))])).condition, 'degraded', 'nor half a minute')
  t.equal(judge(well, after([...bad, ...times(90, second(0))])).condition, 'up')
  // Between half of the threshold and all of it nothing changes, from either side.
  const between = times(60, { answered: 93, unanswered: 7, late: 0, rttMs: 1 })
  t.equal(judge(well, after(between)).condition, 'up')
  t.equal(judge(well, after([...bad, ...between])).condition, 'degraded')
  t.end()
})

void t.test('loss that stays is judged by a minute of it, much loss by ten seconds', (t) => {
  const seconds = (lost: number): number => {
    for (let count = 1; count <= 300; count++) {
      if (after(times(count, second(lost))).lossy.present) return count
    }
    return Infinity
  }
  t.equal(seconds(1), Infinity, 'the threshold itself')
  t.ok(seconds(2) <= 30, `20 %: ${seconds(2)} s`)
  t.ok(seconds(5) <= 6, `50 %: ${seconds(5)} s`)
  t.end()
})

void t.test('a path that loses 5 % stays as it is: 100 paths for an hour', (t) => {
  let state = 1
  const random = (): number => (state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32) / 2 ** 32
  /** By the default profile: 180 ms on average to the next probe, 60 ms after one that was lost. */
  const some = (loss: number): Measurement => {
    let [answered, unanswered] = [0, 0]
    for (let ms = 0; ms < 1000;) {
      const isLost = random() < loss
      ms += isLost ? 60 : 180
      if (isLost) unanswered++
      else answered++
    }
    return { answered, unanswered, late: 0, rttMs: 10 }
  }
  let [changes, left] = [0, 0]
  for (let path = 0; path < 100; path++) {
    for (const loss of [0.05, 0.2]) {
      let quality = unmeasured
      let count = 0
      for (let i = 0; i < 3600; i++) {
        const before = quality.lossy.present
        quality = measure(quality, some(loss), thresholdsOf())
        if (quality.lossy.present !== before) count++
      }
      if (loss === 0.05) changes += count
      else if (count === 1 && quality.lossy.present) left++
    }
  }
  t.equal(changes, 0, 'changes at 5 %')
  t.equal(left, 100, 'paths that are left once, at 20 %')
  t.end()
})

void t.test('late answers are not lost, and nothing follows from nothing', (t) => {
  t.equal(after(times(20, { answered: 10, unanswered: 10, late: 10, rttMs: 90 })).loss, 0)
  const quality = after(times(5, second(3)))
  t.equal(measure(quality, { answered: 0, unanswered: 0, late: 0, rttMs: 0 }, thresholdsOf()), quality)
  t.equal(measure(quality, { answered: 3, unanswered: 0, late: 5, rttMs: 9 }, thresholdsOf()).rttMs, 9)
  t.equal(after([second(0, 25), second(10, 0)]).rttMs, 25, 'a second without answers has no round trip')
  t.end()
})

void t.test('latency degrades above its threshold only where there is one', (t) => {
  const slow = times(reportsUntil.degraded, second(0, 120))
  t.equal(judge(well, after(slow)).condition, 'up')
  const limits = { loss: 0.1, latencyMs: 100 }
  t.match(judge(well, after(slow, limits)), {
    condition: 'degraded',
    reasons: ['round trips take 120 ms'],
  })
  t.equal(judge(well, after(slow.slice(1), limits)).condition, 'up')
  const near = [...slow, ...times(50, second(0, 95))]
  t.equal(judge(well, after(near, limits)).condition, 'degraded')
  t.equal(judge(well, after([...slow, ...times(reportsUntil.well, second(0, 80))], limits)).condition, 'up')
  t.end()
})

void t.test('the far gateway’s own word makes it unfit, never down', (t) => {
  const word = { draining: true, notForwarding: false, weight: 1, serial: 10 }
  t.match(judge({ ...well, word }, unmeasured), {
    condition: 'up',
    standing: 'draining',
    reasons: ['it is being drained'],
  })
  const both = { ...word, notForwarding: true, serial: 11 }
  t.match(judge({ ...well, word: both }, unmeasured), {
    standing: 'not-forwarding',
    reasons: ['it says that it does not forward', 'it is being drained'],
  })
  t.equal(judge({ ...well, probe: 'down', word: both }, unmeasured).standing, 'down')
  t.match(judge({ ...well, word: { ...word, draining: false, returning: true } }, unmeasured), {
    condition: 'up',
    standing: 'not-forwarding',
    reasons: ['for it this path is down, or was until a moment ago'],
  })
  t.end()
})

void t.test('a silent agent is worse than a lossy path and better than none', (t) => {
  const silent = judge({ ...well, probe: 'silent' }, unmeasured)
  t.match(silent, { condition: 'silent', standing: 'silent', blocked: false })
  t.match(judge({ ...well, probe: 'down' }, unmeasured), { condition: 'down', standing: 'down' })
  t.end()
})

void t.test('handshakes stand in where the probe port is blocked', (t) => {
  const blocked: Evidence = { probe: 'silent', everAnswered: false, handshakeAgeMs: 120_000 }
  t.match(judge(blocked, unmeasured), {
    condition: 'up',
    standing: 'fit',
    blocked: true,
    reasons: ['the probe port is blocked; the last handshake was 120 s ago'],
  })
  t.match(judge({ ...blocked, handshakeAgeMs: 180_000 }, unmeasured), {
    condition: 'silent',
    blocked: false,
  })
  t.match(judge({ ...blocked, everAnswered: true }, unmeasured), { condition: 'silent', blocked: false })
  t.match(judge({ ...blocked, probe: 'down' }, unmeasured), {
    condition: 'silent',
    standing: 'silent',
    blocked: true,
  })
  const never: Evidence = { probe: 'silent', everAnswered: false }
  t.match(judge(never, unmeasured), { condition: 'silent', blocked: false })
  t.end()
})
