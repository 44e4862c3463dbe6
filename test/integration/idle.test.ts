/**
 * What it costs to have nothing to do, in wakeups and packets: times would tell of the machine that the test runs on. A
 * slow machine wakes a thread less often, never more.
 */
import { execFileSync } from 'node:child_process'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { address } from '../../agent/model/prefix.ts'
import type { ProbeCounters } from '../../agent/probe/port.ts'
import { isolated } from '../support/isolate.ts'
import { rareProbes, wanFabric } from '../support/lab.ts'
import { makePaper } from '../support/paper.ts'
import { baseline, calmDown, device, joinBy, Machine, Near, port, until } from '../support/probe-lab.ts'
import { wakeups } from '../support/wakeups.ts'

const count = 10
const profile = { intervalMs: 200, retryMs: 60, downAfter: 10, holdMs: 100, returnAfter: 2 }
const peers = Array.from({ length: count }, (_, n) => `fe80::1:${n + 1}`)
/** Paths meet by chance, and stay together; and one that is down is gone after ten seconds. */
const patience = 15

type Rates = { readonly [Counter in keyof ProbeCounters]: number } & { readonly reports: number }

/** Per second, over two of them. */
async function rates({ engine, reports }: Near): Promise<Rates> {
  const before = { ...engine.counters(), reports: reports.length }
  const from = performance.now()
  await pause(2000)
  const after = { ...engine.counters(), reports: reports.length }
  const seconds = (performance.now() - from) / 1000
  const entries = Object.entries(after) as [keyof Rates, number][]
  return Object.fromEntries(entries.map(([name, value]) => [name, (value - before[name]) / seconds])) as Rates
}

/** The rates, as soon as they are such; else the last ones. */
async function settled(near: Near, isSuch: (rates: Rates) => boolean): Promise<Rates> {
  for (let i = 1; ; i++) {
    const now = await rates(near)
    if (i === patience || isSuch(now)) return now
  }
}

await isolated(import.meta.url, async (directory) => {
  calmDown()
  const machine = await Machine.make('far')
  joinBy(device, machine)
  // No neighbours are asked for, as in a tunnel: both ends have one hardware address.
  execFileSync('ip', ['link', 'set', 'dev', device, 'arp', 'off', 'address', '02:00:00:00:00:01'])
  machine.ip(`link set dev ${device} arp off address 02:00:00:00:00:01`)
  const near = new Near()
  near.engine.setPaths(peers.map((one) => ({ id: one, device, address: address(one), profile })))
  const areAll = (state: string): Promise<boolean> =>
    until(() => peers.every((one) => near.last(one)?.state === state), 30_000)

  await t.test('ten paths that have been down for some time', async (t) => {
    t.ok(await areAll('down'))
    const { wakeups, sent, echoSent, reports } = await settled(
      near,
      (now) => now.wakeups <= 12 && now.reports === 0 && now.echoSent < now.sent / 3,
    )
    t.ok(wakeups <= 12, `${wakeups.toFixed(1)} wakeups a second; 6 for one group and 1 for the sockets`)
    t.ok(sent > 10 && sent < 70, `${sent.toFixed(1)} probes a second, for they may be back any moment`)
    t.ok(echoSent < sent / 3, `${echoSent.toFixed(1)} echo requests`)
    t.equal(reports, 0, 'nothing is said where nothing is heard')
  })

  await t.test('ten paths that are up', async (t) => {
    for (const one of peers) machine.ip(`address add ${one}/128 dev ${device}`)
    let crowd = machine.spawn(baseline, ['crowd', device, String(port), String(count), '0', '600'])
    t.ok(await areAll('up'), 'they are back')
    const asking = await settled(near, (now) => now.wakeups <= 20 && now.reports > 0)
    const { wakeups, reports } = asking
    t.ok(
      wakeups <= 20,
      `${wakeups.toFixed(1)} wakeups a second; 6 to ask, 6 to look for answers, 1 to report`,
    )
    t.ok(reports > 0 && reports < 2, `${reports.toFixed(1)} reports a second`)
    const gone = new Promise((resolve) => crowd.once('exit', resolve))
    crowd.kill('SIGKILL')
    await gone
    crowd = machine.spawn(baseline, ['crowd', device, String(port), String(count), '180', '600'])
    t.ok(await until(() => near.engine.counters().reflected > 0))
    t.ok(await areAll('up'))
    const both = await settled(near, (now) => now.reflected > 0 && now.wakeups <= now.reflected + 20)
    const shown = `${both.wakeups.toFixed(1)} wakeups a second for ${both.reflected.toFixed(1)} questions`
    t.ok(both.reflected > 0 && both.wakeups <= both.reflected + 20, `${shown}, one each`)
    crowd.kill('SIGKILL')
  })
  near.engine.stop()
  machine.end()

  await t.test('an agent with ten peers that are down', async (t) => {
    const { lab, left, until } = await makePaper(directory, count)
    await lab.writeFabric(wanFabric.filter((line) => line !== rareProbes))
    const isDown = ({ path }: { readonly path?: { readonly condition: string } }): boolean =>
      path?.condition === 'down'
    await until('ten that are down', (status) => status.peers.filter(isDown).length === count)
    let aSecond = Infinity
    for (let i = 0; i < patience && aSecond > 60; i++) {
      const before = wakeups(left.pid)
      const from = performance.now()
      await pause(5000)
      aSecond = ((wakeups(left.pid) - before) * 1000) / (performance.now() - from)
    }
    t.ok(aSecond <= 60, `its threads wake ${aSecond.toFixed(1)} times a second`)
    await lab.end()
  })
})
