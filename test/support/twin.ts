/**
 * A site of one gateway and a site of two, over two underlays: what fails over has somewhere to go.
 *
 *   host-1 ── gw-1 ══ dx, wan ══ gw-2a, gw-2b ── host-2
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { Gateway } from './gateway.ts'
import { Lab } from './lab.ts'
import type { Machine } from './machine.ts'

export interface Twin {
  readonly lab: Lab
  readonly one: Gateway
  readonly a: Gateway
  readonly b: Gateway
  readonly oneHost: Machine
  readonly twoHost: Machine
}

const underlays = ['dx', 'wan'] as const

/**
 * Enrolled and up. `fabric`: more lines of the fabric document; `prepare`: called before the agents start; `issue`: options
 * of `ca issue` by gateway.
 */
export async function makeTwin(
  directory: string,
  fabric: readonly string[] = [],
  prepare: (gateway: Gateway) => void = () => undefined,
  issue: Readonly<Record<string, readonly string[]>> = {},
): Promise<Twin> {
  const lab = new Lab(directory)
  for (const name of underlays) lab.underlay(name)
  const gateway = (name: string, site: number, n: number): Promise<Gateway> =>
    lab.gateway(name, {
      site: `site-${site}`,
      siteAddresses: [`10.${site}.0.${n}/24`],
      prefixes: [`10.${site}.0.0/16`],
      underlays: {
        dx0: { underlay: 'dx', addresses: [`172.31.0.${10 * site + n}/24`] },
        wan0: { underlay: 'wan', addresses: [`192.0.2.${10 * site + n}/24`] },
      },
      config: [
        `endpoints: [ { underlay: dx, address: 172.31.0.${10 * site + n} }, { underlay: wan, address: 192.0.2.${10 * site + n} } ]`,
        `canary: [ 10.${site}.0.10 ]`,
        `health: 10.${site}.0.${n}:9587`,
      ],
    })
  const one = await gateway('gw-1', 1, 1)
  const a = await gateway('gw-2a', 2, 1)
  const b = await gateway('gw-2b', 2, 2)
  const oneHost = await lab.host('host-1', 'site-1', ['10.1.0.10/24'], ['10.1.0.1'])
  const twoHost = await lab.host('host-2', 'site-2', ['10.2.0.10/24'], ['10.2.0.1'])
  await lab.writeFabric([
    'overlay: { ipv4: 100.127.0.0/16, ipv6: "fd4c:53aa:bb00::/48" }',
    'underlays: [ { name: dx }, { name: wan } ]',
    'prefer: [ dx, wan ]',
    ...fabric,
  ])
  for (const each of [one, a, b]) prepare(each)
  await lab.enrol(issue)
  for (const each of [one, a, b]) await each.untilUp(4)
  return { lab, one, a, b, oneHost, twoHost }
}

/** The members once they are these, or what they are after half a minute. */
export async function untilMembers(twin: Twin, wanted: string): Promise<string> {
  let found = membersOf(twin)
  for (let i = 0; i < 300 && found !== wanted; i++) {
    await pause(100)
    found = membersOf(twin)
  }
  return found
}

/** Members of the group that leads to site 2, as `ls-wg0/ls-wg1`. */
export function membersOf({ one }: Twin): string {
  const json = one.cli('routes', '--json').stdout
  const { routes } = JSON.parse(json) as {
    routes: readonly { prefix: string; devices?: readonly string[] }[]
  }
  return routes.find(({ prefix }) => prefix === '10.2.0.0/16')?.devices?.join('/') ?? ''
}
