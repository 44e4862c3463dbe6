/**
 * Routes over rtnetlink: the hot path. A cold start writes 100,000 of them and every audit reads as many, so both ways are
 * by hand: no object per attribute, and decoded routes share what they have in common.
 */
import { overlayTable, routeProtocol } from '../model/kernel-number.ts'
import type { Route } from '../model/kernel-object.ts'
import { addressBytes, formatAddress, formatPrefix, lengthOf, networkOf } from '../model/prefix.ts'
import type { Address, Prefix } from '../model/prefix.ts'
import { findAttribute, flag, u16At, u32At } from './message.ts'
import type { MessageWriter } from './message.ts'
import { family, message, scope } from './rtnetlink.ts'

const rta = { dst: 1, oif: 4, gateway: 5, priority: 6, source: 7, metrics: 8, table: 15, mark: 16, nexthop: 30 } as const
const rtaxMtu = 2
const compatibleTable = 252
const header = 12
const types = { unicast: 1, blackhole: 6, unreachable: 7, throw: 9 } as const
const names: Readonly<Record<number, Route['type']>> = { 1: 'unicast', 6: 'blackhole', 7: 'unreachable', 9: 'throw' }
/** What the kernel takes where none is given; IPv6 routes always have one (include/net/ip6_route.h IP6_RT_PRIO_USER). */
const defaultMetric = { 2: 0, 10: 1024 } as const

const zero4 = new Uint8Array(4)
const four = new Uint8Array(4)

/** Address bytes of a prefix; for IPv4 in one buffer that is used again. */
function networkBytes(prefix: Prefix): Uint8Array {
  let octet = 0
  let at = 0
  for (let i = 0; i < prefix.length; i++) {
    const c = prefix.charCodeAt(i)
    if (c === 58) return addressBytes(networkOf(prefix))
    if (c === 46 || c === 47) {
      four[at++] = octet
      octet = 0
      if (c === 47) break
    } else octet = octet * 10 + c - 48
  }
  return four
}

export function encodeRoute(
  writer: MessageWriter,
  verb: 'add' | 'replace' | 'remove',
  route: Route,
  ifindexOf: (link: string) => number,
): void {
  const flags = { add: flag.create | flag.exclusive, replace: flag.create | flag.replace, remove: 0 }[verb]
  const bytes = networkBytes(route.prefix)
  const direct = route.type === 'unicast' && route.link !== undefined && route.via === undefined
  writer.begin(verb === 'remove' ? message.delRoute : message.newRoute, flags)
  writer.u8(bytes.length === 4 ? family.inet : family.inet6)
  writer.u8(lengthOf(route.prefix))
  writer.u8(0)
  writer.u8(0)
  writer.u8(route.table > 255 ? compatibleTable : route.table)
  writer.u8(routeProtocol)
  writer.u8(direct && bytes.length === 4 ? scope.link : scope.universe)
  writer.u8(types[route.type])
  writer.u32(0)
  writer.attr(rta.dst, bytes)
  writer.attrU32(rta.table, route.table)
  if (route.metric !== undefined) writer.attrU32(rta.priority, route.metric)
  if (route.nexthop !== undefined) writer.attrU32(rta.nexthop, route.nexthop)
  if (route.link !== undefined) writer.attrU32(rta.oif, ifindexOf(route.link))
  if (route.via !== undefined) writer.attr(rta.gateway, addressBytes(route.via))
  if (verb !== 'remove') {
    if (route.src !== undefined) writer.attr(rta.source, addressBytes(route.src))
    if (route.mtu !== undefined) {
      writer.nest(rta.metrics)
      writer.attrU32(rtaxMtu, route.mtu)
      writer.endNest()
    }
  }
  writer.end()
}

/** Routes of one table and family (4 or 6), with strict checks the kernel filters; `oif`: over that link only. */
export function encodeRouteDump(writer: MessageWriter, version: 4 | 6, table: number, oif?: number): void {
  writer.begin(message.getRoute, flag.dump)
  writer.u8(version === 4 ? family.inet : family.inet6)
  for (let i = 0; i < 7; i++) writer.u8(0)
  writer.u32(0)
  writer.attrU32(rta.table, table)
  if (oif !== undefined) writer.attrU32(rta.oif, oif)
  writer.end()
}

/**
 * The route that main would take to an address far away, by longest match (RTM_F_FIB_MATCH). The mark is WireGuard's, so
 * that our own rules send the question to main.
 */
