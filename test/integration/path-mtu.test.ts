/**
 * A smaller MTU on the way that nobody tells of: large packets vanish, small ones pass, and every TCP transfer hangs. Two
 * gateways of two sites, with two routers and a narrow link between them; what the routers filter makes the black hole.
 *
 *   host ── gw-1 ── near ── router-1 ── mid (1400 bytes) ── router-2 ── far ── gw-2 ── host
 */
import { readdirSync, writeFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { Bulk, sink } from '../support/bulk.ts'
import { guest } from '../support/fault.ts'
import type { Gateway } from '../support/gateway.ts'
import { isolated } from '../support/isolate.ts'
import { Lab, sitePlan } from '../support/lab.ts'
import type { Machine } from '../support/machine.ts'
import { untilFit } from '../support/path-row.ts'

const slow = guest ? 10 : 1
/** Of documents, and what 1400 bytes outside carry, in steps of 16: less 60 over IPv4, less 80 over IPv6. */
const carried = { 4: { documents: 1440, narrow: 1328 }, 6: { documents: 1420, narrow: 1312 } } as const

/** Ms between confirmations; a path that was lowered is asked for more after sixty times as long. */
const quickMs = 100

interface World {
  readonly gateways: readonly [Gateway, Gateway]
  readonly routers: readonly [Machine, Machine]
  readonly hosts: readonly [Machine, Machine]
  readonly end: () => Promise<void>
  /** Another fabric document. */
  readonly say: (mtuMs: number) => void
}

const filters: Readonly<Record<string, readonly string[]>> = {
  icmp: ['out icmp type destination-unreachable', 'out icmpv6 type packet-too-big'],
  fragments: ['in ip frag-off & 0x3fff != 0', 'in exthdr frag exists'],
}

const other = ({ name }: Gateway): string => (name === 'gw-1' ? 'gw-2' : 'gw-1')
const siteOf = (gateway: Gateway): string => (gateway.name === 'gw-1' ? '2' : '1')

await isolated(import.meta.url, async (directory) => {
  await t.test('over IPv4', async (t) => {
    const world = await makeWorld(`${directory}/four`, 'four', 4)
    const { documents, narrow } = carried[4]
    const { gateways, hosts, routers } = world
    const [one, two] = gateways

    await t.test('ICMP is filtered: transfers hang, and go on once the path is measured', async (t) => {
      squeeze(routers, 1400)
      filter(routers, ['icmp', ...(guest ? ['fragments'] : [])])
      const stuck = [new Bulk(hosts[0], '10.2.0.10'), new Bulk(hosts[1], 'fd00:1::10')]
      t.equal(await stuck[0]?.arrives(6 * slow), false, 'control: with discovery off it hangs')
      t.equal(await stuck[1]?.arrives(0), false, 'in either direction, and family')
      t.equal(hosts[0].pings('10.2.0.10'), true, 'while small packets pass')
      world.say(quickMs)
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
      for (const host of hosts) forget(host)
      for (const gateway of gateways) gateway.log = ''
      squeeze(routers, 1400)
      filter(routers, ['fragments'])
      for (const gateway of gateways) await untilMtu(gateway, narrow)
      for (const [from, to] of [
        [hosts[0], '10.2.0.10'],
        [hosts[1], 'fd00:1::10'],
      ] as const) {
        t.equal(await new Bulk(from, to).arrives(15 * slow), true, to)
      }
      heal(routers)
      for (const gateway of gateways) await untilMtu(gateway, documents)
    })

    await t.test('where fragments pass nothing is lowered', async (t) => {
      for (const gateway of gateways) gateway.log = ''
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
    await world.end()
    // The kernel takes the links of a machine that is gone in its own time.
    for (let i = 0; i < 300 && /^p\d/m.test(readdirSync('/sys/class/net').join('\n')); i++) await pause(100)
  })

  await t.test('over IPv6', async (t) => {
    const { end, say, gateways, hosts, routers } = await makeWorld(`${directory}/six`, 'six', 6)
    for (const what of [['icmp'], ['fragments']]) {
      say(0)
      for (const host of hosts) forget(host)
      squeeze(routers, 1400)
      filter(routers, what)
      const stuck = new Bulk(hosts[0], '10.2.0.10')
      t.equal(await stuck.arrives(6 * slow), false, `control: ${what.join()} filtered, it hangs`)
      say(quickMs)
      for (const gateway of gateways) await untilMtu(gateway, carried[6].narrow)
      t.equal(await stuck.arrives(30 * slow), true, 'what hung goes on')
      for (const to of ['10.2.0.10', 'fd00:2::10'])
        t.equal(await new Bulk(hosts[0], to).arrives(15 * slow), true, to)
      heal(routers)
      for (const gateway of gateways) await untilMtu(gateway, carried[6].documents)
    }
    await end()
  })
})

async function makeWorld(directory: string, name: string, family: 4 | 6): Promise<World> {
  const lab = new Lab(directory, name)
  for (const underlay of ['near', 'mid', 'far']) lab.underlay(underlay)
  // Of each side: the gateway's address, and the router's.
  const sides = {
    4: [
      ['192.0.2.1', '192.0.2.254'],
      ['198.51.100.2', '198.51.100.254'],
    ],
    6: [
      ['2001:db8:1::1', '2001:db8:1::fe'],
      ['2001:db8:2::2', '2001:db8:2::fe'],
    ],
  } as const
  const mids = { 4: ['203.0.113.1', '203.0.113.2'], 6: ['2001:db8:3::1', '2001:db8:3::2'] } as const
  const nets = { 4: ['192.0.2.0/24', '198.51.100.0/24'], 6: ['2001:db8:1::/64', '2001:db8:2::/64'] } as const
  const length = family === 4 ? 24 : 64
  const make = async (n: 0 | 1): Promise<Gateway> => {
    const [address, router] = sides[family][n]
    return lab.gateway(`gw-${n + 1}`, {
      ...sitePlan(n + 1),
      underlays: { wan0: { underlay: n === 0 ? 'near' : 'far', addresses: [`${address}/${length}`] } },
      via: router,
      config: [`endpoints: [ { underlay: wan, address: "${address}" } ]`],
    })
  }
  const gateways = [await make(0), await make(1)] as const
  const makeRouter = async (n: 0 | 1): Promise<Machine> => {
    const router = await lab.hostOn(`router-${n + 1}`, n === 0 ? 'near' : 'far', [
      `${sides[family][n][1]}/${length}`,
    ])
    lab.plug(router, 'mid0', 'mid')
    router.ip(`address add ${mids[family][n]}/${length} dev mid0 nodad`)
    const [far, to] = n === 0 ? [mids[family][1], nets[family][1]] : [mids[family][0], nets[family][0]]
    router.ip(`route add ${to} via ${far}`)
    for (const switched of ['ipv4/ip_forward', 'ipv6/conf/all/forwarding'])
      router.run('sh', '-c', `echo 1 >/proc/sys/net/${switched}`)
    return router
  }
  const routers = [await makeRouter(0), await makeRouter(1)] as const
  const hosts = [await lab.siteHost(1), await lab.siteHost(2)] as const
  const sinks = [await sink(hosts[0]), await sink(hosts[1])]
  const end = async (): Promise<void> => {
    for (const endSink of sinks) endSink()
    await lab.end()
  }
  const say = (mtuMs: number): void => {
    lab.writeFabric([
      'overlay: { ipv4: 100.127.0.0/16, ipv6: "fd4c:53aa:bb00::/48" }',
      'underlays: [ { name: wan } ]',
      `probe: { mtuMs: ${mtuMs} }`,
    ])
  }
  say(0)
  await lab.enrol()
  for (const gateway of gateways) await gateway.untilUp(1)
  await untilFit(gateways[0], 'gw-2', 1)
  await untilFit(gateways[1], 'gw-1', 1)
  return { end, gateways, routers, hosts, say }
}

function squeeze(routers: readonly Machine[], mtu: number): void {
  for (const router of routers) router.ip(`link set dev mid0 mtu ${mtu}`)
}

function filter(routers: readonly Machine[], what: readonly string[]): void {
  for (const router of routers) {
    const lines = [
      'add table inet hole',
      'add chain inet hole in { type filter hook prerouting priority -450; }',
      'add chain inet hole out { type filter hook output priority 0; }',
      ...what.flatMap((one) => (filters[one] ?? []).map((rule) => `add rule inet hole ${rule} drop`)),
    ]
    writeFileSync(router.path('/run/hole.nft'), `${lines.join('\n')}\n`)
    router.run('nft', '-f', '/run/hole.nft')
  }
}

/** What the gateway told a host of path MTUs before, the host goes by for ten minutes. */
function forget(host: Machine): void {
  for (const family of ['-4', '-6']) host.ip(`${family} route flush cache`)
}

function heal(routers: readonly Machine[]): void {
  squeeze(routers, 1500)
  for (const router of routers) router.attempt('nft', 'delete', 'table', 'inet', 'hole')
}

function routesOf({ machine }: Gateway): string {
  return machine.ip('route show table 19539') + machine.ip('-6 route show table 19539')
}

/** Of the routes to the other site, in both families. */
function mtuOf(gateway: Gateway): number | undefined {
  const n = siteOf(gateway)
  const routes = [`10.${n}.0.0/16`, `fd00:${n}::/48`, `100.127.0.${n}`, `fd4c:53aa:bb00::${n}`]
  const mtus = routes.map((to) =>
    Number(
      / mtu (\d+)/.exec(
        gateway.machine.ip(`${to.includes(':') ? '-6' : '-4'} route show table 19539 ${to}`),
      )?.[1],
    ),
  )
  return new Set(mtus).size === 1 ? mtus[0] : undefined
}

async function untilMtu(gateway: Gateway, mtu: number): Promise<void> {
  const end = performance.now() + 60_000 * slow
  while (mtuOf(gateway) !== mtu) {
    if (performance.now() > end)
      throw new Error(`${gateway.name}: no routes of ${mtu}:\n${routesOf(gateway)}\n${gateway.log}`)
    await pause(100)
  }
}
