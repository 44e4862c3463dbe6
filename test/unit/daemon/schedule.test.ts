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

function audit(schedule: Schedule, ms: number): void {
  schedule.auditBegins()
  schedule.auditDone(ms)
}

/** Somebody changes something: milliseconds until it is looked at, in an audit that takes `auditMs`. */
async function untilDrift(schedule: Schedule, auditMs: number): Promise<number> {
  schedule.drifted()
  const ms = await waited(schedule)
  audit(schedule, auditMs)
  return ms
}

async function quiet(): Promise<Schedule> {
  const schedule = new Schedule(() => 0.5)
  await schedule.due(never, true)
  schedule.factsDone()
  audit(schedule, 1)
  return schedule
}

void t.test('turns', async (t) => {
  await t.test('the first is due at once', async (t) => {
    t.ok((await waited(new Schedule(() => 0.5))) < 400)
  })

  await t.test('drift waits for the burst to pass', async (t) => {
    const schedule = await quiet()
    schedule.drifted()
    schedule.drifted()
    const ms = await waited(schedule)
    t.ok(ms > 40 && ms < 5000, `${ms} ms, an audit just before or not`)
    t.equal(schedule.auditDue, true)
    audit(schedule, 1)
    t.equal(schedule.isDrift, true)
    t.equal(schedule.auditDue, false)
  })

  await t.test('drift that comes again and again is looked at ever more rarely', async (t) => {
    const schedule = await quiet()
    t.ok((await untilDrift(schedule, 200)) < 450)
    t.ok((await untilDrift(schedule, 200)) < 450, 'the second at once, too')
    for (const turn of ['third', 'fourth']) {
      const ms = await untilDrift(schedule, 200)
      t.ok(ms > 500 && ms < 5000, `the ${turn} after ${ms} ms: three times what an audit takes`)
    }
    await pause(1250)
    t.ok((await untilDrift(schedule, 1)) < 450, 'after some quiet at once again')
  })

  await t.test('audits from time to time do not keep drift waiting', async (t) => {
    const schedule = await quiet()
    audit(schedule, 3000)
    t.ok((await untilDrift(schedule, 1)) < 450)
  })

  await t.test('news are heard at once, also those that come during a turn', async (t) => {
    const schedule = await quiet()
    schedule.rouse()
    t.ok((await waited(schedule)) < 400)
    setTimeout(() => {
      schedule.rouse()
    }, 50)
    t.ok((await waited(schedule)) < 400)
  })

  await t.test('a changed host is looked at soon, and not all the time', async (t) => {
    const schedule = await quiet()
    schedule.hostChanged()
    t.equal(schedule.factsDue, false)
    const ms = await waited(schedule)
    t.ok(ms > 20 && ms < 5000)
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
    t.ok(performance.now() - at < 1000)
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
