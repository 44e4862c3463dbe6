import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { Schedule } from '../../../agent/daemon/schedule.ts'
import { backoffMs } from '../../../agent/daemon/trouble.ts'

const never = new AbortController().signal

/** Milliseconds until the next turn. */
async function waited(schedule: Schedule, audits = true): Promise<number> {
  const at = performance.now()
  await schedule.due(never, audits)
  return performance.now() - at
}

async function quiet(): Promise<Schedule> {
  const schedule = new Schedule(() => 0.5)
  await schedule.due(never, true)
  schedule.factsDone()
  schedule.auditBegins()
  schedule.auditDone(1)
  return schedule
}

void t.test('turns', async (t) => {
  await t.test('the first is due at once', async (t) => {
    t.ok((await waited(new Schedule(() => 0.5))) < 20)
  })

  await t.test('drift waits for the burst to pass, and keeps audits apart', async (t) => {
    const schedule = await quiet()
    schedule.drifted()
    schedule.drifted()
    const ms = await waited(schedule)
    t.ok(ms > 400 && ms < 700, `${ms} ms after the last audit`)
    t.equal(schedule.auditDue, true)
    schedule.auditBegins()
    t.equal(schedule.isDrift, true)
    schedule.auditDone(1)
    await pause(520)
    schedule.drifted()
    t.ok((await waited(schedule)) < 150, 'long after the last one it takes the debounce only')
  })

  await t.test('an expensive audit comes more rarely', async (t) => {
    const schedule = await quiet()
    schedule.auditBegins()
    schedule.auditDone(300)
    schedule.drifted()
    t.ok((await waited(schedule)) > 800)
  })

  await t.test('news are heard at once, also those that come during a turn', async (t) => {
    const schedule = await quiet()
    schedule.rouse()
    t.ok((await waited(schedule)) < 20)
    setTimeout(() => {
      schedule.rouse()
    }, 50)
    t.ok((await waited(schedule)) < 200)
  })

  await t.test('a changed host is looked at soon, and not all the time', async (t) => {
    const schedule = await quiet()
    schedule.hostChanged()
    t.equal(schedule.factsDue, false)
    const ms = await waited(schedule)
    t.ok(ms > 20 && ms < 200)
    t.equal(schedule.factsDue, true)
  })

  await t.test('a stop ends the wait', async (t) => {
    const stop = new AbortController()
    const schedule = await quiet()
    setTimeout(() => {
      stop.abort()
    }, 30)
    const at = performance.now()
    await schedule.due(stop.signal, true)
    t.ok(performance.now() - at < 200)
  })
})

void t.test('backoff: 250 ms doubling to 30 s, with jitter', (t) => {
  const middle = (): number => 0.5
  t.same(
    [1, 2, 3, 7, 8, 9, 1000].map((round) => backoffMs(round, middle)),
    [250, 500, 1000, 16_000, 30_000, 30_000, 30_000],
  )
  t.equal(
    backoffMs(1, () => 0),
    187.5,
  )
  t.equal(
    backoffMs(1, () => 1),
    312.5,
  )
  t.end()
})
