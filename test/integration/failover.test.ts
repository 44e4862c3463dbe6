/**
 * Active-active gateways: both carry, and when one fails, an underlay is cut or one is drained, traffic goes on by what is
 * left. test/bench/paths.ts does the same many times, with figures.
 */
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { isolated } from '../support/isolate.ts'
import { Meter } from '../support/meter.ts'
import { makeTwin, membersOf, untilMembers } from '../support/twin.ts'

const guest = process.env['LINKSPAN_GUEST'] !== undefined
const perSecond = guest ? 200 : 1000
/** A gap in ms that is no failover. An emulated guest, or a machine with other work, stalls by itself. */
const patienceMs = 5000

await isolated(import.meta.url, async (directory) => {
  const twin = await makeTwin(directory)
  const { one, a, b, oneHost, twoHost } = twin
  const members = (wanted: string): Promise<string> => untilMembers(twin, wanted)

  await t.test('both gateways carry, each by the preferred underlay', async (t) => {
    t.equal(await members('ls-wg0/ls-wg1'), 'ls-wg0/ls-wg1')
    t.equal(await oneHost.reaches('10.2.0.10'), true)
  })

  await t.test('an underlay that is cut: the other one', async (t) => {
    const meter = await Meter.start(oneHost, twoHost, '10.2.0.10', { perSecond, flows: 8 })
    await pause(1000)
    one.machine.ip('link set dev dx0 down')
    t.equal(await members('ls-wg8/ls-wg9'), 'ls-wg8/ls-wg9')
    await pause(500)
    const { sent, lost, gapMs } = await meter.stop()
    t.ok(lost < sent && gapMs < patienceMs, `lost ${lost} of ${sent}, longest gap ${gapMs} ms`)
    one.machine.ip('link set dev dx0 up')
    t.equal(await members('ls-wg0/ls-wg1'), 'ls-wg0/ls-wg1', 'and back')
  })

  await t.test('a gateway that drains: no packet lost, and none carried', async (t) => {
    const meter = await Meter.start(oneHost, twoHost, '10.2.0.10', { perSecond, flows: 8 })
    await pause(500)
    const drained = b.cli('drain', '--timeout', '60')
    t.equal(drained.status, 0, drained.stdout + drained.stderr)
    t.match(drained.stdout, /nothing is carried/)
    t.equal(membersOf(twin), 'ls-wg0')
    t.equal(b.cli('drain', '--undo').status, 0)
    t.equal(await members('ls-wg0/ls-wg1'), 'ls-wg0/ls-wg1', 'back in service')
    const alone = one.cli('drain', '--timeout', '600')
    t.equal(alone.status, 3, alone.stderr)
    t.match(alone.stdout, /still carries [0-9,]+ packets a second: no other gateway of the site is up/)
    t.equal(one.cli('drain', '--undo').status, 0)
    const { sent, lost, gapMs } = await meter.stop()
    t.equal(lost, 0, `lost of ${sent}, longest gap ${gapMs} ms`)
  })

  await t.test('a gateway that is up and does not forward: its canary says so', async (t) => {
    // What it would send into its site goes nowhere.
    b.machine.run('nft', 'add table inet broken')
    b.machine.run('nft', 'add chain inet broken out { type filter hook postrouting priority 0 ; }')
    b.machine.run('nft', 'add rule inet broken out oifname site0 drop')
    t.equal(await members('ls-wg0'), 'ls-wg0')
    await b.untilLogged('canary-failed targets=10.2.0.10')
    await one.untilLogged('it says that it does not forward')
    const health = (): string => b.machine.run('curl', '-s', '-w', ' %{http_code}', 'http://10.2.0.2:9587/')
    t.match(health(), /no canary can be reached\n 503/)
    b.machine.run('nft', 'delete table inet broken')
    t.equal(await members('ls-wg0/ls-wg1'), 'ls-wg0/ls-wg1')
    t.match(health(), /forwarding\n 200/)
  })

  await t.test('an agent that is dead is not a dead gateway, while there is no other', async (t) => {
    await b.stop('SIGKILL')
    t.equal(await members('ls-wg0'), 'ls-wg0', 'the one whose agent answers')
    await a.stop('SIGKILL')
    t.equal(await members('ls-wg0/ls-wg1'), 'ls-wg0/ls-wg1', 'both still forward')
    t.equal(await oneHost.reaches('10.2.0.10'), true)
    a.start()
    b.start()
    for (const gateway of [a, b, one]) await gateway.untilUp(4)
    t.equal(await members('ls-wg0/ls-wg1'), 'ls-wg0/ls-wg1')
  })

  await t.test('a gateway that dies without a word: the other one', async (t) => {
    const meter = await Meter.start(oneHost, twoHost, '10.2.0.10', { perSecond, flows: 8 })
    await pause(1000)
    for (const link of ['dx0', 'wan0']) b.machine.ip(`link set dev ${link} down`)
    t.equal(await members('ls-wg0'), 'ls-wg0')
    await pause(500)
    const { sent, lost, gapMs } = await meter.stop()
    t.ok(lost < sent && gapMs < patienceMs, `lost ${lost} of ${sent}, longest gap ${gapMs} ms`)
    await one.untilLogged('path-down gateway=gw-2b underlay=dx')
  })

  await t.test('a restart while a gateway is down changes nothing', async (t) => {
    const meter = await Meter.start(oneHost, twoHost, '10.2.0.10', { perSecond, flows: 8 })
    await one.stop('SIGKILL')
    const planned = JSON.parse(one.cli('plan', '--json').stdout) as { ops: readonly unknown[] }
    t.strictSame(planned.ops, [], 'without an agent, too')
    one.log = ''
    one.start()
    await one.untilLogged('first-audit', guest ? 120 : 30)
    await pause(3000)
    const { sent, lost, gapMs } = await meter.stop()
    t.equal(lost, 0, `lost of ${sent}, longest gap ${gapMs} ms`)
    const ops = [...one.log.matchAll(/(?:audit|pass) .*?ops=([0-9]+)/g)].reduce(
      (sum, match) => sum + Number(match[1]),
      0,
    )
    t.equal(ops, 0, 'ops')
    t.equal(membersOf(twin), 'ls-wg0')
  })

  for (const gateway of [one, a, b]) await gateway.stop()
})