export function encodeRouteMatch(writer: MessageWriter, to: Address, mark: number): void {
  const bytes = addressBytes(to)
  writer.begin(message.getRoute, 0)
  writer.u8(bytes.length === 4 ? family.inet : family.inet6)
  writer.u8(bytes.length * 8)
  for (let i = 0; i < 6; i++) writer.u8(0)
  writer.u32(0x2000)
  writer.attr(rta.dst, bytes)
  writer.attrU32(rta.mark, mark)
  writer.end()
}

/** Decodes routes; one decoder per dump, because routes that differ only in their prefix share the rest. */
export class RouteDecoder {
  readonly #nameOf: (ifindex: number) => string | undefined
  #shared: Omit<Route, 'prefix'> | undefined
  #nexthop = 0
  #mtu = 0
  #source = ''
  #header = 0

  constructor(nameOf: (ifindex: number) => string | undefined) {
    this.#nameOf = nameOf
  }

  /** Undefined for types that are no business of ours (local, broadcast, multicast). */
  decode(bytes: Uint8Array, start: number, end: number): Route | undefined {
    const type = names[bytes[start + 7] ?? 0]
    if (type === undefined) return undefined
    const version = bytes[start] ?? 0
    let dst = -1
    let source = -1
    let sourceLength = 0
    let gateway = -1
    let gatewayLength = 0
    let oif = 0
    let table = bytes[start + 4] ?? 0
    let metric = 0
    let nexthop = 0
    let mtu = 0
    for (let at = start + header; at + 4 <= end;) {
      const length = u16At(bytes, at)
      if (length < 4 || at + length > end) break
      const value = at + 4
      switch (u16At(bytes, at + 2) & 0x3fff) {
        case rta.dst:
          dst = value
          break
        case rta.source:
          source = value
          sourceLength = length - 4
          break
        case rta.gateway:
          gateway = value
          gatewayLength = length - 4
          break
        case rta.oif:
          oif = u32At(bytes, value)
          break
        case rta.table:
          table = u32At(bytes, value)
          break
        case rta.priority:
          metric = u32At(bytes, value)
          break
        case rta.nexthop:
          nexthop = u32At(bytes, value)
          break
        case rta.metrics: {
          const found = findAttribute(bytes, value, at + length, rtaxMtu)
          if (found >= 0) mtu = u32At(bytes, found)
          break
        }
      }
      at += (length + 3) & ~3
    }
    const prefix = prefixAt(bytes, version, dst, bytes[start + 1] ?? 0)
    const sourceText = source < 0 ? '' : formatAddress(bytes.subarray(source, source + sourceLength))
    const head = u32At(bytes, start + 4) ^ version
    const plain = table === overlayTable && metric === defaultMetric[version === 2 ? 2 : 10]
    if (
      plain &&
      this.#shared !== undefined &&
      this.#header === head &&
      this.#nexthop === nexthop &&
      this.#mtu === mtu &&
      this.#source === sourceText
    ) {
      return { ...this.#shared, prefix }
    }
    const link = nexthop !== 0 || type !== 'unicast' ? undefined : this.#nameOf(oif)
    const protocol = bytes[start + 5] ?? 0
    const shared: Omit<Route, 'prefix'> = {
      kind: 'route',
      table,
      // A route to a group that holds the blackhole is listed as a blackhole (net/ipv4/fib_semantics.c fib_dump_info).
      type: nexthop === 0 ? type : 'unicast',
      ...(nexthop === 0 ? {} : { nexthop }),
      ...(mtu === 0 ? {} : { mtu }),
      ...(sourceText === '' ? {} : { src: sourceText as Address }),
      ...(protocol === routeProtocol ? {} : { protocol }),
      ...(metric === defaultMetric[version === 2 ? 2 : 10] ? {} : { metric }),
      ...(gateway < 0 || nexthop !== 0
        ? {}
        : { via: formatAddress(bytes.subarray(gateway, gateway + gatewayLength)) }),
      ...(link === undefined ? {} : { link }),
    }
    if (plain && nexthop !== 0) {
      this.#shared = shared
      this.#header = head
      this.#nexthop = nexthop
      this.#mtu = mtu
      this.#source = sourceText
    }
    return { ...shared, prefix }
  }
}

function prefixAt(bytes: Uint8Array, version: number, dst: number, length: number): Prefix {
  if (version === family.inet) {
    const octets = dst < 0 ? zero4 : bytes
    const at = dst < 0 ? 0 : dst
    return `${octets[at] ?? 0}.${octets[at + 1] ?? 0}.${octets[at + 2] ?? 0}.${octets[at + 3] ?? 0}/${length}` as Prefix
  }
  return formatPrefix(dst < 0 ? new Uint8Array(16) : bytes.subarray(dst, dst + 16), length)
}
