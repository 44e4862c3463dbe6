/**
 * A world: fabric, sites, gateways, prefixes and this host, as plain numbers that fast-check can make, change and shrink.
 * It becomes documents, the documents become a snapshot through trust/verify, as in the agent, and that becomes the input
 * of plan. Parts that did not change keep their identity from one input to the next, which is what `affected` looks at.
 */
import { Paths } from './path-state.ts'
import { GroupIds } from '../../agent/plan/group-id.ts'
import type { PlanInput } from '../../agent/plan/input.ts'
import type { Delivered, Document } from '../../agent/model/document.ts'
import type { Endpoint, Fabric } from '../../agent/model/fabric.ts'
import type { Gateway, Snapshot } from '../../agent/model/gateway.ts'
import type { HostFacts, HostLink } from '../../agent/model/host.ts'
import type { Own, OwnEndpoint } from '../../agent/model/own.ts'
import { address, prefix } from '../../agent/model/prefix.ts'
import type { Prefix } from '../../agent/model/prefix.ts'
import { verify } from '../../agent/trust/verify.ts'
import {
  certificateOf,
  delivered,
  fabricOf,
  ground,
  identityOf,
  moment,
  recordOf,
  tunnelKeyOf,
} from './documents.ts'

export const underlayNames = ['internet', 'dx', 'peering'] as const
export const networkNames = ['blue', 'lan'] as const
const vnis = [7001, 7002] as const

/** Nested and disjoint, of both families, some equal to or inside what the host is connected to. */
export const prefixPool: readonly Prefix[] = [
  '10.0.0.0/8',
  '10.1.0.0/16',
  '10.1.5.0/24',
  '10.2.0.0/16',
  '10.2.3.0/24',
  '10.2.3.128/25',
  '10.3.0.0/16',
  '10.4.0.0/15',
  '172.16.9.0/24',
  '192.0.2.0/28',
  '203.0.113.64/26',
  'fd00::/16',
  'fd00:1::/48',
  'fd00:2::/48',
  'fd00:2:0:7::/64',
  '2001:db8:9::/48',
].map(prefix)

/** How a gateway can be reached over an underlay. */
export type Reach = 'none' | 'four' | 'six' | 'both' | 'nat'

export interface WorldGateway {
  readonly present: boolean
  readonly generation: number
  readonly reach: readonly Reach[]
  /** Position in networkNames. */
  readonly attached: readonly boolean[]
  readonly weight: number
  readonly state: 'active' | 'draining' | 'withdrawn'
  /** Its address changes. */
  readonly moved: boolean
}

/** Who has a prefix: a site, with a bit for each of its gateways that originates it; and another one that shares it. */
export interface Holding {
  readonly site: number
  readonly by: number
  /** -1: none. */
  readonly also: number
}

export interface World {
  /** Gateways by site; the first of the first site is this one. */
  readonly sites: readonly (readonly WorldGateway[])[]
  /** By position in prefixPool. */
  readonly prefixes: readonly Holding[]
  readonly mesh: 'all' | 'hub' | 'label'
  readonly underlays: number
  readonly networks: number
  /** Bytes of the last underlay; 0: not given. */
  readonly mtu: number
  /** Paths that are down or unfit, by gateway ordinal times 3 plus underlay. */
  readonly down: readonly number[]
  readonly own: {
    readonly exclude: readonly number[]
    readonly bound: boolean
    readonly attached: readonly boolean[]
    readonly services: number
    readonly registry: boolean
  }
  readonly host: {
    readonly ipv6: boolean
    readonly wireguard: boolean
    readonly lanUp: boolean
    /** Last octet of the address on lan0; 0: none. */
    readonly lan: number
    readonly routes: number
  }
}

/** The number of a gateway, from 1. */
function numberOf(site: number, plane: number): number {
  return site * 4 + plane + 1
}

export function gatewayName(site: number, plane: number): string {
  return `s${site}-${'abcd'.charAt(plane)}`
}

/** Fabric, certificates and records. What comes later has a greater `serial`. */
export function documentsOf(world: World, serial = 1): readonly Document[] {
  const documents: Document[] = [{ type: 'fabric', payload: { ...fabric(world), serial } }]
  for (const [site, gateways] of world.sites.entries()) {
    for (const [plane, gateway] of gateways.entries()) {
      if (gateway.present) documents.push(...gatewayDocuments(world, serial, site, plane, gateway))
    }
  }
  return documents
}

