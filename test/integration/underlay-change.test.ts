/**
 * The ground moves: links go down and up, the address of the default endpoint changes, another link becomes the default
 * route's, an MTU shrinks. The agent follows, says so in its record, and the peers follow that; nobody has to help.
 *
 *   gw-1 ── wan (192.0.2.0/24) ── gw-2      gw-1's endpoint is the address on the link of its default route
 *   gw-1 ── alt (198.51.100.0/24) ── gw-2
 */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { setTimeout as pause } from 'node:timers/promises'
import type { GatewayRecord } from '../../agent/model/fabric.ts'
import { documentsOf } from '../../agent/trust/parse.ts'
import { dump, dumpDiff } from '../support/dump.ts'
import { guest, untilDump } from '../support/fault.ts'
import type { Gateway } from '../support/gateway.ts'
import { isolated } from '../support/isolate.ts'
import { Lab, sitePlan } from '../support/lab.ts'

const patienceMs = guest ? 180_000 : 20_000

await isolated(import.meta.url, async (directory) => {
  const lab = new Lab(directory)
  lab.underlay('wan')
  lab.underlay('alt')
  const make = (n: number, config: readonly string[]): Promise<Gateway> =>
    lab.gateway(`gw-${n}`, {
      ...sitePlan(n),
      underlays: {
        wan0: { underlay: 'wan', addresses: [`192.0.2.${n}/24`, `2001:db8::${n}/64`] },
        alt0: { underlay: 'alt', addresses: [`198.51.100.${n}/24`] },
      },
      config,
    })
  const left = await make(1, [])
  const right = await make(2, ['endpoints: [ { underlay: internet, address: 192.0.2.2 } ]'])
  // Nobody is there; it only says which link leads out.
  left.machine.ip('route add default via 192.0.2.254')
  const host1 = await lab.siteHost(1)
  const host2 = await lab.siteHost(2)
  await lab.writeFabric([
    'overlay: { ipv4: 100.127.0.0/16, ipv6: "fd4c:53aa:bb00::/48" }',
    'underlays: [ { name: internet, mtu: 1500 } ]',
  ])
  await lab.enrol()
  for (const gateway of [left, right]) await gateway.untilUp(1)
  /**
   * Both ways and in both families, each tried whatever the others do: wireguard-go sends from the address it had until it
   * hears its peer, so that the peer's side must come first where that address is gone.
   */
  const flows = (): boolean =>
    ![host2.pings('10.1.0.10'), host1.pings('10.2.0.10'), host1.pings('fd00:2::10')].includes(false)
  await until('traffic flows', flows)
  const whole = dump(left.machine)

  await t.test('the underlay link goes down and up', async (t) => {
    left.machine.ip('link set dev wan0 down')
    await until('its routes are gone', () => !left.machine.ip('route show').includes('192.0.2.0'))
    await pause(500)
    const kept = dumpDiff(whole, dump(left.machine)).filter((line) =>
      /^- (link|address)\tls-|^- rule/.test(line),
    )
    t.strictSame(kept, [], 'links, addresses and rules stay')
    left.machine.ip('link set dev wan0 up')
    // What the kernel drops with the link and nobody gives back: the operator's.
    left.machine.ip('address replace 2001:db8::1/64 dev wan0 nodad')
    left.machine.ip('route replace default via 192.0.2.254')
    t.strictSame(await untilDump(left.machine, whole, patienceMs), [], 'all is as before')
    await until('traffic flows', flows)
    t.equal((await left.untilUp(1)).failures.length, 0)
  })

  await t.test('the site link goes down and up', async (t) => {
    left.machine.ip('link set dev site0 down')
    await until('its route is gone', () => !left.machine.ip('route show').includes('10.1.0.0/24'))
    await pause(500)
    left.machine.ip('link set dev site0 up')
    left.machine.ip('address replace fd00:1::1/64 dev site0 nodad')
    t.strictSame(await untilDump(left.machine, whole, patienceMs), [], 'all is as before')
    await until('traffic flows', flows)
    t.equal((await left.untilUp(1)).failures.length, 0)
  })

  await t.test('the tunnel link goes down and up under both at once', async (t) => {
    for (const { machine } of [left, right]) {
      machine.ip('link set dev ls-wg0 down')
      machine.ip('link set dev ls-wg0 up')
    }
    t.strictSame(await untilDump(left.machine, whole, patienceMs), [], 'all is as before')
    await until('traffic flows', flows)
  })

  await t.test('the address of the endpoint changes', async (t) => {
    const serial = recordOf('gw-1').serial
    left.machine.ip('address del 192.0.2.1/24 dev wan0')
    left.machine.ip('address add 192.0.2.11/24 dev wan0')
    left.machine.ip('route replace default via 192.0.2.254')
    await until('the record says so', () => endpointOf('gw-1') === '192.0.2.11')
    t.ok(recordOf('gw-1').serial > serial, 'with a higher serial')
    await until('the peer follows', () => peerOf(right) === '192.0.2.11:51820')
    await until('traffic flows', flows)
    t.ok(left.running && right.running)
  })

  await t.test('another link becomes that of the default route', async (t) => {
    left.machine.ip('route del default')
    left.machine.ip('route add default via 198.51.100.254')
    await until('the record has its address', () => endpointOf('gw-1') === '198.51.100.1')
    await until('the peer follows', () => peerOf(right).startsWith('198.51.100.1:'))
    await until('traffic flows', flows)
    t.notMatch(JSON.stringify(await left.status()), /op-failed/)
    left.machine.ip('route del default')
    left.machine.ip('route add default via 192.0.2.254')
    await until('and back', () => endpointOf('gw-1') === '192.0.2.11')
    await until('the peer follows', () => peerOf(right).startsWith('192.0.2.11:'))
    await until('traffic flows', flows)
  })

  await t.test('the MTU of the underlay link shrinks and grows', async (t) => {
    const routeMtu = ({ machine }: Gateway, prefix: string): string | undefined =>
      / mtu (\d+)/.exec(machine.ip(`route show table 19539 ${prefix}`))?.[1]
    t.equal(routeMtu(left, '10.2.0.0/16'), '1440')
    left.machine.ip('link set dev wan0 mtu 1400')
    await until('routes have it, less WireGuard', () => routeMtu(left, '10.2.0.0/16') === '1340')
    await until('the tunnel link, too', () => left.machine.ip('link show dev ls-wg0').includes('mtu 1340'))
    await until('and those of the peer', () => routeMtu(right, '10.1.0.0/16') === '1340')
    await until('traffic flows', flows)
    left.machine.ip('link set dev wan0 mtu 1500')
    await until('and back', () => routeMtu(left, '10.2.0.0/16') === '1440')
    await until('at the peer', () => routeMtu(right, '10.1.0.0/16') === '1440')
    await until('traffic flows', flows)
    t.equal((await left.untilUp(1)).failures.length, 0)
  })

  for (const gateway of [left, right]) t.equal(await gateway.stop(), 0, `${gateway.name} stops`)

  function recordOf(gateway: string): GatewayRecord {
    const file = path.join(lab.registry, 'records', `${gateway}.jws`)
    const [document] = documentsOf([{ origin: file, bytes: readFileSync(file) }])
    if (document?.type !== 'record') throw new Error(`${file} holds no record`)
    return document.payload
  }

  function endpointOf(gateway: string): string | undefined {
    return recordOf(gateway).endpoints[0]?.address
  }

  function peerOf({ machine }: Gateway): string {
    return machine.run('wg', 'show', 'ls-wg0', 'endpoints').split(/\s/)[1] ?? ''
  }
})

async function until(what: string, holds: () => boolean): Promise<void> {
  const began = performance.now()
  while (!holds()) {
    if (performance.now() - began > patienceMs) throw new Error(`never: ${what}`)
    await pause(50)
  }
}
