/** The smallest lab with traffic: two sites of one gateway, a host behind each. */
import type { Gateway } from './gateway.ts'
import { Lab, rareProbes, sitePlan, wanFabric } from './lab.ts'
import type { Machine } from './machine.ts'

export interface Pair {
  readonly lab: Lab
  readonly left: Gateway
  readonly right: Gateway
  readonly leftHost: Machine
  readonly rightHost: Machine
}

export interface PairOptions {
  /** Paths are probed as by default, not hardly ever. */
  readonly isProbed?: boolean
  /** More lines of the fabric document. */
  readonly fabric?: readonly string[]
  /** More lines of each config.yml. */
  readonly config?: readonly string[]
  /** Called before the agents start. */
  readonly before?: (pair: Pair) => void | Promise<void>
}

/**
 * Enrolled and up: 10.1.0.10 and fd00:1::10 behind `left`, 10.2.0.10 and fd00:2::10 behind `right`. The underlay is the
 * bridge `wan`, the gateways' links are `wan0` and `site0`.
 */
export async function makePair(directory: string, options: PairOptions = {}): Promise<Pair> {
  const lab = new Lab(directory)
  lab.underlay('wan')
  const [left, right] = await Promise.all(
    [1, 2].map((n) =>
      lab.gateway(`gw-${n}`, {
        ...sitePlan(n),
        underlays: { wan0: { underlay: 'wan', addresses: [`192.0.2.${n}/24`] } },
        config: [`endpoints: [ { underlay: wan, address: 192.0.2.${n} } ]`, ...(options.config ?? [])],
      }),
    ),
  )
  const [leftHost, rightHost] = await Promise.all([1, 2].map((n) => lab.siteHost(n)))
  if (left === undefined || right === undefined || leftHost === undefined || rightHost === undefined) {
    throw new Error('a pair has two of each')
  }
  const pair = { lab, left, right, leftHost, rightHost }
  await options.before?.(pair)
  const fabric = options.isProbed === true ? wanFabric.filter((line) => line !== rareProbes) : wanFabric
  await lab.writeFabric([...fabric, ...(options.fabric ?? [])])
  await lab.enrol()
  await left.untilUp(1)
  await right.untilUp(1)
  return pair
}

/** A network `lan` of kind l2 for both: `lan0` of the gateways, a host on each segment, 192.168.50.1 and .2. */
export const lanFabric = ['networks: [ { name: lan, vni: 7001, kind: l2 } ]']
export const lanConfig = ['networks: [ { name: lan, interfaces: [ lan0 ] } ]']

export async function addLan({ lab, left, right }: Pair): Promise<readonly [Machine, Machine]> {
  for (const [n, { machine }] of [left, right].entries()) {
    lab.underlay(`lan-${n + 1}`)
    lab.plug(machine, 'lan0', `lan-${n + 1}`)
  }
  return [
    await lab.hostOn('lan-host-1', 'lan-1', ['192.168.50.1/24']),
    await lab.hostOn('lan-host-2', 'lan-2', ['192.168.50.2/24']),
  ]
}
