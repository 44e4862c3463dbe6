/**
 * A prefix that two sites share, seen from a third: one of them is used, the other when that is gone, and the first again.
 *
 *   host-1 ── gw-1 ══ wan ══ gw-2 ── service ── host with 10.9.0.10
 *                        ╚══ gw-3 ─────┘
 */
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { isolated } from '../support/isolate.ts'
import { Lab, sitePlan } from '../support/lab.ts'
import type { Gateway } from '../support/gateway.ts'
import { Meter } from '../support/meter.ts'

const guest = process.env['LINKSPAN_GUEST'] !== undefined
/** What a userspace tunnel that gets little of a busy machine can hold in its queues. */
const perSecond = 200
/** A gap in ms that is no failover. An emulated guest, or a machine with other work, stalls by itself. */
const patienceMs = 5000
const prefix = '10.9.0.0/24'

await isolated(import.meta.url, async (directory) => {
  const lab = new Lab(directory)
  lab.underlay('wan')
  const site = async (n: number): Promise<Gateway> => {
    const plan = sitePlan(n)
    const gateway = await lab.gateway(`gw-${n}`, {
      ...plan,
      prefixes: n === 1 ? plan.prefixes : [...plan.prefixes, prefix],
      underlays: { wan0: { underlay: 'wan', addresses: [`192.0.2.${n}/24`] } },
      config: [`endpoints: [ { underlay: wan, address: 192.0.2.${n} } ]`],
    })
    if (n === 1) return gateway
    lab.plug(gateway.machine, 'svc0', lab.segment('service'))
    gateway.machine.ip(`address add 10.9.0.${n}/24 dev svc0`)
    return gateway
  }
  const [one, two, three] = [await site(1), await site(2), await site(3)]
  const client = await lab.siteHost(1)
  const service = await lab.hostOn('service', lab.segment('service'), ['10.9.0.10/24'])
  await lab.writeFabric(['overlay: { ipv4: 100.127.0.0/16 }', 'underlays: [ { name: wan } ]'])
  const shared = ['--grant', 'shared']
  await lab.enrol({ 'gw-2': shared, 'gw-3': shared })
  for (const gateway of [one, two, three]) await gateway.untilUp(2)

  interface Shown {
    readonly prefix: string
    readonly type: string
    readonly site?: string
    readonly reason?: string
  }
  const shown = (gateway: Gateway): Shown | undefined => {
    const { routes } = JSON.parse(gateway.cli('routes', '--json').stdout) as { routes: readonly Shown[] }
    return routes.find((route) => route.prefix === prefix)
  }
  /** The site in use once it is this one, or what it is after half a minute. */
  const untilAt = async (wanted: string): Promise<string | undefined> => {
    for (let i = 0; i < 300 && shown(one)?.site !== wanted; i++) await pause(100)
    return shown(one)?.site
  }
  const holders = (): readonly string[] => {
    const { peers } = JSON.parse(one.cli('status', '--json').stdout) as {
      peers: readonly { gateway: string; publicKey: string }[]
    }
    return one.machine
      .run('wg', 'show', 'ls-wg0', 'allowed-ips')
      .split('\n')
      .filter((line) => line.includes(prefix))
      .map((line) => peers.find(({ publicKey }) => line.startsWith(publicKey))?.gateway ?? line)
  }

  await t.test('the lower number is used, and `routes` says why', async (t) => {
    t.equal(await untilAt('site-2'), 'site-2')
    t.match(shown(one)?.reason, 'shared with site-3: gw-2 has the lowest number')
    t.match(
      one.cli('routes').stdout,
      /Of several sites, one at a time is used\n +10\.9\.0\.0\/24 +site site-2/,
    )
    t.strictSame(holders(), ['gw-2'])
    t.equal(await client.reaches('10.2.0.1'), true)
    t.equal(shown(two)?.type, 'throw', 'at a site that has it, it is its own')
    t.equal(shown(three)?.type, 'throw')
  })

  await t.test('its gateway dies without a word: the other site', async (t) => {
    const meter = await Meter.start(client, service, '10.9.0.10', { perSecond })
    await pause(1000)
    two.machine.ip('link set dev wan0 down')
    t.equal(await untilAt('site-3'), 'site-3')
    await pause(500)
    const { sent, received, lost, gapMs } = await meter.stop()
    t.ok(
      received > 0 && lost < sent && gapMs < patienceMs,
      `lost ${lost} of ${sent}, longest gap ${gapMs} ms`,
    )
    t.comment(`lost ${lost} of ${sent}, longest gap ${gapMs} ms`)
    t.match(shown(one)?.reason, 'shared with site-2: gw-2 is down')
    t.strictSame(holders(), ['gw-3'], 'and nobody else may send from it')
    await one.untilLogged('site-switched from=site-2 to=site-3')
  })

  await t.test('a restart meanwhile changes nothing', async (t) => {
    const meter = await Meter.start(client, service, '10.9.0.10', { perSecond })
    await one.stop('SIGKILL')
    one.log = ''
    one.start()
    await one.untilLogged('first-audit', guest ? 120 : 30)
    await pause(2000)
    const { sent, lost, gapMs } = await meter.stop()
    t.equal(lost, 0, `lost of ${sent}, longest gap ${gapMs} ms`)
    t.equal(shown(one)?.site, 'site-3')
  })

  await t.test('it is there again: back to it, and nothing is lost', async (t) => {
    const meter = await Meter.start(client, service, '10.9.0.10', { perSecond })
    await pause(500)
    two.machine.ip('link set dev wan0 up')
    t.equal(await untilAt('site-2'), 'site-2')
    await pause(1000)
    const { sent, lost, gapMs } = await meter.stop()
    t.equal(lost, 0, `lost of ${sent}, longest gap ${gapMs} ms`)
    t.strictSame(holders(), ['gw-2'])
    await one.untilLogged('site-switched from=site-3 to=site-2')
  })

  await t.test('it drains: the other site, and nothing is lost', async (t) => {
    const meter = await Meter.start(client, service, '10.9.0.10', { perSecond })
    await pause(500)
    two.cli('drain', '--timeout', '30')
    t.equal(await untilAt('site-3'), 'site-3')
    t.match(shown(one)?.reason, 'gw-2 is draining')
    t.equal(two.cli('drain', '--undo').status, 0)
    t.equal(await untilAt('site-2'), 'site-2')
    await pause(500)
    const { sent, lost, gapMs } = await meter.stop()
    t.equal(lost, 0, `lost of ${sent}, longest gap ${gapMs} ms`)
  })

  await t.test('its agent is dead and it still forwards: it stays', async (t) => {
    await two.stop('SIGKILL')
    await one.untilLogged('its agent is silent')
    await pause(1000)
    t.equal(shown(one)?.site, 'site-2')
    two.start()
    await two.untilUp(2)
    t.equal(shown(one)?.site, 'site-2')
  })

  for (const gateway of [one, two, three]) await gateway.stop()
})
