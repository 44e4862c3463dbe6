/**
 * The probe engine between two namespaces: up, down, silent, back; a busy main thread; devices that come and go; hundreds
 * of paths. Times are bounded from below by what the profile says, and from above by what a slow machine needs.
 */
import { once } from 'node:events'
import { readdirSync, writeFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { address } from '../../agent/model/prefix.ts'
import type { Word } from '../../agent/probe/port.ts'
import { run } from '../support/command.ts'
import { isolated } from '../support/isolate.ts'
import {
  back,
  baseline,
  calmDown,
  cut,
  device,
  Far,
  fast,
  joinBy,
  Machine,
  Near,
  pathTo,
  port,
  quiet,
  until,
} from '../support/probe-lab.ts'

/** Nothing of JavaScript runs meanwhile. */
function busy(ms: number): void {
  const end = performance.now() + ms
  while (performance.now() < end);
}

/** How long after the last answer it was decided, on the thread's own clock. */
async function decidedAfterMs(near: Near, id: string): Promise<number> {
  const sinceMs = near.last(id)?.sinceMs ?? Number.NaN
  const report = await near.report()
  const row = Array.from({ length: report.rows }, (_, i) => i).find((i) => report.idOf(i) === id) ?? -1
  return sinceMs - report.value(row, 'lastSeenMs')
}

await isolated(import.meta.url, async (directory) => {
  calmDown()
  const machine = await Machine.make('far')
  joinBy(device, machine)
  const far = new Far(machine)
  await far.order({ paths: [back] })

  await t.test('a path comes up, and its figures are those of a veth', async (t) => {
    const near = new Near()
    near.engine.setPaths([pathTo(device)])
    t.ok(await near.becomes(device, 'up'))
    t.match(near.last(device), { id: device, state: 'up', cause: 'answered', changes: 1, word: quiet })
    await near.report()
    const report = await near.report()
    t.equal(report.rows, 1)
    t.equal(report.idOf(0), device)
    const sent = report.value(0, 'sent')
    t.ok(sent >= 2 && sent <= 30, `${sent} probes in a second`)
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

  await t.test('a far end that is gone is down when the profile says so', async (t) => {
    const near = new Near()
    const slow = { intervalMs: 200, retryMs: 60, downAfter: 10 }
    near.engine.setPaths([
      pathTo(device, 'fast'),
      pathTo('ls-wg1', 'none'),
      { ...pathTo(device, 'slow', slow) },
    ])
    t.ok(await near.becomes('none', 'down'), 'no such device')
    t.equal(near.last('none')?.cause, 'unsent')
    near.engine.setPaths([pathTo(device, 'fast')])
    t.ok(await near.becomes('fast', 'up'))
    const mend = cut(machine, 'input')
    t.ok(await near.becomes('fast', 'down'))
    t.equal(near.last('fast')?.cause, 'unanswered')
    const quick = await decidedAfterMs(near, 'fast')
    t.ok(quick > 170 && quick < 1000, `fast: ${quick.toFixed()} ms, 180 to 230 by the profile`)
    mend()
    near.engine.setPaths([pathTo(device, 'slow', slow)])
    t.ok(await near.becomes('slow', 'up'))
    const again = cut(machine, 'input')
    t.ok(await near.becomes('slow', 'down'))
    const usual = await decidedAfterMs(near, 'slow')
    t.ok(usual > 590 && usual < 2000, `default: ${usual.toFixed()} ms, 600 to 800 by the profile`)
    again()
    near.engine.stop()
  })

  await t.test('loss in one direction only is down, too', async (t) => {
    const near = new Near()
    near.engine.setPaths([pathTo(device)])
    t.ok(await near.becomes(device, 'up'))
    const mend = cut(machine, 'output')
    t.ok(await near.becomes(device, 'down'))
    mend()
    t.ok(await near.becomes(device, 'up'))
    near.engine.stop()
  })

  await t.test('back is slow, and slower after each relapse', async (t) => {
    const near = new Near()
    near.engine.setPaths([pathTo(device, device, { ...fast, holdMs: 400, holdLimitMs: 800 })])
    t.ok(await near.becomes(device, 'up'))
    const takes: number[] = []
    for (let relapse = 0; relapse < 4; relapse++) {
      const mend = cut(machine, 'input')
      t.ok(await near.becomes(device, 'down'))
      mend()
      const from = performance.now()
      t.ok(await near.becomes(device, 'up'))
      takes.push(performance.now() - from)
    }
    const shown = takes.map((ms) => ms.toFixed()).join(', ')
    t.ok((takes[0] ?? 0) >= 350, `${shown} ms`)
    t.ok((takes[1] ?? 0) >= 750)
    t.ok((takes[2] ?? 0) >= 750 && (takes[3] ?? 0) < 6000, 'no more than the limit')
    t.equal(near.last(device)?.changes, 9)
    near.engine.stop()
  })

  await t.test('an agent that is silent is not down while its kernel answers', async (t) => {
    const near = new Near()
    near.engine.setPaths([pathTo(device)])
    t.ok(await near.becomes(device, 'up'))
    run('kill', '-STOP', String(far.process.pid))
    t.ok(await near.becomes(device, 'silent'))
    t.equal(near.last(device)?.cause, 'echo-only')
    t.notOk(near.news.some(({ state }) => state === 'down'))
    await pause(1000)
    t.equal(near.last(device)?.state, 'silent', 'and stays so')
    const mend = cut(machine, 'input')
    t.ok(await near.becomes(device, 'down'), 'its kernel falls silent')
    mend()
    t.ok(await near.becomes(device, 'silent'), 'and is heard again')
    run('kill', '-CONT', String(far.process.pid))
    t.ok(await near.becomes(device, 'up'))
    t.ok(near.engine.counters().echoSent > 0)
    near.engine.stop()
  })

  await t.test('a busy main thread delays neither detection nor reflection', async (t) => {
    const near = new Near()
    near.engine.setPaths([pathTo(device)])
    t.ok(await near.becomes(device, 'up'))
    await far.order({ paths: [] })
    far.news.length = 0
    await far.order({ paths: [back] })
    t.ok(await until(() => far.news.at(-1)?.state === 'up'))
    busy(2000)
    await pause(50)
    t.equal(near.last(device)?.changes, 1, 'no false down here')
    t.match(far.news.at(-1), { state: 'up', changes: 1 }, 'nor there')
    // Cut while nothing of JavaScript runs.
    const script = `sleep 0.3
      nft add table inet cut
      nft 'add chain inet cut input { type filter hook input priority -400; }'
      nft 'add rule inet cut input iifname "ls-wg*" meta l4proto { udp, icmpv6 } drop'`
    machine.spawn('sh', ['-c', script])
    busy(2000)
    const told = near.news.length
    t.ok(await near.becomes(device, 'down', 1000))
    t.ok(near.news.length - told <= 1, 'one row, however long it took')
    const took = await decidedAfterMs(near, device)
    t.ok(took > 170 && took < 1000, `${took.toFixed()} ms`)
    machine.run('nft', 'delete table inet cut')
    const before = near.last(device)?.changes ?? 0
    near.engine.setPaths([pathTo(device, device, { ...fast, holdMs: 100 })])
    busy(3000)
    t.ok(await near.becomes(device, 'up', 5000))
    t.equal(near.last(device)?.changes, before + 1)
    near.engine.stop()
  })

  await t.test('a device that is made anew under its name is found', async (t) => {
    const near = new Near()
    near.engine.setPaths([pathTo(device)])
    t.ok(await near.becomes(device, 'up'))
    run('ip', 'link', 'delete', 'dev', device)
    t.ok(await near.becomes(device, 'down'))
    t.equal(near.last(device)?.cause, 'unsent')
    joinBy(device, machine)
    t.ok(await near.becomes(device, 'up'))
    t.ok(await until(() => far.news.at(-1)?.state === 'up'), 'the other end, too')
    const isReturning = ({ word }: { readonly word?: Word | undefined }): boolean => word?.returning === true
    t.ok(await until(() => far.news.some(isReturning)), 'each end says that the path is down for it')
    t.ok(await until(() => far.news.at(-1)?.word?.returning === undefined), 'and when that is over')
    t.ok(await until(() => near.last(device)?.word?.returning === undefined))
    near.engine.stop()
  })

  await t.test('the word of the other end comes with state and when it changes', async (t) => {
    const near = new Near({ draining: false, notForwarding: false, weight: 3, serial: 1_763_700_000_000 })
    near.engine.setPaths([pathTo(device)])
    t.ok(await near.becomes(device, 'up'))
    t.ok(await until(() => near.last(device)?.word?.returning === undefined))
    t.same(near.last(device)?.word, quiet)
    const word = { draining: true, notForwarding: true, weight: 65_535, serial: Number.MAX_SAFE_INTEGER }
    await far.order({ word })
    t.ok(await until(() => near.last(device)?.word?.draining === true))
    t.same(near.last(device)?.word, word)
    t.equal(near.last(device)?.changes, 1)
    t.ok(await until(() => far.news.at(-1)?.word?.weight === 3))
    // With the answers to its probes cut, the other end still hears it from ours.
    near.engine.setWord({ draining: true, notForwarding: false, weight: 3, serial: 1_763_700_000_001 })
    t.ok(await until(() => far.news.at(-1)?.word?.serial === 1_763_700_000_001))
    await far.order({ word: quiet })
    t.throws(
      () => {
        near.engine.setWord({ ...quiet, weight: 65_536 })
      },
      { code: 'internal' },
    )
    near.engine.stop()
  })

  await t.test('paths are added, changed and removed without disturbing the others', async (t) => {
    const near = new Near()
    near.engine.setPaths([pathTo(device, 'a')])
    t.ok(await near.becomes('a', 'up'))
    t.throws(
      () => {
        near.engine.setPaths([pathTo(device, 'a'), pathTo(device, 'a')])
      },
      { code: 'internal' },
    )
    t.throws(
      () => {
        near.engine.setPaths([{ ...pathTo(device, 'b'), profile: { ...fast, retryMs: 0 } }])
      },
      { code: 'config-invalid', object: 'path b' },
    )
    near.engine.setPaths([pathTo(device, 'a', { ...fast, intervalMs: 100 }), pathTo('ls-wg7', 'b')])
    t.ok(await near.becomes('b', 'down'))
    t.match(near.last('a'), { state: 'up', changes: 1 }, 'its state stays with another profile')
    near.engine.setPaths([pathTo('ls-wg7', 'a')])
    t.ok(await near.becomes('a', 'down'), 'another device is another path')
    near.engine.setPaths([])
    await pause(50)
    const { length } = near.news
    const { sent, unsent } = near.engine.counters()
    await pause(300)
    t.equal(near.news.length, length)
    t.match(near.engine.counters(), { sent, unsent })
    near.engine.stop()
  })

  await t.test('engines come and go without leaving a thread or a descriptor', (t) => {
    const count = (): number => readdirSync('/proc/self/fd').length + readdirSync('/proc/self/task').length
    const before = count()
    for (let i = 0; i < 100; i++) {
      const { engine } = new Near()
      engine.setPaths([pathTo(device)])
      engine.stop()
      engine.stop()
    }
    t.ok(count() < before + 20, `${count() - before} more`)
    t.end()
  })

  await t.test('hundreds of paths, each with a state of its own', async (t) => {
    const count = 1000
    const crowd = Array.from({ length: count }, (_, n) => `fe80::1:${(n + 1).toString(16)}`)
    const profile = { intervalMs: 200, retryMs: 60, downAfter: 10, holdMs: 200 }
    // No neighbours are asked for, as in a tunnel: both ends have one hardware address.
    run('ip', 'link', 'set', 'dev', device, 'arp', 'off', 'address', '02:00:00:00:00:01')
    machine.ip(`link set dev ${device} arp off address 02:00:00:00:00:01`)
    writeFileSync(
      `${directory}/addresses`,
      crowd.map((one) => `address add ${one}/128 dev ${device}`).join('\n'),
    )
    machine.run('ip', '-batch', `${directory}/addresses`)
    // Each of the crowd answers for itself: one agent would be limited as the one peer it is.
    far.process.kill()
    await once(far.process, 'exit')
    machine.spawn(baseline, ['crowd', device, String(port), String(count), '0', '200'], { stdio: 'ignore' })
    const near = new Near()
    near.engine.setPaths(crowd.map((one) => ({ id: one, device, address: address(one), profile })))
    const inState = (state: string): number => crowd.filter((one) => near.last(one)?.state === state).length
    t.ok(await until(() => inState('up') === count, 30_000), `${inState('up')} up`)
    const before = near.engine.counters()
    await pause(2000)
    const after = near.engine.counters()
    t.ok(after.sent - before.sent > count * 5, `${after.sent - before.sent} probes in 2 s`)
    t.ok((await near.report()).rows === count)
    const heal = cut(machine, 'input', 'numgen random mod 100 < 5 meta l4proto udp')
    await pause(3000)
    heal()
    t.ok(
      crowd.every((one) => near.last(one)?.changes === 1),
      'one packet in twenty lost: no flapping',
    )
    // Half of them go.
    const gone = new Set(crowd.filter((_, n) => n % 2 === 0))
    const mend = cut(machine, 'input', `ip6 daddr { ${[...gone].join(', ')} }`)
    t.ok(await until(() => inState('down') === gone.size, 30_000), `${inState('down')} down`)
    t.ok(crowd.every((one) => near.last(one)?.state === (gone.has(one) ? 'down' : 'up')))
    mend()
    t.ok(await until(() => inState('up') === count, 60_000), `${inState('up')} up again`)
    near.engine.stop()
  })
  machine.end()
})
