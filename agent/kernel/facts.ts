/** Host facts: foreign links with their addresses, whether IPv6 and WireGuard are there, and the routes that were asked for. */
import { readFile } from 'node:fs/promises'
import { linkGroup, linkPattern, underlayMark } from '../model/kernel-number.ts'
import type { HostFacts, HostLink, HostRoute } from '../model/host.ts'
import { address } from '../model/prefix.ts'
import type { Address } from '../model/prefix.ts'
import { decodeAddress, encodeAddressDump } from './address.ts'
import type { ObservedLink } from './link.ts'
import type { Links } from './links.ts'
import { findAttribute, forEachMessage, MessageWriter, u32At } from './message.ts'
import { encodeRouteDump, encodeRouteMatch, RouteDecoder } from './route.ts'
import type { RouteSocket } from './route-socket.ts'
import { mainTable, message, scope } from './rtnetlink.ts'

/** Somewhere that only a default route leads to: reserved space (RFC 1112 section 4), documentation space (RFC 9637). */
const farAway = [address('240.0.0.1'), address('3fff:fff::1')]
const rtaOif = 4

export async function gatherFacts(
  socket: RouteSocket,
  links: Links,
  wireguard: boolean,
  routesOf: readonly string[],
): Promise<HostFacts> {
  const writer = new MessageWriter(256)
  const found = await links.refresh()
  encodeAddressDump(writer)
  const addresses = await socket.collect(writer.take(), 'addresses', (bytes, type, start, end) =>
    type === message.newAddress ? decodeAddress(bytes, start, end) : undefined,
  )
  const byLink = new Map<number, { address: Address; length: number }[]>()
  for (const each of addresses) {
    if (each.scope !== scope.universe) continue
    const list = byLink.get(each.ifindex) ?? []
    list.push({ address: each.address, length: each.length })
    byLink.set(each.ifindex, list)
  }
  const defaults = await defaultLinks(socket)
  const hostLinks: HostLink[] = []
  for (const link of found) {
    if (link.loopback || isOwn(link)) continue
    const acceptRa = await readNumber(`/proc/sys/net/ipv6/conf/${link.name}/accept_ra`)
    hostLinks.push({
      name: link.name,
      ifindex: link.ifindex,
      mtu: link.mtu,
      up: link.up,
      addresses: (byLink.get(link.ifindex) ?? []).sort((a, b) => (a.address < b.address ? -1 : 1)),
      ...(acceptRa === undefined ? {} : { acceptRa }),
      ...(defaults.has(link.ifindex) ? { defaultRoute: true } : {}),
    })
  }
  hostLinks.sort((a, b) => (a.name < b.name ? -1 : 1))
  return {
    links: hostLinks,
    routes: await routesOver(socket, links, routesOf),
    ipv6: (await readNumber('/proc/sys/net/ipv6/conf/all/disable_ipv6')) === 0,
    features: { wireguard },
  }
}

/** A link that is ours or stands under a name of ours is no fact of the host. */
export function isOwn(link: ObservedLink): boolean {
  return link.group === linkGroup || linkPattern.test(link.name)
}

async function defaultLinks(socket: RouteSocket): Promise<ReadonlySet<number>> {
  const found = new Set<number>()
  for (const to of farAway) {
    const writer = new MessageWriter(128)
    encodeRouteMatch(writer, to, underlayMark(0))
    const answer = await socket.raw.query(writer.take())
    if ('errno' in answer) continue // no route there at all
    forEachMessage(answer, (type, _flags, _seq, _pid, start, end) => {
      // dst_len 0: nothing but the default route leads there.
      if (type !== message.newRoute || bytesAt(answer, start + 1) !== 0) return
      const oif = findAttribute(answer, start + 12, end, rtaOif)
      if (oif >= 0) found.add(u32At(answer, oif))
    })
  }
  return found
}

function bytesAt(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0
}

async function routesOver(
  socket: RouteSocket,
  links: Links,
  names: readonly string[],
): Promise<readonly HostRoute[]> {
  const routes: HostRoute[] = []
  for (const name of [...new Set(names)].sort()) {
    const link = links.get(name)
    if (link === undefined) continue
    for (const version of [4, 6] as const) {
      const writer = new MessageWriter(128)
      encodeRouteDump(writer, version, mainTable, link.ifindex)
      const decoder = new RouteDecoder(links.nameOf)
      const found = await socket.collect(writer.take(), `routes over ${name}`, (bytes, type, start, end) =>
        type === message.newRoute ? decoder.decode(bytes, start, end) : undefined,
      )
      for (const { prefix, type, via, link: over, metric } of found) {
        if (type !== 'unicast' || over !== name) continue
        routes.push({
          prefix,
          link: name,
          ...(via === undefined ? {} : { via }),
          metric: metric ?? (version === 4 ? 0 : 1024),
        })
      }
    }
  }
  return routes
}

async function readNumber(file: string): Promise<number | undefined> {
  try {
    return Number(await readFile(file, 'utf8'))
  } catch {
    return undefined // the link, or IPv6 altogether, is not there
  }
}
