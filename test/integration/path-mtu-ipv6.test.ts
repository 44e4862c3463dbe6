/** A smaller MTU on the way over an IPv6 underlay, down to the least that IPv6 knows. */
import t from 'tap'
import { Bulk } from '../support/bulk.ts'
import { isolated } from '../support/isolate.ts'
import {
  carried,
  filter,
  forget,
  heal,
  makeWorld,
  quickMs,
  slow,
  squeeze,
  untilMtu,
} from '../support/narrow.ts'

await isolated(import.meta.url, async (directory) => {
  const { end, say, gateways, hosts, routers } = await makeWorld(directory, 6)
  const { documents, narrow } = carried[6]
  for (const what of ['icmp', 'fragments']) {
    await t.test(`${what} filtered`, async (t) => {
      await say(0)
      for (const host of hosts) forget(host)
      squeeze(routers, 1400)
      filter(routers, [what])
      const stuck = new Bulk(hosts[0], '10.2.0.10')
      t.equal(await stuck.arrives(6 * slow), false, 'control: with discovery off it hangs')
      await say(quickMs)
      for (const gateway of gateways) await untilMtu(gateway, narrow)
      t.equal(await stuck.arrives(30 * slow), true, 'what hung goes on')
      for (const to of ['10.2.0.10', 'fd00:2::10'])
        t.equal(await new Bulk(hosts[0], to).arrives(15 * slow), true, to)
      heal(routers)
      for (const gateway of gateways) await untilMtu(gateway, documents)
    })
  }

  await t.test('less than IPv6 packets may have inside: TCP passes', async (t) => {
    for (const host of hosts) forget(host)
    squeeze(routers, 1280)
    filter(routers, ['icmp', 'fragments'])
    for (const gateway of gateways) await untilMtu(gateway, 1200)
    for (const to of ['10.2.0.10', 'fd00:2::10'])
      t.equal(await new Bulk(hosts[0], to).arrives(15 * slow), true, to)
    t.match(gateways[0].cli('status').stdout, /of IPv6 only TCP passes/)
    heal(routers)
  })
  await end()
})
