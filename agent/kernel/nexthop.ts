/**
 * Nexthops and groups over rtnetlink (linux/nexthop.h, net/ipv4/nexthop.c). Groups are resilient: a replaced group keeps
 * the flows of the members that stay. Both carry protocol `kernel`, see kernel-number.ts.
 */
import { groupBuckets, groupTimers, isOwnedNexthop, nexthopProtocol } from '../model/kernel-number.ts'
import type { Nexthop, NexthopGroup } from '../model/kernel-object.ts'
import { findAttribute, flag, u16At, u32At, valueLength } from './message.ts'
import type { MessageWriter } from './message.ts'
import { family, message } from './rtnetlink.ts'

const nha = { id: 1, group: 2, type: 3, blackhole: 4, oif: 5, resilient: 12 } as const
/** Inside nha.resilient. */
const nhaRes = { buckets: 1, idleTimer: 2, unbalancedTimer: 3 } as const
/** Kernel times are clock_t: hundredths of a second (USER_HZ). */
const timers = [
  [nhaRes.idleTimer, 100 * groupTimers.idle],
  [nhaRes.unbalancedTimer, 100 * groupTimers.unbalanced],
] as const
const resilientType = 1
const header = 8

function begin(writer: MessageWriter, verb: 'add' | 'replace' | 'remove', version: number): void {
  const flags = { add: flag.create | flag.exclusive, replace: flag.create | flag.replace, remove: 0 }[verb]
  writer.begin(verb === 'remove' ? message.delNexthop : message.newNexthop, flags)
  writer.u8(verb === 'remove' ? 0 : version)
  writer.u8(0)
  writer.u8(verb === 'remove' ? 0 : nexthopProtocol)
  writer.u8(0)
  writer.u32(0)
}

export function encodeNexthop(
  writer: MessageWriter,
  verb: 'add' | 'replace' | 'remove',
  nexthop: Nexthop,
  ifindexOf: (link: string) => number,
): void {
  begin(writer, verb, nexthop.family === 4 ? family.inet : family.inet6)
  writer.attrU32(nha.id, nexthop.id)
  if (verb !== 'remove') {
    if (nexthop.blackhole === true) writer.attr(nha.blackhole, new Uint8Array(0))
    else if (nexthop.device !== undefined) writer.attrU32(nha.oif, ifindexOf(nexthop.device))
  }
  writer.end()
}

export function encodeGroup(
  writer: MessageWriter,
  verb: 'add' | 'replace' | 'remove',
  group: NexthopGroup,
): void {
  begin(writer, verb, family.unspecified)
  writer.attrU32(nha.id, group.id)
  if (verb !== 'remove') {
    const members = new Uint8Array(8 * group.members.length)
    const view = new DataView(members.buffer)
    for (const [i, { id, weight }] of group.members.entries()) {
      view.setUint32(8 * i, id, true)
      view.setUint8(8 * i + 4, weight - 1)
    }
    writer.attr(nha.group, members)
    writer.attrU16(nha.type, resilientType)
    writer.nest(nha.resilient)
    writer.attrU16(nhaRes.buckets, groupBuckets)
    for (const [attribute, value] of timers) writer.attrU32(attribute, value)
    writer.endNest()
  }
  writer.end()
}

export function encodeNexthopDump(writer: MessageWriter): void {
  writer.begin(message.getNexthop, flag.dump)
  for (let i = 0; i < 8; i++) writer.u8(0)
  writer.end()
}

/** Undefined for ids outside our range. */
export function decodeNexthop(
  bytes: Uint8Array,
  start: number,
  end: number,
  nameOf: (ifindex: number) => string | undefined,
): Nexthop | NexthopGroup | undefined {
  const at = start + header
  const idAt = findAttribute(bytes, at, end, nha.id)
  const id = idAt < 0 ? 0 : u32At(bytes, idAt)
  if (!isOwnedNexthop(id)) return undefined
  const protocol = bytes[start + 2] ?? 0
  const foreign = protocol === nexthopProtocol ? {} : { protocol }
  const groupAt = findAttribute(bytes, at, end, nha.group)
  if (groupAt >= 0) {
    const typeAt = findAttribute(bytes, at, end, nha.type)
    const isResilient = typeAt >= 0 && u16At(bytes, typeAt) === resilientType
    const members = []
    for (let i = groupAt; i + 8 <= groupAt + valueLength(bytes, groupAt); i += 8) {
      members.push({ id: u32At(bytes, i), weight: (bytes[i + 4] ?? 0) + 1 })
    }
    members.sort((a, b) => a.id - b.id)
    return {
      kind: 'group',
      id,
      members,
      ...(isResilient ? {} : { otherType: true }),
      ...(isResilient && !hasTimers(bytes, at, end) ? { otherTimers: true } : {}),
      ...foreign,
    }
  }
  const oifAt = findAttribute(bytes, at, end, nha.oif)
  const device = oifAt < 0 ? undefined : nameOf(u32At(bytes, oifAt))
  return {
    kind: 'nexthop',
    id,
    family: bytes[start] === family.inet ? 4 : 6,
    ...(findAttribute(bytes, at, end, nha.blackhole) < 0 ? {} : { blackhole: true as const }),
    ...(device === undefined ? {} : { device }),
    ...foreign,
  }
}

function hasTimers(bytes: Uint8Array, at: number, end: number): boolean {
  const nest = findAttribute(bytes, at, end, nha.resilient)
  if (nest < 0) return false
  const nestEnd = nest + valueLength(bytes, nest)
  return timers.every(([attribute, value]) => {
    const found = findAttribute(bytes, nest, nestEnd, attribute)
    return found >= 0 && u32At(bytes, found) === value
  })
}
