/**
 * Behind NAT: a gateway that nobody can call calls out, is found again when its translation changes, and says plainly where
 * both ends are behind NAT.
 *
 *   gw-1, gw-3 ── inside (192.168.1.0/24) ── nat ── wan (192.0.2.0/24) ── gw-2
 */
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Status } from '../../agent/daemon/status.ts'
import type { Gateway } from '../support/gateway.ts'
import { isolated } from '../support/isolate.ts'
import { Lab, sitePlan } from '../support/lab.ts'
import { Meter } from '../support/meter.ts'

const guest = process.env['LINKSPAN_GUEST'] !== undefined
const perSecond = guest ? 200 : 1000
/** A gap in ms that is no rebinding; a machine with other work stalls by itself. */
const patienceMs = 5000

await isolated(import.meta.url, async (directory) => {
  const lab = new Lab(directory)
  for (const name of ['wan', 'inside']) lab.underlay(name)
  const nat = await lab.hostOn('nat', 'wan', ['192.0.2.1/24'])
  lab.plug(nat, 'in0', 'inside')
  nat.ip('address add 192.168.1.254/24 dev in0')
  nat.run('sh', '-c', 'echo 1 >/proc/sys/net/ipv4/ip_forward')
  nat.run('nft', 'add table ip nat')
  nat.run('nft', 'add chain ip nat post { type nat hook postrouting priority srcnat ; }')
  nat.run('nft', 'add rule ip nat post oifname eth0 masquerade')
  const hidden = (n: number): Promise<Gateway> =>
    lab.gateway(`gw-${n}`, {
      ...sitePlan(n),
      underlays: { wan0: { underlay: 'inside', addresses: [`192.168.1.${n}/24`] } },
      via: '192.168.1.254',
      config: ['endpoints: [ { underlay: wan } ]'],
    })
  const one = await hidden(1)
  const two = await lab.gateway('gw-2', {
    ...sitePlan(2),
    underlays: { wan0: { underlay: 'wan', addresses: ['192.0.2.2/24'] } },
    config: ['endpoints: [ { underlay: wan, address: 192.0.2.2 } ]'],
  })
  const three = await hidden(3)
  const host1 = await lab.siteHost(1)
  const host2 = await lab.siteHost(2)
  await lab.writeFabric([
    'overlay: { ipv4: 100.127.0.0/16, ipv6: "fd4c:53aa:bb00::/48" }',
    'underlays: [ { name: wan } ]',
  ])
  await lab.enrol()
  await two.untilUp(2)
  for (const gateway of [one, three]) await gateway.untilUp(1)

  await t.test('it calls, and is reached', async (t) => {
    t.equal(await host1.reaches('10.2.0.10'), true)
    t.equal(await host2.reaches('10.1.0.10'), true)
    t.match(endpointOf(two, await two.status(), 'gw-1'), /^192\.0\.2\.1:/)
  })

  await t.test('its translation changes under traffic', async (t) => {
    const meter = await Meter.start(host2, host1, '10.1.0.10', { perSecond, flows: 8 })
    await pause(500)
    // With its address masquerade forgets all it knew (net/netfilter/nf_nat_masquerade.c).
    nat.ip('address add 192.0.2.3/24 dev eth0')
    nat.ip('address del 192.0.2.1/24 dev eth0')
    nat.ip('address replace 192.0.2.3/24 dev eth0')
    await pause(3000)
    const { sent, lost, gapMs } = await meter.stop()
    t.ok(lost < sent && gapMs < patienceMs, `lost ${lost} of ${sent}, longest gap ${gapMs} ms`)
    t.match(endpointOf(two, await two.status(), 'gw-1'), /^192\.0\.2\.3:/)
    t.equal(await host1.reaches('10.2.0.10'), true)
    t.equal((await two.status())?.failures.length, 0)
  })

  await t.test('both ends are behind NAT: it is said', async (t) => {
    for (const [gateway, other] of [
      [one, 'gw-3'],
      [three, 'gw-1'],
    ] as const) {
      const { notes = [], peers = [] } = (await gateway.status()) ?? {}
      t.match(
        notes.filter((note) => note.gateway === other),
        [{ reason: /both ends are behind NAT: one must list an address/ }],
        `${gateway.name} says so of ${other}`,
      )
      t.same(
        peers.filter((peer) => peer.gateway === other),
        [],
      )
      t.match(gateway.cli('status').stdout, /both ends are behind NAT/)
    }
  })

  for (const gateway of [one, two, three]) t.equal(await gateway.stop(), 0, `${gateway.name} stops`)
})

function endpointOf({ name }: Gateway, status: Status | undefined, of: string): string {
  const endpoint = status?.peers.find(({ gateway }) => gateway === of)?.endpoint
  if (endpoint === undefined) throw new Error(`${name} knows no endpoint of ${of}`)
  return endpoint
}
