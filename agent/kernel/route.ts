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

const rta = {
  dst: 1,
  oif: 4,
  gateway: 5,
  priority: 6,
  source: 7,
  metrics: 8,
  table: 15,
  mark: 16,
  nexthop: 30,
} as const
const rtaxMtu = 2
const compatibleTable = 252
const header = 12
const types = { unicast: 1, blackhole: 6, unreachable: 7, throw: 9 } as const
const names: Readonly<Record<number, Route['type']>> = {
  1: 'unicast',
  6: 'blackhole',
  7: 'unreachable',
  9: 'throw',
}
const flags = { add: flag.create | flag.exclusive, replace: flag.create | flag.replace, remove: 0 } as const
/** What the kernel takes where none is given; IPv6 routes always have one (include/net/ip6_route.h IP6_RT_PRIO_USER). */
const defaultMetric = { 2: 0, 10: 1024 } as const

/** What was read last: the address bytes of a prefix, for IPv4 always in the same buffer, and its length. */
const four = new Uint8Array(4)
const read: { bytes: Uint8Array; length: number } = { bytes: four, length: 0 }

function readPrefix(prefix: Prefix): void {
  let number = 0
  let at = 0
  for (let i = 0; i < prefix.length; i++) {
    const c = prefix.charCodeAt(i)
    if (c === 58) {
      read.bytes = addressBytes(networkOf(prefix))
      read.length = lengthOf(prefix)
      return
    }
    if (c === 46 || c === 47) {
      four[at++] = number
      number = 0
    } else number = number * 10 + c - 48
  }
  read.bytes = four
  read.length = number
}

export function encodeRoute(
  writer: MessageWriter,
  verb: 'add' | 'replace' | 'remove',
  route: Route,
  ifindexOf: (link: string) => number,
): void {
  readPrefix(route.prefix)
  const { bytes, length } = read
  const direct = route.type === 'unicast' && route.link !== undefined && route.via === undefined
  writer.begin(verb === 'remove' ? message.delRoute : message.newRoute, flags[verb])
  // rtmsg { u8 family, dst_len, src_len, tos; u8 table, protocol, scope, type; u32 flags }
  writer.u32((bytes.length === 4 ? family.inet : family.inet6) | (length << 8))
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

/** What a route says besides its prefix, for one that points at a nexthop in the overlay table. */
interface Pattern {
  readonly nexthop: number
  readonly mtu: number
  readonly src: Address | undefined
}

/**
 * Decodes routes; one decoder per dump. The many are routes of the overlay table that point at a nexthop: they are made
 * by one of four literals, so that all have one of four shapes, and share numbers and source text.
 */
export class RouteDecoder {
  readonly #nameOf: (ifindex: number) => string | undefined
  readonly #sources = new Map<number, Address>()

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
    let gateway = -1
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
          break
        case rta.gateway:
          gateway = value
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
    const four = version === family.inet
    const prefix = prefixAt(bytes, four, dst, bytes[start + 1] ?? 0)
    const src = source < 0 ? undefined : this.#source(bytes, source, four)
    const protocol = bytes[start + 5] ?? 0
    const plain = metric === defaultMetric[four ? 2 : 10]
    if (plain && nexthop !== 0 && table === overlayTable && protocol === routeProtocol) {
      return overlayRoute(prefix, { nexthop, mtu, src })
    }
    const link = nexthop !== 0 || type !== 'unicast' ? undefined : this.#nameOf(oif)
    return {
      kind: 'route',
      table,
      prefix,
      // A route to a group that holds the blackhole is listed as a blackhole (net/ipv4/fib_semantics.c fib_dump_info).
      type: nexthop === 0 ? type : 'unicast',
      ...(nexthop === 0 ? {} : { nexthop }),
      ...(mtu === 0 ? {} : { mtu }),
      ...(src === undefined ? {} : { src }),
      ...(gateway < 0 || nexthop !== 0 ? {} : { via: addressAt(bytes, gateway, four) }),
      ...(link === undefined ? {} : { link }),
      ...(plain ? {} : { metric }),
      ...(protocol === routeProtocol ? {} : { protocol }),
    }
  }

  /** IPv4 sources are few: one text each. */
  #source(bytes: Uint8Array, at: number, four: boolean): Address {
    if (!four) return addressAt(bytes, at, false)
    const key = u32At(bytes, at)
    let text = this.#sources.get(key)
    if (text === undefined) {
      text = addressAt(bytes, at, true)
      this.#sources.set(key, text)
    }
    return text
  }
}

function overlayRoute(prefix: Prefix, { nexthop, mtu, src }: Pattern): Route {
  const type = 'unicast'
  if (src === undefined) {
    return mtu === 0
      ? { kind: 'route', table: overlayTable, prefix, type, nexthop }
      : { kind: 'route', table: overlayTable, prefix, type, nexthop, mtu }
  }
  return mtu === 0
    ? { kind: 'route', table: overlayTable, prefix, type, nexthop, src }
    : { kind: 'route', table: overlayTable, prefix, type, nexthop, mtu, src }
}

function addressAt(bytes: Uint8Array, at: number, four: boolean): Address {
  return formatAddress(bytes.subarray(at, at + (four ? 4 : 16)))
}

const text = Buffer.alloc(20)

/** `dst` -1: the default route. IPv4 is written as flat text, which map look-ups hash without another copy. */
function prefixAt(bytes: Uint8Array, four: boolean, dst: number, length: number): Prefix {
  if (!four) return formatPrefix(dst < 0 ? new Uint8Array(16) : bytes.subarray(dst, dst + 16), length)
  let at = 0
  for (let i = 0; i < 4; i++) {
    at = putNumber(dst < 0 ? 0 : (bytes[dst + i] ?? 0), at)
    text[at++] = i < 3 ? 46 : 47
  }
  return text.toString('latin1', 0, putNumber(length, at)) as Prefix
}

/** 0-255 in decimal; the place after it. */
function putNumber(value: number, at: number): number {
  if (value >= 100) text[at++] = 48 + Math.floor(value / 100)
  if (value >= 10) text[at++] = 48 + (Math.floor(value / 10) % 10)
  text[at++] = 48 + (value % 10)
  return at
}
