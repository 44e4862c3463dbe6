/**
 * Observation: dumps of everything that may be ours or may be in our way, as kernel objects, in chunks.
 *
 * Dumps are filtered by the kernel (strict checks): foreign tables, however large, cost nothing. What sits on a link is
 * listed only where the link is ours; a link of somebody else's under a name of ours is listed alone, as the conflict it is.
 */
import { constants } from 'node:os'
import { maxUnderlays } from '../model/fabric.ts'
import { linkGroup, linkPattern, overlayTable, underlayTable } from '../model/kernel-number.ts'
import type { Kind, KernelObject, Link } from '../model/kernel-object.ts'
import { decodeAddress, encodeAddressDump } from './address.ts'
import { decodeFdb, encodeFdbDump } from './fdb.ts'
import type { ObservedLink } from './link.ts'
import type { Links } from './links.ts'
import { MessageWriter } from './message.ts'
import { decodeNexthop, encodeNexthopDump } from './nexthop.ts'
import type { Nft } from './nft.ts'
import type { ObserveOptions } from './port.ts'
import { encodeRouteDump, RouteDecoder } from './route.ts'
import type { RouteSocket } from './route-socket.ts'
import { decodeRule, encodeRuleDump } from './rule.ts'
import { message } from './rtnetlink.ts'
import type { Sysctls } from './sysctl.ts'
import type { WireGuard } from './wg.ts'

const tables = [overlayTable, ...Array.from({ length: maxUnderlays }, (_, u) => underlayTable(u))]
/** A table that never had a route does not exist (net/ipv4/fib_frontend.c inet_dump_fib). */
const noTable = [constants.errno.ENOENT]

export interface Sources {
  readonly socket: RouteSocket
  readonly links: Links
  readonly sysctls: Sysctls
  readonly wg: WireGuard
  readonly nft: Nft
}

type Chunk = readonly KernelObject[]

export async function* observe(
  sources: Sources,
  { kinds, sysctls: names, inPlaceOf }: ObserveOptions,
  signal: AbortSignal,
): AsyncGenerator<Chunk, void> {
  const { socket, links, sysctls, wg, nft } = sources
  const wants = (kind: Kind): boolean => kinds?.has(kind) !== false
  signal.throwIfAborted()
  const found = await links.refresh()
  const named = found.filter(({ name }) => linkPattern.test(name))
  const listed = wg.go.names
  const ours = named.filter((link) => isOurs(link, listed))
  if (wants('link')) {
    links.told.links(found, true)
    yield named.map((link) => linkObject(link, links, listed))
  }
  if (wants('port')) yield portsOf(found, ours)
  if (wants('address')) yield await addressesOf(sources, ours)
  signal.throwIfAborted()
  if (wants('nexthop') || wants('group')) {
    yield await socket.collect(dumpOf(encodeNexthopDump), 'nexthops', (bytes, type, start, end) =>
      type === message.newNexthop ? decodeNexthop(bytes, start, end, links.nameOf) : undefined,
    )
  }
  for (const version of wants('rule') ? ([4, 6] as const) : []) {
    const dump = dumpOf((writer) => {
      encodeRuleDump(writer, version)
    })
    yield await socket.collect(dump, 'rules', (bytes, type, start, end) =>
      type === message.newRule ? decodeRule(bytes, start, end) : undefined,
    )
  }
  for (const { name, ifindex } of wants('fdb') ? ours.filter(({ type }) => type === 'vxlan') : []) {
    signal.throwIfAborted()
    const dump = dumpOf((writer) => {
      encodeFdbDump(writer, ifindex)
    })
    yield await socket.collect(dump, `FDB of ${name}`, (bytes, type, start, end) =>
      type === message.newNeighbour ? decodeFdb(bytes, start, end, links.nameOf) : undefined,
    )
  }
  if (wants('sysctl')) yield await sysctls.observe(names)
  for (const table of wants('route') ? tables : []) {
    for (const version of [4, 6] as const) {
      signal.throwIfAborted()
      const decoder = new RouteDecoder(links.nameOf)
      const dump = dumpOf((writer) => {
        encodeRouteDump(writer, version, table)
      })
      yield* await socket.chunks(
        dump,
        `routes of table ${table}`,
        (bytes, type, start, end) =>
          type === message.newRoute ? decoder.decode(bytes, start, end) : undefined,
        noTable,
      )
    }
  }
  if (wants('device') || wants('peer') || wants('allowed-ip')) {
    const devices = ours.filter(({ type }) => type === 'wireguard' || type === 'tun')
    yield* wg.observe(new Set(devices.map(({ name }) => name)), signal, inPlaceOf)
  }
  if (wants('ruleset') || wants('element')) yield* nft.observe(signal)
}

function dumpOf(encode: (writer: MessageWriter) => void): Uint8Array {
  const writer = new MessageWriter(256)
  encode(writer)
  return writer.take()
}

/** As diff/ownership.ts says it of the Link objects. */
function isOurs({ name, group, type }: ObservedLink, listed: ReadonlySet<string>): boolean {
  return linkPattern.test(name) && (group === linkGroup || (type === 'tun' && listed.has(name)))
}

function linkObject(link: ObservedLink, links: Links, listed: ReadonlySet<string>): Link {
  const master = link.master === undefined ? undefined : links.nameOf(link.master)
  return {
    kind: 'link',
    name: link.name,
    type: typeOf(link, listed),
    mtu: link.mtu,
    up: link.up,
    group: link.group,
    ...(link.alias === undefined ? {} : { alias: link.alias }),
    ...(link.vxlan === undefined ? {} : { vxlan: link.vxlan }),
    ...(link.mac === undefined ? {} : { mac: link.mac }),
    ...(master === undefined ? {} : { master }),
    ...(link.type === 'tun' && listed.has(link.name) && link.group !== linkGroup ? { ours: true } : {}),
  }
}

function typeOf({ name, type }: ObservedLink, listed: ReadonlySet<string>): Link['type'] {
  switch (type) {
    case 'wireguard':
    case 'vxlan':
    case 'bridge':
      return type
    case 'tun':
      return listed.has(name) ? 'tun' : 'other'
    default:
      return 'other'
  }
}

function portsOf(found: readonly ObservedLink[], ours: readonly ObservedLink[]): Chunk {
  const bridges = new Map(
    ours.flatMap((link) => (link.type === 'bridge' ? [[link.ifindex, link.name] as const] : [])),
  )
  return found.flatMap((link): KernelObject[] => {
    const master = link.master === undefined ? undefined : bridges.get(link.master)
    return master === undefined || linkPattern.test(link.name)
      ? []
      : [{ kind: 'port', link: link.name, master }]
  })
}

async function addressesOf({ socket, links }: Sources, ours: readonly ObservedLink[]): Promise<Chunk> {
  const names = new Map(ours.map(({ ifindex, name }) => [ifindex, name]))
  const found = await socket.collect(dumpOf(encodeAddressDump), 'addresses', (bytes, type, start, end) => {
    const decoded = type === message.newAddress ? decodeAddress(bytes, start, end) : undefined
    return decoded !== undefined && names.has(decoded.ifindex) ? decoded : undefined
  })
  links.told.addresses(found, true)
  return found.map(({ ifindex, address, length }) => ({
    kind: 'address',
    link: names.get(ifindex) ?? '',
    address: `${address}/${length}`,
  }))
}
