/**
 * The main thread of a whole agent stands still for 2 s, under traffic: nobody takes a path for down, neither there nor at
 * the other gateways, whose probes its engine goes on answering. A gateway that dies meanwhile is found in unchanged time:
 * by the others at once, and by the agent that stood still before its main thread is back, which has only to act on it.
 */
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { guest, startWith } from '../support/fault.ts'
import type { Gateway } from '../support/gateway.ts'
import { isolated } from '../support/isolate.ts'
import { Meter } from '../support/meter.ts'
import { untilFit } from '../support/path-row.ts'
import { makeTwin, membersOf, untilMembers } from '../support/twin.ts'

const perSecond = guest ? 200 : 1000
/** As issue "Paths" has it; longer in a guest, where everything else takes longer. */
const blockMs = guest ? 10_000 : 2000
/** Ten probes in a row, one every 60 ms: no engine that began to look after the block would be as quick. */
const leastDetectionMs = 600
/** A path is left, in whatever words. */
const left = /path-(down|unfit) gateway=\S+ underlay=\S+/g

await isolated(import.meta.url, async (directory) => {
  const twin = await makeTwin(directory)
  const { one, a, b, oneHost, twoHost } = twin
  const all = [one, a, b]
  for (const gateway of all) {
    await gateway.stop()
    startWith(gateway, { FAILPOINT_BLOCK: String(blockMs) })
  }
  const settled = async (): Promise<void> => {
    for (const gateway of all) await gateway.untilUp(4)
    await untilFit(one, 'site-2', 4)
    for (const gateway of [a, b]) await untilFit(gateway, 'gw-1', 2)
    await untilMembers(twin, 'ls-wg0/ls-wg1')
    for (const gateway of all) gateway.log = ''
  }
  const traffic = (): Promise<Meter> => Meter.start(oneHost, twoHost, '10.2.0.10', { perSecond, flows: 8 })

  for (const gateway of [one, b]) {
    await t.test(`${gateway.name} stands still: no path falls, nothing is lost`, async (t) => {
      await settled()
      const meter = await traffic()
      await stand(gateway)
      const { from, to } = await blockOf(gateway)
      t.ok(to - from >= blockMs - 100, `for ${to - from} ms`)
      await pause(1500)
      for (const { name, log } of all) t.notMatch(log, left, `${name}: no false down`)
      t.equal(membersOf(twin), 'ls-wg0/ls-wg1')
      const { sent, lost, gapMs } = await meter.stop()
      t.equal(lost, 0, `lost of ${sent}, longest gap ${gapMs} ms`)
    })
  }

  await t.test('a gateway dies meanwhile', async (t) => {
    await settled()
    const meter = await traffic()
    await stand(one)
    await pause(200)
    for (const link of ['dx0', 'wan0', 'site0']) b.machine.ip(`link set dev ${link} down`)
    const diedAt = Date.now()
    await a.untilLogged('path-down gateway=gw-2b underlay=dx')
    const { to } = await blockOf(one)
    const [peer, own, pass] = [
      await eventAt(a, 'path-down', diedAt),
      await eventAt(one, 'path-down', diedAt),
      await eventAt(one, 'pass', diedAt),
    ]
    t.comment(`dead at 0 ms; its peer knew at ${peer - diedAt}, the block ended at ${to - diedAt}`)
    t.comment(
      `the agent that stood still: path-down at ${own - diedAt}, kernel changed at ${pass - diedAt} ms`,
    )
    t.ok(guest || peer < to, 'who did not stand still did not wait')
    t.ok(own >= to, 'no event while it stood still')
    t.ok(guest || pass - to < leastDetectionMs, `its kernel changed ${pass - to} ms after the block`)
    t.equal(membersOf(twin), 'ls-wg0')
    const ofB = (log: string): readonly string[] =>
      (log.match(left) ?? []).filter((line) => !line.includes('gateway=gw-2b'))
    for (const { name, log } of [one, a]) t.strictSame(ofB(log), [], `${name}: no false down`)
    const { sent, lost, gapMs } = await meter.stop()
    t.ok(lost < sent, `lost ${lost} of ${sent}, longest gap ${gapMs} ms`)
  })

  for (const gateway of all) await gateway.stop()
})

/** Its main thread stands still once this has resolved. */
async function stand(gateway: Gateway): Promise<void> {
  gateway.signal('SIGUSR2')
  await gateway.untilLogged('failpoint blocks')
}

/** Unix ms between which it stood still, once it is over. */
async function blockOf(gateway: Gateway): Promise<{ readonly from: number; readonly to: number }> {
  await gateway.untilLogged('failpoint blocked')
  const [, from, to] = /failpoint blocked from=([0-9]+) to=([0-9]+)/.exec(gateway.log) ?? []
  return { from: Number(from), to: Number(to) }
}

/** When the first event of that name after `since` was, in Unix ms. */
async function eventAt(gateway: Gateway, name: string, since: number): Promise<number> {
  for (let i = 0; i < 600; i++) {
    const { events } = (await gateway.ask('/events')) as {
      readonly events: readonly { readonly at: number; readonly event: string }[]
    }
    const found = events.find(({ at, event }) => event === name && at > since)
    if (found !== undefined) return Math.round(found.at)
    await pause(50)
  }
  throw new Error(`${gateway.name} told of no ${name}:\n${gateway.log}`)
}
