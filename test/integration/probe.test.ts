/** The probe engine between two namespaces: up, down, silent, back; a busy main thread; devices that come and go. */
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { isolated } from '../support/isolate.ts'
import { calmDown, Far, fast, joinBy, Machine, Near, path, quiet } from '../support/probe-lab.ts'

const here = { id: 'us', device: 'ls-wg0', address: 'fe80::1' as never, profile: fast }

await isolated(import.meta.url, async () => {
  calmDown()
  const machine = await Machine.make('far')
  joinBy('ls-wg0', machine)
  const far = new Far(machine)
  await far.order({ paths: [here] })

  await t.test('a path comes up, and its figures are those of a veth', async (t) => {
    const near = new Near()
    near.engine.setPaths([path('ls-wg0')])
    t.ok(await near.becomes('ls-wg0', 'up'))
    const [first] = near.news
    t.match(first, { id: 'ls-wg0', state: 'up', cause: 'answered', changes: 1, word: quiet })
    await near.report()
    const report = await near.report()
    t.equal(report.rows, 1)
    t.equal(report.idOf(0), 'ls-wg0')
    const sent = report.value(0, 'sent')
    t.ok(sent >= 5 && sent <= 24, `${sent} probes in a second`)
    t.ok(
      report.value(0, 'rttMinMs') > 0 && report.value(0, 'rttMinMs') < 20,
      `${report.value(0, 'rttMinMs')} ms`,
    )
    t.ok(report.value(0, 'rttMeanMs') >= report.value(0, 'rttMinMs'))
    t.ok(report.value(0, 'rttP95Ms') >= report.value(0, 'rttMinMs'))
    const nowMs = Number(process.hrtime.bigint()) / 1e6
    t.ok(Math.abs(nowMs - report.value(0, 'lastSeenMs')) < 5000)
    t.match(await far.counters(), { malformed: 0, refused: 0, limited: 0 })
    near.engine.stop()
    const { length } = near.news
    await pause(100)
    t.equal(near.news.length, length, 'silence after stop()')
  })
  machine.end()
})
