/** Snapshots written by hand, for tests of plan and kernel: sites with prefixes, and little else. */
import type { Network } from '../../agent/model/fabric.ts'
import type { Gateway, Snapshot } from '../../agent/model/gateway.ts'
import { prefix } from '../../agent/model/prefix.ts'
import { fabricWith, snapshotWith } from './plan-input.ts'

export interface SmallSite {
  readonly name: string
  readonly prefixes: readonly string[]
  readonly networks?: readonly string[]
}

/** One gateway a site, named `<site>-a`, numbered from 1. */
export function smallSnapshot(sites: readonly SmallSite[], networks: readonly Network[] = []): Snapshot {
  const gateways = sites.map((site, i): Gateway => ({
    name: `${site.name}-a`,
    number: i + 1,
    site: { name: site.name, provider: 'test', region: 'test', labels: {} },
    plane: 0,
    generation: 0,
    tunnelKeys: {},
    endpoints: [],
    prefixes: site.prefixes.map(prefix),
    certified: site.prefixes.map(prefix),
    networks: (site.networks ?? []).map((name) => ({ name })),
    weight: 1,
    state: 'active',
  }))
  return snapshotWith(gateways, fabricWith({ networks }))
}
