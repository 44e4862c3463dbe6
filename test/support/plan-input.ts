/**
 * Inputs of plan written by hand: a few gateways in one line each. Public keys are `<gateway>/<device>`, so that a test
 * shows which key of whom is meant.
 */
import { Paths } from './path-state.ts'
import { devices } from '../../agent/model/device.ts'
import type { Endpoint, Fabric, Site } from '../../agent/model/fabric.ts'
import type { Gateway, Snapshot } from '../../agent/model/gateway.ts'
import type { HostFacts, HostLink } from '../../agent/model/host.ts'
import type { PublicKey } from '../../agent/model/key.ts'
import { keyOf } from '../../agent/model/kernel-object.ts'
import type { KernelObject, Kind } from '../../agent/model/kernel-object.ts'
import { formatOp } from '../../agent/model/op-text.ts'
import type { Own } from '../../agent/model/own.ts'
import { address, comparePrefixes, prefix } from '../../agent/model/prefix.ts'
import { GroupIds } from '../../agent/plan/group-id.ts'
import type { Note, PlanInput } from '../../agent/plan/input.ts'
import { plan } from '../../agent/plan/share.ts'

export function fabricWith(change: Partial<Fabric> = {}): Fabric {
  return {
    fabric: 'test',
    serial: 1,
    freshUntil: 4102444800000,
    overlay: { ipv4: prefix('100.127.0.0/16'), ipv6: prefix('fd4c:53aa:bb00::/48') },
    underlays: [{ name: 'internet' }],
    prefer: ['internet'],
    mesh: 'all',
    networks: [],
    policy: { default: 'allow', rules: [] },
    probe: { port: 18620, intervalMs: 200, retryMs: 60, downAfter: 10, underlays: {} },
    rotation: { days: 0 },
    removed: [],
    revoked: { serials: [], identities: [] },
    ...change,
  }
}

export interface GatewayText extends Partial<
  Omit<Gateway, 'site' | 'prefixes' | 'certified' | 'endpoints' | 'networks'>
> {
  readonly site?: string | Partial<Site>
  readonly prefixes?: readonly string[]
  /** Absent: the prefixes. */
  readonly certified?: readonly string[]
  /** `internet 192.0.2.1`, with a base port and an MTU behind it where needed: `dx 10.9.0.1 51820 8500`; `-`: behind NAT. */
  readonly endpoints?: readonly string[]
  readonly networks?: readonly string[]
  /** Its record still offers the generation before, too. */
  readonly rotating?: boolean
}

/** A gateway `<site>-<letter>`; its endpoint is 192.0.2.<number> of the internet unless told otherwise. */
export function gatewayWith(number: number, name: string, text: GatewayText = {}): Gateway {
  const {
    site,
    prefixes = [],
    certified = prefixes,
    endpoints,
    networks = [],
    rotating = false,
    ...rest
  } = text
  const place = typeof site === 'string' ? { name: site } : site
  const tunnelKeys: Record<string, PublicKey> = {}
  const parity = (text.generation ?? 0) & 1
  for (let i = 0; i < devices; i++) {
    if (rotating || i >> 5 === parity) tunnelKeys[String(i)] = `${name}/${i}` as PublicKey
  }
  return {
    name,
    number,
    site: { name: name.slice(0, name.lastIndexOf('-')), provider: 'x', region: 'y', labels: {}, ...place },
    plane: 0,
    generation: 0,
    tunnelKeys,
    endpoints: (endpoints ?? [`internet 192.0.2.${number}`]).map(endpointWith),
    prefixes: prefixes.map(prefix).sort(comparePrefixes),
    certified: certified.map(prefix),
    networks: networks.map((network) => ({ name: network })),
    weight: 1,
    state: 'active',
    ...rest,
  }
}

function endpointWith(text: string): Endpoint {
  const [underlay = '', at = '-', port = '51820', mtu] = text.split(' ')
  return {
    underlay,
    port: Number(port),
    ...(at === '-' ? {} : { address: address(at) }),
    ...(mtu === undefined ? {} : { mtu: Number(mtu) }),
  }
}

