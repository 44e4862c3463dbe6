/** A smaller MTU on the way of a stretched network: frames that do not fit are cut in two, or their sender is told. */
import t from 'tap'
import { Bulk, sink } from '../support/bulk.ts'
import { isolated } from '../support/isolate.ts'
import { lanConfig, lanFabric } from '../support/pair.ts'
import { carried, filter, makeWorld, quickMs, slow, squeeze, untilMtu } from '../support/narrow.ts'

await isolated(import.meta.url, async (directory) => {
  const { end, lab, say, gateways, routers } = await makeWorld(directory, 4, {
    fabric: lanFabric,
    config: lanConfig,
    before: (lab) => {
      for (const [n, { machine }] of lab.gateways.entries()) {
        lab.underlay(`lan-${n + 1}`)
        lab.plug(machine, 'lan0', `lan-${n + 1}`)
      }
    },
  })
  const hosts = [
    await lab.hostOn('lan-host-1', 'lan-1', ['192.168.50.1/24', 'fd50::1/64']),
    await lab.hostOn('lan-host-2', 'lan-2', ['192.168.50.2/24', 'fd50::2/64']),
  ] as const
  // What the bridge of a network takes, hosts are given by hand.
  for (const host of hosts) host.ip('link set dev eth0 mtu 1390')
  const endSink = await sink(hosts[1])
  t.equal(await hosts[0].reaches('192.168.50.2'), true)

  await t.test('a transfer hangs, and goes on', async (t) => {
    squeeze(routers, 1400)
    filter(routers, ['icmp', 'fragments'])
    const stuck = new Bulk(hosts[0], '192.168.50.2')
    t.equal(await stuck.arrives(6 * slow), false, 'control: with discovery off it hangs')
    await say(quickMs)
    for (const gateway of gateways) await untilMtu(gateway, carried[4].narrow)
    t.equal(await stuck.arrives(30 * slow), true, 'what hung goes on')
    for (const to of ['192.168.50.2', 'fd50::2'])
      t.equal(await new Bulk(hosts[0], to).arrives(15 * slow), true, to)
    t.equal(hosts[0].pings('192.168.50.2', 1362), true, 'so does a full frame that may be cut')
    const { machine } = gateways[0]
    t.equal(machine.run('cat', '/sys/class/net/ls-br7001/mtu').trim(), '1390', 'the bridge stays as it was')
  })
  endSink()
  await end()
})
