/** Host facts: foreign links with their addresses, whether IPv6 and WireGuard are there, and the routes that were asked for. */
import { readFile } from 'node:fs/promises'
import { constants } from 'node:os'
import { maxUnderlays } from '../model/fabric.ts'
import { linkPattern, underlayMark } from '../model/kernel-number.ts'
import type { HostFacts, HostLink, HostRoute } from '../model/host.ts'
import { address } from '../model/prefix.ts'
import type { Address } from '../model/prefix.ts'
import { decodeAddress, encodeAddressDump } from './address.ts'
import type { Links } from './links.ts'
import { findAttribute, forEachMessage, MessageWriter, u16At, u32At, valueLength } from './message.ts'
import { encodeRouteDump, encodeRouteMatch, RouteDecoder } from './route.ts'
import type { RouteSocket } from './route-socket.ts'
import { mainTable, message, scope } from './rtnetlink.ts'

/** Somewhere that only a default route leads to: reserved space (RFC 1112 section 4), documentation space (RFC 9637). */
const farAway = [address('240.0.0.1'), address('3fff:fff::1')]
const rta = { oif: 4, multipath: 9, table: 15 } as const
/** A table that never had a route does not exist (net/ipv4/fib_frontend.c inet_dump_fib). */
const noTable = [constants.errno.ENOENT]

export async function gatherFacts(
  socket: RouteSocket,
  links: Links,
  wireguard: boolean,
  routesOf: readonly string[],
  signal: AbortSignal,
): Promise<HostFacts> {
  signal.throwIfAborted()
  const writer = new MessageWriter(256)
  const found = await links.refresh()
  links.told.links(found, false)
  links.told.bound = new Set(routesOf.flatMap((name) => links.get(name)?.ifindex ?? []))
  encodeAddressDump(writer)
  const addresses = await socket.collect(writer.take(), 'addresses', (bytes, type, start, end) =>
    type === message.newAddress ? decodeAddress(bytes, start, end) : undefined,
  )
  const isForeign = ({ ifindex }: { ifindex: number }): boolean =>
    !linkPattern.test(links.nameOf(ifindex) ?? '')
  links.told.addresses(addresses.filter(isForeign), false)
  const byLink = new Map<number, { address: Address; length: number }[]>()
  for (const each of addresses) {
    if (each.scope !== scope.universe) continue
    const list = byLink.get(each.ifindex) ?? []
    list.push({ address: each.address, length: each.length })
    byLink.set(each.ifindex, list)
  }
  const defaults = await defaultLinks(socket)
  const hostLinks: HostLink[] = []
  signal.throwIfAborted()
  for (const link of found) {
    if (link.loopback || linkPattern.test(link.name)) continue // under a name of ours, it is no fact of the host
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

/**
 * Links of the default routes of main. The kernel is asked where it would send a packet far away; that it lists no
 * table of a million routes for it is worth the detour: where an overlay route answers, WireGuard's marks lead past it.
 */
async function defaultLinks(socket: RouteSocket): Promise<ReadonlySet<number>> {
  const found = new Set<number>()
  const marks = [0, ...Array.from({ length: maxUnderlays }, (_, u) => underlayMark(u))]
  for (const to of farAway) {
    for (const mark of marks) {
      const writer = new MessageWriter(128)
      encodeRouteMatch(writer, to, mark)
      const answer = await socket.raw.query(writer.take())
      if ('errno' in answer) continue // no route there at all
      const oifs = mainDefault(answer)
      for (const oif of oifs ?? []) found.add(oif)
      if (oifs !== undefined) break
    }
  }
  return found
}

/** Links of the answered route; undefined where it is of another table, empty where it is not the default route. */
function mainDefault(answer: Uint8Array): readonly number[] | undefined {
  let oifs: number[] | undefined
  forEachMessage(answer, (type, _flags, _seq, _pid, start, end) => {
    if (type !== message.newRoute) return
    const tableAt = findAttribute(answer, start + 12, end, rta.table)
    if (tableAt < 0 || u32At(answer, tableAt) !== mainTable) return
    oifs = []
    if (answer[start + 1] !== 0) return
    const oif = findAttribute(answer, start + 12, end, rta.oif)
    if (oif >= 0) oifs.push(u32At(answer, oif))
    const multipath = findAttribute(answer, start + 12, end, rta.multipath)
    if (multipath < 0) return
    // struct rtnexthop { u16 len; u8 flags; u8 hops; s32 ifindex }
    const last = multipath + valueLength(answer, multipath)
    for (let at = multipath; at + 8 <= last; at += (Math.max(u16At(answer, at), 8) + 3) & ~3) {
      oifs.push(u32At(answer, at + 4))
    }
  })
  return oifs
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
      const found = await socket.collect(
        writer.take(),
        `routes over ${name}`,
        (bytes, type, start, end) =>
          type === message.newRoute ? decoder.decode(bytes, start, end) : undefined,
        noTable,
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