export function snapshotWith(gateways: readonly Gateway[], fabric = fabricWith()): Snapshot {
  const marked = gateways.map((gateway) => markedAmong(gateways, gateway))
  const byName = [...marked].sort((a, b) => (a.name < b.name ? -1 : 1))
  const sites = new Map<string, Gateway[]>()
  for (const gateway of [...marked].sort((a, b) => a.number - b.number)) {
    sites.set(gateway.site.name, [...(sites.get(gateway.site.name) ?? []), gateway])
  }
  return { fabric, gateways: new Map(byName.map((gateway) => [gateway.name, gateway])), sites }
}

/** What several sites have is shared by all of them. The same object where nothing of that is different. */
function markedAmong(all: readonly Gateway[], gateway: Gateway): Gateway {
  const elsewhere = all.filter(({ site }) => site.name !== gateway.site.name)
  const shared = gateway.prefixes.filter((one) => elsewhere.some(({ prefixes }) => prefixes.includes(one)))
  if (shared.join() === (gateway.shared ?? []).join()) return gateway
  const marked: { -readonly [K in keyof Gateway]: Gateway[K] } = { ...gateway }
  delete marked.shared
  if (shared.length > 0) marked.shared = shared
  return marked
}

/** `eth0 10.1.0.5/24 203.0.113.9/32`, with `mtu=9001`, `down`, `ra=1`, `default` anywhere behind the name. */
export function linkWith(text: string, index = 0): HostLink {
  const [name = '', ...words] = text.split(' ')
  const option = (key: string): string | undefined =>
    words.find((word) => word.startsWith(`${key}=`))?.slice(key.length + 1)
  const acceptRa = option('ra')
  return {
    name,
    ifindex: index + 2,
    mtu: Number(option('mtu') ?? 1500),
    up: !words.includes('down'),
    addresses: words
      .filter((word) => word.includes('/'))
      .map((word) => ({ address: address(word.split('/')[0] ?? ''), length: Number(word.split('/')[1]) })),
    ...(acceptRa === undefined ? {} : { acceptRa: Number(acceptRa) }),
    ...(words.includes('default') ? { defaultRoute: true } : {}),
  }
}

/** No endpoints, nothing special. */
export function ownWith(gateway: string, site: string, change: Partial<Own> = {}): Own {
  return {
    gateway,
    site,
    endpoints: [],
    exclude: [],
    networks: [],
    services: [],
    registryAddresses: [],
    ...change,
  }
}

export interface InputText {
  readonly gateways: readonly Gateway[]
  readonly fabric?: Partial<Fabric>
  /** Absent: the first gateway, with the endpoints of its record. */
  readonly own?: Partial<Own>
  readonly links?: readonly string[]
  readonly facts?: Partial<HostFacts>
  /** Paths that are down: `gcp-a internet`; or what else path-state.ts takes. */
  readonly down?: readonly string[]
  readonly ids?: GroupIds
}

export function inputWith({ gateways, fabric, own, links, facts, down = [], ids }: InputText): PlanInput {
  const self = gateways.find(({ name }) => name === own?.gateway) ?? gateways[0]
  if (self === undefined) throw new TypeError('no gateway')
  return {
    snapshot: snapshotWith(gateways, fabricWith(fabric)),
    own: ownWith(self.name, self.site.name, { endpoints: self.endpoints, ...own }),
    facts: {
      links: (links ?? ['eth0 192.0.2.1/24 default']).map(linkWith),
      routes: [],
      ipv6: true,
      features: { wireguard: true },
      ...facts,
    },
    paths: new Paths(down),
    ids: ids ?? new GroupIds(),
  }
}

export function objectsOf(input: PlanInput): readonly KernelObject[] {
  return [...plan(input)].flatMap(({ objects }) => objects)
}

export function notesOf(input: PlanInput): readonly Note[] {
  return [...plan(input)].flatMap(({ notes }) => notes)
}

/** The objects of these kinds as lines, only those that hold `part`. */
export function linesOf(input: PlanInput, kinds: readonly Kind[], part = ''): readonly string[] {
  return objectsOf(input)
    .filter(({ kind }) => kinds.includes(kind))
    .map((object) => formatOp({ verb: 'add', object }))
    .filter((line) => line.includes(part))
}

/** Kind and key, which no two objects of a plan may share. */
export function identityOf(object: KernelObject): string {
  return `${object.kind} ${keyOf(object)}`
}
