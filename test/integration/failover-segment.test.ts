/**
 * Two sites of one gateway over two underlays: when one underlay is cut, IPv4, IPv6 and a stretched network, whose VXLAN
 * remembers its route to the other end, all go by the other one, and come back without a loss.
 */
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { ip } from '../support/command.ts'
import { guest } from '../support/fault.ts'
import type { Gateway } from '../support/gateway.ts'
import { isolated } from '../support/isolate.ts'
import { Lab, sitePlan } from '../support/lab.ts'
import { Meter } from '../support/meter.ts'
import { addLan, lanConfig, lanFabric } from '../support/pair.ts'
import { untilFit } from '../support/path-row.ts'

const perSecond = guest ? 100 : 200
/** As in failover.test.ts. */
const patienceMs = 5000

await isolated(import.meta.url, async (directory) => {
  const lab = new Lab(directory)
  for (const name of ['dx', 'wan']) lab.underlay(name)
  const gateway = (n: number): Promise<Gateway> =>
    lab.gateway(`gw-${n}`, {
      ...sitePlan(n),
      underlays: {
        dx0: { underlay: 'dx', addresses: [`172.31.0.${n}/24`] },
        wan0: { underlay: 'wan', addresses: [`192.0.2.${n}/24`] },
      },
      config: [
        `endpoints: [ { underlay: dx, address: 172.31.0.${n} }, { underlay: wan, address: 192.0.2.${n} } ]`,
        ...lanConfig,
      ],
    })
  const [left, right] = [await gateway(1), await gateway(2)]
  const [leftHost, rightHost] = [await lab.siteHost(1), await lab.siteHost(2)]
  const lan = await addLan({ lab, left, right, leftHost, rightHost })
  await lab.writeFabric([
    'overlay: { ipv4: 100.127.0.0/16, ipv6: "fd4c:53aa:bb00::/48" }',
    'underlays: [ { name: dx }, { name: wan } ]',
    'prefer: [ dx, wan ]',
    ...lanFabric,
  ])
  await lab.enrol()
  await untilFit(left, 'site-2', 2)
  await untilFit(right, 'site-1', 2)

  const flows = [
    ['IPv4', leftHost, rightHost, '10.2.0.10', 9000],
    ['IPv6', leftHost, rightHost, 'fd00:2::10', 9001],
    ['lan', lan[0], lan[1], '192.168.50.2', 9002],
    ['IPv4, back', rightHost, leftHost, '10.1.0.10', 9003],
    ['lan, back', lan[1], lan[0], '192.168.50.1', 9004],
  ] as const
  for (const [flow, from, , address] of flows) t.ok(await from.reaches(address), `${flow} reaches`)
  const meters = (): Promise<readonly (readonly [string, Meter])[]> =>
    Promise.all(
      flows.map(async ([flow, from, to, address, port]) => {
        return [flow, await Meter.start(from, to, address, { perSecond, port, flows: 4 })] as const
      }),
    )
  const carried = ({ machine }: Gateway, device: string): number =>
    Number(machine.run('cat', `/sys/class/net/${device}/statistics/tx_packets`))

  await t.test('the underlay is cut', async (t) => {
    const running = await meters()
    await pause(1000)
    ip('link set dev dx down')
    for (const one of [left, right]) await one.untilLogged('path-down gateway=')
    await pause(1500)
    const before = carried(left, 'ls-wg8')
    await pause(1000)
    t.ok(carried(left, 'ls-wg8') - before > 2 * perSecond, 'by the other one')
    for (const [flow, meter] of running) {
      const { sent, lost, gapMs } = await meter.stop()
      t.ok(
        lost < sent && gapMs < patienceMs && gapMs > 300,
        `${flow}: lost ${lost} of ${sent}, gap ${gapMs} ms`,
      )
    }
  })

  await t.test('it is mended', async (t) => {
    for (const one of [left, right]) one.log = ''
    const running = await meters()
    ip('link set dev dx up')
    for (const one of [left, right]) await one.untilLogged('path-up gateway=')
    await pause(1500)
    const before = carried(left, 'ls-wg0')
    await pause(1000)
    t.ok(carried(left, 'ls-wg0') - before > 2 * perSecond, 'back')
    for (const [flow, meter] of running) {
      const { sent, lost, gapMs } = await meter.stop()
      t.equal(lost, 0, `${flow}: lost of ${sent}, longest gap ${gapMs} ms`)
    }
  })

  for (const one of [left, right]) await one.stop()
})