function fabric(world: World): Fabric {
  const names = underlayNames.slice(0, world.underlays)
  const rules = {
    all: 'all' as const,
    hub: [{ between: { site: 's0' }, and: {} }],
    label: [{ between: { labels: { side: 'even' } }, and: { labels: { side: 'even' } } }],
  }
  return fabricOf({
    mesh: rules[world.mesh],
    freshUntil: 4102444800000,
    underlays: names.map((name, u) =>
      u === names.length - 1 && world.mtu > 0 ? { name, mtu: world.mtu } : { name },
    ),
    prefer: [...names].reverse(),
    networks: networkNames
      .slice(0, world.networks)
      .map((name, i) => ({ name, vni: vnis[i] ?? 1, kind: 'l2' as const })),
  })
}

function gatewayDocuments(
  world: World,
  serial: number,
  site: number,
  plane: number,
  gateway: WorldGateway,
): readonly Document[] {
  const name = gatewayName(site, plane)
  const number = numberOf(site, plane)
  const prefixes = prefixPool.filter((_, i) => {
    const { site: holder, by, also } = world.prefixes[i] ?? { site: -1, by: 0, also: -1 }
    return (holder === site || also === site) && (by & (1 << plane)) !== 0
  })
  const networks = networkNames
    .slice(0, world.networks)
    .filter((_, i) => gateway.attached[i])
    .map((network) => ({ name: network }))
  const side = site % 2 === 0 ? 'even' : 'odd'
  return [
    {
      type: 'certificate',
      payload: certificateOf(number, {
        serial,
        gateway: name,
        site: { name: `s${site}`, provider: 'test', region: '', labels: { side } },
        plane,
        identity: identityOf(name),
        notAfter: 4102444800000,
        prefixes: prefixes.map((one) => ({ prefix: one })),
        networks,
        grants: ['shared'],
      }),
    },
    {
      type: 'record',
      payload: recordOf(number, {
        serial,
        gateway: name,
        generation: gateway.generation,
        tunnelKeys: tunnelKeys(name, gateway.generation),
        endpoints: endpoints(world, number, gateway),
        prefixes,
        networks,
        weight: gateway.weight,
        state: gateway.state,
      }),
    },
  ]
}

/** All slots of every underlay, of this generation and the one before. */
function tunnelKeys(name: string, generation: number): Record<string, ReturnType<typeof tunnelKeyOf>> {
  const keys: Record<string, ReturnType<typeof tunnelKeyOf>> = {}
  for (const one of generation > 0 ? [generation - 1, generation] : [generation]) {
    for (let slot = 0; slot < 24; slot++) {
      const index = 32 * (one & 1) + slot
      keys[String(index)] = tunnelKeyOf(`${name} ${one} ${index}`)
    }
  }
  return keys
}

function endpoints(world: World, number: number, gateway: WorldGateway): readonly Endpoint[] {
  return underlayNames.slice(0, world.underlays).flatMap((underlay, u): readonly Endpoint[] => {
    const reach = gateway.reach[u] ?? 'none'
    const host = number + (gateway.moved ? 100 : 0)
    const four = { underlay, address: address(`198.51.${100 + u}.${host}`), port: 51820 }
    const six = { underlay, address: address(`2001:db8:${u + 1}::${host.toString(16)}`), port: 51820 }
    switch (reach) {
      case 'none':
        return []
      case 'four':
        return [four]
      case 'six':
        return [six]
      case 'both':
        return [four, six]
      case 'nat':
        return [{ underlay, port: 51820 }]
    }
  })
}

/** Parts of the input before that are equal come back as they were. */
export function inputOf(world: World, before?: PlanInput, ids: GroupIds = new GroupIds()): PlanInput {
  const documents = documentsOf(world).map((document) => delivered(document))
  return inputFrom(documents, world, before, ids)
}

