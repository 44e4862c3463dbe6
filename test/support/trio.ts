/**
 * Three sites of one gateway each, with a host behind each, on one underlay:
 *
 *   host-n (10.n.0.10, fd00:n::10) ── gw-n (10.n.0.1, fd00:n::1) ── wan (192.0.2.n)
 */
import type { Gateway } from './gateway.ts'
import { Lab, sitePlan, wanFabric } from './lab.ts'
import type { Machine } from './machine.ts'

export interface Site {
  readonly gateway: Gateway
  readonly host: Machine
}

export interface TrioOptions {
  /** More lines of config.yml. */
  readonly config?: readonly string[]
  /** More lines of the fabric document. */
  readonly fabric?: readonly string[]
  /** Before the agents start. */
  readonly prepare?: (gateway: Gateway, n: number, lab: Lab) => void
  /** Of `ca issue`, by gateway. */
  readonly add?: Readonly<Record<string, readonly string[]>>
}

export interface Trio {
  readonly lab: Lab
  readonly sites: readonly [Site, Site, Site]
}

/** Enrolled and up. */
export async function makeTrio(directory: string, options: TrioOptions = {}): Promise<Trio> {
  const lab = new Lab(directory)
  lab.underlay('wan')
  const site = async (n: number): Promise<Site> => {
    const gateway = await lab.gateway(`gw-${n}`, {
      ...sitePlan(n),
      underlays: { wan0: { underlay: 'wan', addresses: [`192.0.2.${n}/24`, `2001:db8::${n}/64`] } },
      config: [`endpoints: [ { underlay: wan, address: 192.0.2.${n} } ]`, ...(options.config ?? [])],
    })
    options.prepare?.(gateway, n, lab)
    return { gateway, host: await lab.siteHost(n) }
  }
  const sites = [await site(1), await site(2), await site(3)] as const
  await lab.writeFabric([...wanFabric, ...(options.fabric ?? [])])
  await lab.enrol(options.add)
  for (const { gateway } of sites) await gateway.untilUp(2)
  return { lab, sites }
}
