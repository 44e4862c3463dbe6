/** The smallest lab with traffic: two sites of one gateway, a host behind each. */
import type { Gateway } from './gateway.ts'
import { Lab } from './lab.ts'
import type { Machine } from './machine.ts'

export interface Pair {
  readonly lab: Lab
  readonly left: Gateway
  readonly right: Gateway
  readonly leftHost: Machine
  readonly rightHost: Machine
}

/** Enrolled and up: 10.1.0.10 behind `left`, 10.2.0.10 behind `right`. */
export async function makePair(directory: string): Promise<Pair> {
  const lab = new Lab(directory)
  lab.underlay('wan')
  const [left, right] = await Promise.all(
    [1, 2].map((n) =>
      lab.gateway(`gw-${n}`, {
        site: `site-${n}`,
        underlays: { wan0: { underlay: 'wan', addresses: [`192.0.2.${n}/24`] } },
        siteAddresses: [`10.${n}.0.1/24`],
        prefixes: [`10.${n}.0.0/16`],
        config: [`endpoints: [ { underlay: wan, address: 192.0.2.${n} } ]`],
      }),
    ),
  )
  const [leftHost, rightHost] = await Promise.all(
    [1, 2].map((n) => lab.host(`host-${n}`, `site-${n}`, [`10.${n}.0.10/24`], [`10.${n}.0.1`])),
  )
  if (left === undefined || right === undefined || leftHost === undefined || rightHost === undefined) {
    throw new Error('a pair has two of each')
  }
  lab.writeFabric([
    'overlay: { ipv4: 100.127.0.0/16, ipv6: "fd4c:53aa:bb00::/48" }',
    'underlays: [ { name: wan } ]',
  ])
  await lab.enrol()
  await left.untilUp(1)
  await right.untilUp(1)
  return { lab, left, right, leftHost, rightHost }
}