/** As inputOf, with the documents in an order of your choice. */
export function inputFrom(
  documents: readonly Delivered[],
  world: World,
  before: PlanInput | undefined,
  ids: GroupIds,
): PlanInput {
  const { snapshot, refusals } = verify(documents, { ...ground, moment })
  if (snapshot === undefined) throw new Error('a world always has a fabric document')
  // A world whose gateways are all refused proves nothing of what comes after.
  const amiss = refusals.find(({ rule }) => rule === 'signer' || rule === 'signature' || rule === 'document')
  if (amiss !== undefined) throw new Error(`the world is made wrongly: ${amiss.object}: ${amiss.reason}`)
  const input = { own: own(world), facts: facts(world), paths: new Paths(pathWords(world.down)) }
  return {
    snapshot: before === undefined ? snapshot : sameParts(before.snapshot, snapshot),
    own: kept(before?.own, input.own),
    facts: kept(before?.facts, input.facts),
    paths: kept(before?.paths, input.paths),
    ids: before?.ids ?? ids,
  }
}

/** Mostly down; every third is unfit, or behind another. */
function pathWords(paths: readonly number[]): readonly string[] {
  return paths.map((path) => {
    const gateway = Math.floor(path / 3)
    const name = `${gatewayName(Math.floor(gateway / 4), gateway % 4)} ${underlayNames[path % 3] ?? ''}`
    return gateway % 3 === 0 ? `${name} ${path % 2 === 0 ? 'degraded' : 'rank=1'}` : name
  })
}

function own(world: World): Own {
  const self = world.sites[0]?.[0]
  const listed = self === undefined ? [] : endpoints(world, 1, self)
  return {
    gateway: gatewayName(0, 0),
    site: 's0',
    endpoints: listed.map((endpoint): OwnEndpoint => {
      const u = underlayNames.findIndex((name) => name === endpoint.underlay)
      return world.own.bound ? { ...endpoint, interface: `eth${u}` } : endpoint
    }),
    exclude: world.own.exclude.map((i) => prefixPool[i] ?? prefix('10.9.0.0/16')),
    networks: networkNames
      .filter((_, i) => world.own.attached[i])
      .map((name, i) => ({ name, interfaces: [`tap${i}`] })),
    services: [
      { protocol: 'tcp' as const, port: 22 },
      { protocol: 'udp' as const, port: 53 },
    ].slice(0, world.own.services),
    registryAddresses: world.own.registry ? [address('203.0.113.70')] : [],
  }
}

function facts(world: World): HostFacts {
  const { host } = world
  const self = world.sites[0]?.[0]
  const held = self === undefined ? [] : endpoints(world, 1, self)
  const carriers = underlayNames.map((name, u): HostLink => ({
    name: `eth${u}`,
    ifindex: 2 + u,
    mtu: 1500 + 100 * u,
    up: true,
    addresses: held.flatMap(({ underlay, address: text }) =>
      underlay === name && text !== undefined
        ? [{ address: text, length: text.includes(':') ? 64 : 24 }]
        : [],
    ),
    acceptRa: u === 0 ? 1 : 0,
    defaultRoute: u === 0,
  }))
  const inside: HostLink = {
    name: 'lan0',
    ifindex: 9,
    mtu: 1500,
    up: host.lanUp,
    addresses: host.lan === 0 ? [] : [{ address: address(`10.1.5.${host.lan}`), length: 28 }],
  }
  const taps = [0, 1].map((i): HostLink => ({
    name: `tap${i}`,
    ifindex: 10 + i,
    mtu: 1500,
    up: true,
    addresses: [],
  }))
  const routes = [
    { prefix: prefix('0.0.0.0/0'), link: 'eth0', via: address('198.51.100.254'), metric: 0 },
    { prefix: prefix('198.51.101.0/24'), link: 'eth1', metric: 100 },
  ].slice(0, host.routes)
  return {
    links: [...carriers, inside, ...taps],
    routes,
    ipv6: host.ipv6,
    features: { wireguard: host.wireguard },
  }
}

/** Gateways and fabric document that are equal come back as they were. */
function sameParts(before: Snapshot, after: Snapshot): Snapshot {
  const gateways = new Map<string, Gateway>()
  let changed = before.gateways.size !== after.gateways.size
  for (const [name, gateway] of after.gateways) {
    const same = kept(before.gateways.get(name), gateway)
    changed ||= same === gateway
    gateways.set(name, same)
  }
  const document = kept(before.fabric, after.fabric)
  if (!changed && document === before.fabric) return before
  const sites = [...after.sites].map(
    ([name, members]) => [name, members.map((member) => gateways.get(member.name) ?? member)] as const,
  )
  return { fabric: document, gateways, sites: new Map(sites) }
}

function kept<T>(before: T | undefined, after: T): T {
  return before !== undefined && JSON.stringify(before) === JSON.stringify(after) ? before : after
}
