/** How late it is, on clocks of the test's own. */
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { Clock } from '../../../agent/daemon/clock.ts'
import { momentOf } from '../../../agent/trust/moment.ts'
import { Ledger } from '../../../agent/trust/ledger.ts'
import {
  certificateDocument,
  delivered,
  fabricDocument,
  ground,
  keyOf,
  nowMs,
  recordDocument,
} from '../../support/documents.ts'

const hour = 3_600_000
const day = 24 * hour

void t.test('what the authority signed is past', (t) => {
  let wall = nowMs
  const clock = new Clock({ floorMs: nowMs, wall: () => wall, monotonic: () => 0 })
  clock.witnessed(nowMs + hour / 2)
  t.strictSame(clock.now(), momentOf(nowMs + hour / 2))
  wall = nowMs - day
  t.equal(clock.now().sureMs, nowMs + hour / 2, 'a clock that goes back brings nothing back')
  t.ok(clock.lagMs > 0)
  t.end()
})

void t.test('a clock that was never set', (t) => {
  const clock = new Clock({ floorMs: 0, wall: () => day, monotonic: () => 0 })
  t.equal(clock.lagMs, 0)
  clock.witnessed(nowMs)
  t.strictSame(clock.now(), { sureMs: day, likelyMs: nowMs }, 'certificates begin, and none ends')
  t.equal(clock.lagMs, nowMs - day - hour, 'and it is said')
  t.end()
})

void t.test('an agent that was off for hours', (t) => {
  let wall = nowMs
  let at = 0
  const pass = (ms: number): void => {
    wall += ms
    at += ms
  }
  const clock = new Clock({ floorMs: nowMs - 9 * hour, wall: () => wall, monotonic: () => at })
  t.strictSame(clock.now(), { sureMs: nowMs - 9 * hour, likelyMs: nowMs }, 'nothing expires by it at once')
  t.equal(clock.leapMs, 0, 'and it is nothing to tell')
  pass(hour / 2)
  wall += 2 * hour
  clock.now()
  t.equal(clock.leapMs, 11 * hour, 'a leap meanwhile is')
  wall -= 2 * hour
  pass(hour / 2)
  t.equal(clock.now().sureMs, nowMs + hour, 'after an hour it is believed')
  wall += 5 * hour
  clock.now()
  t.equal(clock.leapMs, 5 * hour, 'and nothing is left of the absence')
  const late = new Clock({ floorMs: nowMs, wall: () => nowMs + 3653 * day, monotonic: () => 0 })
  late.now()
  t.equal(late.leapMs, 3653 * day, 'nobody is away for ten years')
  t.end()
})

void t.test('a machine that slept has no wrong clock', async (t) => {
  // The clock that stands still meanwhile is not asked.
  t.intercept(performance, 'now', { value: () => 0 })
  const clock = new Clock({ floorMs: nowMs - 9 * hour, wall: () => nowMs })
  const before = clock.now().sureMs
  await pause(200)
  t.ok(clock.now().sureMs - before >= 100, 'by the time since boot, though the wall clock stands')
})

void t.test('every document of the authority is a witness, and no other', (t) => {
  const ledger = new Ledger(ground)
  const issued = (...documents: Parameters<typeof delivered>[]): number => {
    const all = documents.map((of) => delivered(...of))
    return ledger.admit({ documents: all, complete: false, unreadable: [] }, momentOf(nowMs)).issuedMs
  }
  t.equal(issued([fabricDocument({ serial: 1000 })]), 1000)
  t.equal(issued([certificateDocument(1, { serial: 3000 })]), 3000)
  t.equal(issued([certificateDocument(2, { serial: 2000 })]), 3000)
  t.equal(issued([recordDocument(1, { serial: 9000 })]), 3000, 'one gateway makes it no later for others')
  const stranger = delivered(certificateDocument(3, { serial: 9000 }), 'c.jws', keyOf('stranger'))
  ledger.admit({ documents: [stranger], complete: false, unreadable: [] }, momentOf(nowMs))
  t.equal(issued(), 3000)
  const payload = { fabric: 'prod', serial: 4000, retired: [] }
  t.equal(issued([{ type: 'authority', payload }]), 4000)
  t.end()
})
