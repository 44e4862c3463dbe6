/**
 * A site of three gateways, and 256 flows to it, each followed through the sender's kernel: they spread evenly, one gateway
 * that goes moves its own flows and no others, and one that comes back is given its share again. test/bench/failover.ts has
 * the figures of two gateways.
 */
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { guest } from '../support/fault.ts'
import { countFlows, movedOthers, shareOf, takeFlows } from '../support/flow-spread.ts'
import type { Spread } from '../support/flow-spread.ts'
import type { Gateway } from '../support/gateway.ts'
import { isolated } from '../support/isolate.ts'
import { Lab } from '../support/lab.ts'
import { Meter } from '../support/meter.ts'
import { untilFit } from '../support/path-row.ts'

const flows = 256
const perSecond = guest ? 256 : 1024
const devices = ['ls-wg0', 'ls-wg1', 'ls-wg2'] as const

await isolated(import.meta.url, async (directory) => {
  const lab = new Lab(directory)
  lab.underlay('wan')
  const gateway = (name: string, site: number, n: number): Promise<Gateway> =>
    lab.gateway(name, {
      site: `site-${site}`,
      siteAddresses: [`10.${site}.0.${n}/24`],
      prefixes: [`10.${site}.0.0/16`],
      underlays: { wan0: { underlay: 'wan', addresses: [`192.0.2.${10 * site + n}/24`] } },
      config: [`endpoints: [ { underlay: wan, address: 192.0.2.${10 * site + n} } ]`],
    })
  const one = await gateway('gw-1', 1, 1)
  const [a, b, c] = [await gateway('gw-2a', 2, 1), await gateway('gw-2b', 2, 2), await gateway('gw-2c', 2, 3)]
  const from = await lab.host('host-1', 'site-1', ['10.1.0.10/24'], ['10.1.0.1'])
  const to = await lab.host('host-2', 'site-2', ['10.2.0.10/24'], ['10.2.0.1'])
  await lab.writeFabric([
    'overlay: { ipv4: 100.127.0.0/16, ipv6: "fd4c:53aa:bb00::/48" }',
    'underlays: [ { name: wan } ]',
  ])
  await lab.enrol()
  await untilFit(one, 'site-2', 3)
  await from.reaches('10.2.0.10')
  countFlows(one.machine, 9000)
  const traffic = (): Promise<Meter> => Meter.start(from, to, '10.2.0.10', { perSecond, flows })
  /** Of the next moments: each flow is seen several times. */
  const spread = async (): Promise<Spread> => {
    takeFlows(one.machine)
    await pause(4 * 1000 * (flows / perSecond) + 500)
    return takeFlows(one.machine)
  }
  const shown = (now: Spread): string =>
    devices.map((each) => `${each} ${(shareOf(now, each) * 100).toFixed()} %`).join(', ')
  const isEven = (now: Spread): boolean =>
    devices.every((each) => shareOf(now, each) > 0.2 && shareOf(now, each) < 0.47)

  let meter = await traffic()
  await pause(500)
  const three = await spread()

  await t.test('flows spread over all gateways', async (t) => {
    t.equal(three.size, flows)
    t.ok(isEven(three), shown(three))
    t.strictSame(movedOthers(three, await spread(), ''), [], 'and each stays where it is')
  })

  await t.test('one that drains moves its own flows and no others', async (t) => {
    t.equal(c.cli('drain', '--timeout', '60').status, 0)
    const two = await spread()
    t.equal(two.size, flows)
    t.strictSame(movedOthers(three, two, 'ls-wg2'), [])
    const share = shareOf(two, 'ls-wg0')
    t.ok(share > 0.35 && share < 0.65 && shareOf(two, 'ls-wg2') === 0, shown(two))
  })

  await t.test('it comes back, and gets its share', async (t) => {
    t.equal(c.cli('drain', '--undo').status, 0)
    let now = await spread()
    for (let i = 0; i < 100 && !isEven(now); i++) now = await spread()
    t.ok(isEven(now), shown(now))
    const { sent, lost, gapMs } = await meter.stop()
    t.equal(lost, 0, `lost of ${sent}, longest gap ${gapMs} ms`)
  })

  await t.test('one that dies moves its own flows and no others', async (t) => {
    meter = await traffic()
    await pause(500)
    const before = await spread()
    for (const link of ['wan0', 'site0']) c.machine.ip(`link set dev ${link} down`)
    await one.untilLogged('path-down gateway=gw-2c')
    const after = await spread()
    t.equal(after.size, flows)
    t.strictSame(movedOthers(before, after, 'ls-wg2'), [])
    const share = shareOf(after, 'ls-wg0')
    t.ok(share > 0.35 && share < 0.65, shown(after))
    await meter.stop()
  })

  for (const each of [one, a, b, c]) await each.stop()
})
