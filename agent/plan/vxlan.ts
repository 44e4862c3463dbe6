/**
 * Stretched networks (`l2`): a bridge with the site's links and a VXLAN link (RFC 7348) as its ports. Frames to unknown
 * and broadcast addresses are copied to every attached gateway (head-end replication); the rest is learned. Outer packets
 * go from VTEP to VTEP, which are overlay addresses, inside WireGuard; the guard lets in only the VTEPs of this network.
 *
 * Two gateways of one site would bridge the segment twice and send its broadcasts round for ever, so a site that attaches
 * two to a network stays out of it. Every gateway decides this alike from the same documents.
 */
import { linkGroup, vxlanPort } from '../model/kernel-number.ts'
import { networkByName, overlayAddress } from '../model/gateway.ts'
import type { Gateway } from '../model/gateway.ts'
import type { Name, Network } from '../model/fabric.ts'
import type { KernelObject } from '../model/kernel-object.ts'
import type { Address, Family } from '../model/prefix.ts'
import { guardElement } from './firewall-element.ts'
import type { Note } from './input.ts'
import { isSiteMate } from './local.ts'
import type { Local } from './local.ts'
import { pathsTo } from './path.ts'
import { isPeer } from './wireguard.ts'

/** Bytes of outer IP, UDP and VXLAN headers and the inner Ethernet header, by outer family. */
const overhead = { 4: 50, 6: 70 } as const
/** MTU inside a tunnel over 1500 bytes of IPv6: what holds on every path that may come. */
const tunnelMtu = 1420
const flood = '00:00:00:00:00:00'

/** Names of the networks that we are attached to, by certificate and record or only by configuration. */
export function attachedNetworks({ self, input }: Local): readonly Name[] {
  return [...new Set([...self.networks, ...input.own.networks].map(({ name }) => name))].sort()
}

export function networkShare(
  local: Local,
  name: Name,
): { readonly objects: readonly KernelObject[]; readonly notes: readonly Note[] } {
  const network = networkByName(local.fabric, name)
  const vtep = vtepFamily(local)
  const obstacle = obstacleOf(local, name, network, vtep)
  if (network === undefined || vtep === undefined || obstacle !== undefined) {
    const reason = obstacle ?? 'it cannot be joined'
    return { objects: [], notes: [{ kind: 'network-not-joined', object: `network ${name}`, reason }] }
  }
  const { vni } = network
  const { remotes, notes } = remotesOf(local, name, vtep.family)
  const mtu = Math.min(...remotes.map((remote) => remote.mtu), remotes.length === 0 ? tunnelMtu : Infinity)
  const inner = mtu - overhead[vtep.family]
  const bridge = `ls-br${vni}`
  const link = `ls-vx${vni}`
  const alias = `linkspan ${local.fabric.fabric}: network ${name}`
  const ports = portsOf(local, name)
  const objects: readonly KernelObject[] = [
    { kind: 'link', name: bridge, type: 'bridge', mtu: inner, up: true, group: linkGroup, alias },
    {
      kind: 'link',
      name: link,
      type: 'vxlan',
      mtu: inner,
      up: true,
      group: linkGroup,
      alias,
      vxlan: { vni, local: vtep.address, port: vxlanPort, learning: true },
      master: bridge,
    },
    ...ports.found.map((port): KernelObject => ({ kind: 'port', link: port, master: bridge })),
    ...remotes.flatMap(({ address }): readonly KernelObject[] => [
      guardElement(address, vni),
      { kind: 'fdb', link, mac: flood, dst: address },
    ]),
  ]
  return { objects, notes: [...notes, ...ports.notes] }
}

/** Outer packets are IPv4 where the overlay has it: 20 bytes less. */
function vtepFamily({ fabric, self, families }: Local): { family: Family; address: Address } | undefined {
  for (const family of families) {
    const address = overlayAddress(fabric, self.number, family)
    if (address !== undefined) return { family, address }
  }
  return undefined
}

/** Why we do not join. */
function obstacleOf(
  local: Local,
  name: Name,
  network: Network | undefined,
  vtep: { family: Family } | undefined,
): string | undefined {
  if (network === undefined) return 'the fabric document has no network of this name'
  if (!isAttached(local.self, name)) {
    return 'our certificate and record do not attach us to it, only our configuration does'
  }
  if (network.kind === 'l3') return 'networks of kind l3 are not supported by this version'
  if (vtep === undefined) return 'the overlay has no range of a family that this host has'
  const twin = local.site.find((gateway) => gateway.name !== local.self.name && isAttached(gateway, name))
  if (twin !== undefined) return `${twin.name} of our site is attached to it too: one gateway a site may be`
  return undefined
}

interface Remote {
  readonly address: Address
  /** Bytes inside the tunnel to it, over the worst path. */
  readonly mtu: number
}

/** The other VTEPs, in order of gateway name. */
function remotesOf(
  local: Local,
  name: Name,
  family: Family,
): { readonly remotes: readonly Remote[]; readonly notes: readonly Note[] } {
  const remotes: Remote[] = []
  const notes: Note[] = []
  const attached = [...local.input.snapshot.gateways.values()].filter(
    (gateway) => gateway.state !== 'withdrawn' && !isSiteMate(local, gateway) && isAttached(gateway, name),
  )
  for (const gateway of attached) {
    const site = gateway.site.name
    const { paths } = pathsTo(local, gateway)
    const address = overlayAddress(local.fabric, gateway.number, family)
    const twin = attached.find((other) => other !== gateway && other.site.name === site)
    const reason = !isPeer(local, gateway)
      ? 'the mesh does not join it with us'
      : paths.length === 0 || local.self.barred === true
        ? 'we have no path to it'
        : twin !== undefined
          ? `${twin.name} of its site is attached to the network too: one gateway a site may be`
          : undefined
    if (reason === undefined && address !== undefined) {
      remotes.push({ address, mtu: Math.min(...paths.map((path) => path.mtu)) })
    } else if (reason !== undefined) {
      const object = `network ${name}`
      notes.push({
        kind: 'network-not-joined',
        object,
        reason: `${gateway.name} is left out: ${reason}`,
        gateway: gateway.name,
        site,
      })
    }
  }
  return { remotes, notes }
}

function isAttached(gateway: Gateway, network: Name): boolean {
  return gateway.networks.some(({ name }) => name === network)
}

/** Site-side links that exist. A link can be the port of one bridge: the first network by name has it. */
function portsOf(
  { input }: Local,
  name: Name,
): { readonly found: readonly string[]; readonly notes: readonly Note[] } {
  const found: string[] = []
  const notes: Note[] = []
  const wanted = input.own.networks
    .filter((network) => network.name === name)
    .flatMap(({ interfaces }) => interfaces)
  for (const link of new Set(wanted)) {
    const other = input.own.networks.find(
      (network) => network.name < name && network.interfaces.includes(link),
    )
    const exists = input.facts.links.some((one) => one.name === link)
    const reason =
      other !== undefined
        ? `it is given to the network ${other.name} already`
        : exists
          ? undefined
          : 'there is no such link'
    if (reason === undefined) found.push(link)
    else notes.push({ kind: 'port-missing', object: `link ${link} of network ${name}`, reason })
  }
  return { found, notes }
}
