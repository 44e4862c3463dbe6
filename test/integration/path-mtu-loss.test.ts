/** What is no black hole: fragments that arrive, packets that are lost by chance, an agent that is silent. Nothing is lowered. */
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { Bulk } from '../support/bulk.ts'
import { isolated } from '../support/isolate.ts'
import { carried, heal, makeWorld, mtuOf, quickMs, slow, squeeze } from '../support/narrow.ts'
import { untilFit } from '../support/path-row.ts'

await isolated(import.meta.url, async (directory) => {
  const { gateways, hosts, routers, say, end } = await makeWorld(directory, 4)
  const { documents } = carried[4]
  const [one, two] = gateways
  await say(quickMs)

  await t.test('where fragments pass nothing is lowered', async (t) => {
    squeeze(routers, 1400)
    t.equal(await new Bulk(hosts[0], '10.2.0.10').arrives(15 * slow), true)
    await pause(5000)
    for (const gateway of gateways) t.notMatch(gateway.log, /path-mtu-lowered/)
    heal(routers)
  })

  await t.test('nor by loss, nor when the far agent is silent', async (t) => {
    for (const gateway of gateways) gateway.log = ''
    // One direction is all that a round trip needs.
    routers[0].run('nft', 'add table inet loss')
    routers[0].run('nft', 'add chain inet loss forward { type filter hook forward priority 0; }')
    routers[0].run('nft', 'add rule inet loss forward iifname eth0 numgen random mod 100 < 20 drop')
    await pause(10_000)
    for (const gateway of gateways) t.notMatch(gateway.log, /path-mtu-lowered/)
    routers[0].run('nft', 'delete table inet loss')
    await untilFit(one, 'gw-2', 1)
    await two.stop()
    await one.untilLogged('standing=silent')
    await pause(5000)
    t.notMatch(one.log, /path-mtu-lowered/)
    two.start()
    await untilFit(one, 'gw-2', 1)
    await pause(2000)
    for (const gateway of gateways) t.notMatch(gateway.log, /path-mtu-lowered/)
    t.equal(mtuOf(one), documents)
  })
  await end()
})
