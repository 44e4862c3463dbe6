/**
 * Keys rotate where there is more than one way: two underlays, two gateways at the other site, traffic over both. One end,
 * both gateways of a site at once, and while an underlay is down. Nothing is lost, either way.
 */
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Test } from 'tap'
import { AgentTime } from '../support/agent-time.ts'
import { ip } from '../support/command.ts'
import { guest } from '../support/fault.ts'
import type { Gateway } from '../support/gateway.ts'
import { isolated } from '../support/isolate.ts'
import { Meter } from '../support/meter.ts'
import { untilFit } from '../support/path-row.ts'
import { keyFiles, keysOf, recordedIn, until } from '../support/rotating.ts'
import { makeTwin, untilMembers } from '../support/twin.ts'

/** As in rotation.test.ts. */
const perSecond = guest ? 100 : 200
const patienceSeconds = guest ? 300 : 60

await isolated(import.meta.url, async (directory) => {
  const time = new AgentTime()
  const twin = await time.around(() => makeTwin(directory))
  const { lab, one, a, b, oneHost, twoHost } = twin
  const members = (wanted: string): Promise<string> => untilMembers(twin, wanted)
  let meters: readonly Meter[] = []
  const startTraffic = async (): Promise<void> => {
    meters = [
      await Meter.start(oneHost, twoHost, '10.2.0.10', { perSecond, flows: 8 }),
      await Meter.start(twoHost, oneHost, '10.1.0.10', { perSecond, flows: 8, port: 9001 }),
    ]
    await pause(1000)
  }
  const nothingLost = async (t: Test): Promise<void> => {
    await pause(1000)
    for (const meter of meters) {
      const { sent, lost, gapMs } = await meter.stop()
      t.ok(sent > 0)
      t.equal(lost, 0, `lost of ${sent}, longest gap ${gapMs} ms`)
    }
  }
  const rotate = (t: Test, gateway: Gateway): void => {
    gateway.log = ''
    const { status, stdout, stderr } = gateway.cli('keys', 'rotate')
    t.match(`${status} ${stdout}`, /^0 generation [0-9]+ begun/, stderr)
  }
  const done = async (gateway: Gateway): Promise<void> => {
    time.pass(gateway)
    await until(
      `the old keys of ${gateway.name} are gone\n${gateway.log}`,
      async () => (await keysOf(gateway))?.phase === 'settled',
      patienceSeconds,
    )
  }
  const devices = ({ machine }: Gateway): string =>
    machine.run('wg', 'show', 'interfaces').trim().split(/\s+/).sort().join(' ')
  await untilFit(one, 'site-2', 4)

  await t.test('the end with one gateway', async (t) => {
    t.equal(await members('ls-wg0/ls-wg1'), 'ls-wg0/ls-wg1')
    await startTraffic()
    rotate(t, one)
    await one.untilLogged('keys-moved', patienceSeconds)
    t.equal(recordedIn(lab.registry, one), '1, 32 keys', 'of two underlays and two generations')
    t.equal(await members('ls-wg32/ls-wg33'), 'ls-wg32/ls-wg33')
    await done(one)
    t.equal(recordedIn(lab.registry, one), '1, 16 keys')
    t.strictSame(keyFiles(one), ['generation-1'])
    await until('the old devices are gone', () => devices(one) === 'ls-wg32 ls-wg33 ls-wg40 ls-wg41')
    await nothingLost(t)
  })

  await t.test('both gateways of a site at once', async (t) => {
    await startTraffic()
    rotate(t, a)
    rotate(t, b)
    for (const gateway of [a, b]) await gateway.untilLogged('keys-moved', patienceSeconds)
    t.equal(await members('ls-wg36/ls-wg37'), 'ls-wg36/ls-wg37')
    for (const gateway of [a, b]) await done(gateway)
    await until('the old devices are gone', () => devices(one) === 'ls-wg36 ls-wg37 ls-wg44 ls-wg45')
    await nothingLost(t)
  })

  await t.test('while an underlay is down, which then comes back', async (t) => {
    ip('link set dev dx down')
    t.equal(await members('ls-wg44/ls-wg45'), 'ls-wg44/ls-wg45')
    await startTraffic()
    rotate(t, one)
    await one.untilLogged('keys-moved', patienceSeconds)
    t.equal(await members('ls-wg12/ls-wg13'), 'ls-wg12/ls-wg13', 'by the other underlay')
    await done(one)
    t.strictSame(keyFiles(one), ['generation-2'])
    ip('link set dev dx up')
    t.equal(await members('ls-wg4/ls-wg5'), 'ls-wg4/ls-wg5', 'and back, by the new keys')
    await nothingLost(t)
  })

  for (const gateway of [one, a, b]) await gateway.stop()
})
