/**
 * A smaller MTU on the way that nobody tells of: large packets vanish, small ones pass, and every TCP transfer hangs. Two
 * gateways of two sites, with two routers and a narrow link between them; what the routers filter makes the black hole.
 *
 *   host ── gw-1 ── near ── router-1 ── mid (1400 bytes) ── router-2 ── far ── gw-2 ── host
 */
import t from 'tap'
import { Bulk } from '../support/bulk.ts'
import { guest } from '../support/fault.ts'
import { isolated } from '../support/isolate.ts'
import { Meter } from '../support/meter.ts'
import {
  carried,
  filter,
  forget,
  heal,
  makeWorld,
  other,
  quickMs,
  routesOf,
  slow,
  squeeze,
  untilMtu,
} from '../support/narrow.ts'
import { untilFit } from '../support/path-row.ts'

/** So many routes change with the MTU. */
const many = Array.from({ length: guest ? 100 : 1000 }, (_, i) => `172.16.${i >> 4}.${(i & 15) * 16}/28`)

await isolated(import.meta.url, async (directory) => {
  const { gateways, hosts, routers, say, end } = await makeWorld(directory, 4, { prefixes: many })
  const { documents, narrow } = carried[4]
  const [one] = gateways

  await t.test('ICMP is filtered: transfers hang, and go on once the path is measured', async (t) => {
    squeeze(routers, 1400)
    filter(routers, ['icmp', ...(guest ? ['fragments'] : [])])
    const stuck = [new Bulk(hosts[0], '10.2.0.10'), new Bulk(hosts[1], 'fd00:1::10')]
    t.equal(await stuck[0]?.arrives(6 * slow), false, 'control: with discovery off it hangs')
    t.equal(await stuck[1]?.arrives(0), false, 'in either direction, and family')
    t.equal(hosts[0].pings('10.2.0.10'), true, 'while small packets pass')
    await say(quickMs)
    for (const gateway of gateways) {
      await gateway.untilLogged(`path-mtu-lowered gateway=${other(gateway)} underlay=wan mtu=1280`)
      await untilMtu(gateway, narrow)
    }
    for (const bulk of stuck) t.equal(await bulk.arrives(30 * slow), true, 'what hung goes on')
    for (const [from, to] of [
      [hosts[0], '10.2.0.10'],
      [hosts[1], '10.1.0.10'],
      [hosts[0], 'fd00:2::10'],
    ] as const) {
      t.equal(await new Bulk(from, to).arrives(15 * slow), true, to)
    }
    await untilFit(one, 'gw-2', 1)
    t.match(one.cli('status', 'gw-2').stdout, /path MTU: 1328 bytes in the tunnel; documents say 1440/)
    const problem = /gw-2 over wan: packets of more than 1328 bytes get lost on the way.*\n +next: let ICMP/
    for (const verb of ['status', 'peers']) t.match(one.cli(verb).stdout, problem, verb)
    t.equal((await one.status())?.health, 'ok', 'traffic flows')
  })

  await t.test('a second start knows', async (t) => {
    await one.stop()
    const before = routesOf(one)
    one.log = ''
    one.start()
    await one.untilUp(1)
    await untilFit(one, 'gw-2', 1)
    t.match(one.log, /first-audit .*ops=0\b/)
    t.notMatch(one.log, /path-mtu-lowered/)
    t.equal(routesOf(one), before)
  })

  await t.test('the black hole is gone: back to what documents say, in time', async (t) => {
    heal(routers)
    for (const gateway of gateways) {
      await untilMtu(gateway, documents)
      await gateway.untilLogged(
        `path-mtu-raised gateway=${other(gateway)} underlay=wan mtu=${documents} before=${narrow}`,
      )
    }
    t.pass('raised, and said')
  })

  await t.test('ICMP passes, and fragments do not', async (t) => {
    // Small packets pass all the time: a route that is away for a moment would lose some. By themselves: beside a bulk transfer
    // the queue of a userspace tunnel loses them as well.
    const changes = async (change: () => Promise<void>): Promise<void> => {
      const meter = await Meter.start(hosts[0], hosts[1], '10.2.0.10', { perSecond: 200, flows: 8 })
      await change()
      const { sent, lost, gapMs } = await meter.stop()
      t.equal(lost, 0, `lost of ${sent} while so many routes changed, longest gap ${gapMs} ms`)
    }
    for (const host of hosts) forget(host)
    for (const gateway of gateways) gateway.log = ''
    squeeze(routers, 1400)
    await changes(async () => {
      filter(routers, ['fragments'])
      for (const gateway of gateways) await untilMtu(gateway, narrow)
    })
    for (const [from, to] of [
      [hosts[0], '10.2.0.10'],
      [hosts[1], 'fd00:1::10'],
    ] as const) {
      t.equal(await new Bulk(from, to).arrives(15 * slow), true, to)
    }
    await changes(async () => {
      heal(routers)
      for (const gateway of gateways) await untilMtu(gateway, documents)
    })
    t.match(one.log, /pass .*ops=1\d+ failures=0/)
  })

  await end()
})
