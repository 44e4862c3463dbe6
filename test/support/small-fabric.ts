/** Snapshots written by hand, for tests of plan and kernel: sites with prefixes, and little else. */
import type { Fabric, Network } from '../../agent/model/fabric.ts'
import type { Gateway, Snapshot } from '../../agent/model/gateway.ts'
import { prefix } from '../../agent/model/prefix.ts'

export interface SmallSite {
  readonly name: string
  readonly prefixes: readonly string[]
  readonly networks?: readonly string[]
}

/** One gateway a site, named `<site>-a`, numbered from 1. */
export function smallSnapshot(sites: readonly SmallSite[], networks: readonly Network[] = []): Snapshot {
  const fabric: Fabric = {
    fabric: 'test',
    serial: 1,
    freshUntil: 4102444800000,
    overlay: { ipv4: prefix('100.127.0.0/16'), ipv6: prefix('fd4c:53aa:bb00::/48') },
    underlays: [{ name: 'internet' }],
    prefer: ['internet'],
    mesh: 'all',
    networks,
    policy: { default: 'allow', rules: [] },
    probe: { port: 18620, intervalMs: 200, retryMs: 60, downAfter: 10, underlays: {} },
    rotation: { days: 0 },
    removed: [],
    revoked: { serials: [], identities: [] },
  }
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
  return {
    fabric,
    gateways: new Map(gateways.map((gateway) => [gateway.name, gateway])),
    sites: new Map(gateways.map((gateway) => [gateway.site.name, [gateway]])),
  }
}
