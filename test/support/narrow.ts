/**
 * Two gateways of two sites, two routers and a narrow link between them; what the routers filter makes the black hole.
 *
 *   host ── gw-1 ── near ── router-1 ── mid (1400 bytes) ── router-2 ── far ── gw-2 ── host
 */
import { writeFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { sink } from './bulk.ts'
import { guest } from './fault.ts'
import type { Gateway } from './gateway.ts'
import { Lab, sitePlan } from './lab.ts'
import type { Machine } from './machine.ts'
import { untilFit } from './path-row.ts'

export const slow = guest ? 10 : 1
/** Of documents, and what 1400 bytes outside carry, in steps of 16: less 60 over IPv4, less 80 over IPv6. */
export const carried = { 4: { documents: 1440, narrow: 1328 }, 6: { documents: 1420, narrow: 1312 } } as const

/** Ms between confirmations; a path that was lowered is asked for more after sixty times as long. */
export const quickMs = 100

export interface World {
  readonly lab: Lab
  readonly gateways: readonly [Gateway, Gateway]
  readonly routers: readonly [Machine, Machine]
  readonly hosts: readonly [Machine, Machine]
  readonly end: () => Promise<void>
  /** Another fabric document. */
  readonly say: (mtuMs: number) => Promise<void>
}

const filters: Readonly<Record<string, readonly string[]>> = {
  icmp: ['out icmp type destination-unreachable', 'out icmpv6 type packet-too-big'],
  fragments: ['in ip frag-off & 0x3fff != 0', 'in exthdr frag exists'],
}

export const other = ({ name }: Gateway): string => (name === 'gw-1' ? 'gw-2' : 'gw-1')
const siteOf = (gateway: Gateway): string => (gateway.name === 'gw-1' ? '2' : '1')

export interface WorldOptions {
  /** More lines of the fabric document. */
  readonly fabric?: readonly string[]
  /** More of the second gateway. */
  readonly prefixes?: readonly string[]
  /** More lines of each config.yml. */
  readonly config?: readonly string[]
  /** Before the agents start. */
  readonly before?: (lab: Lab) => void
}

export async function makeWorld(
  directory: string,
  family: 4 | 6,
  options: WorldOptions = {},
): Promise<World> {
  const lab = new Lab(directory)
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
      prefixes: [...sitePlan(n + 1).prefixes, ...((n === 1 ? options.prefixes : undefined) ?? [])],
      underlays: { wan0: { underlay: n === 0 ? 'near' : 'far', addresses: [`${address}/${length}`] } },
      via: router,
      config: [`endpoints: [ { underlay: wan, address: "${address}" } ]`, ...(options.config ?? [])],
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
  const say = async (mtuMs: number): Promise<void> => {
    await lab.writeFabric([
      'overlay: { ipv4: 100.127.0.0/16, ipv6: "fd4c:53aa:bb00::/48" }',
      'underlays: [ { name: wan } ]',
      `probe: { mtuMs: ${mtuMs} }`,
      ...(options.fabric ?? []),
    ])
  }
  options.before?.(lab)
  await say(0)
  await lab.enrol()
  for (const gateway of gateways) await gateway.untilUp(1)
  await untilFit(gateways[0], 'gw-2', 1)
  await untilFit(gateways[1], 'gw-1', 1)
  return { lab, end, gateways, routers, hosts, say }
}

export function squeeze(routers: readonly Machine[], mtu: number): void {
  for (const router of routers) router.ip(`link set dev mid0 mtu ${mtu}`)
}

export function filter(routers: readonly Machine[], what: readonly string[]): void {
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
export function forget(host: Machine): void {
  for (const family of ['-4', '-6']) host.ip(`${family} route flush cache`)
}

export function heal(routers: readonly Machine[]): void {
  squeeze(routers, 1500)
  for (const router of routers) router.attempt('nft', 'delete', 'table', 'inet', 'hole')
}

export function routesOf({ machine }: Gateway): string {
  return machine.ip('route show table 19539') + machine.ip('-6 route show table 19539')
}

/** Of the routes to the other site, in both families. */
export function mtuOf(gateway: Gateway): number | undefined {
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

export async function untilMtu(gateway: Gateway, mtu: number): Promise<void> {
  const end = performance.now() + 60_000 * slow
  while (mtuOf(gateway) !== mtu) {
    if (performance.now() > end)
      throw new Error(`${gateway.name}: no routes of ${mtu}:\n${routesOf(gateway)}\n${gateway.log}`)
    await pause(100)
  }
}
