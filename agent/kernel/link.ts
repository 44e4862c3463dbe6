/**
 * Links over rtnetlink. Links are rare, so they are decoded by the `netlink` package's codecs; what is nested in
 * IFLA_LINKINFO is read here.
 *
 * A link is born in our group, down. Alias and address generation mode can only be set on a link that exists
 * (net/core/rtnetlink.c do_setlink), and it must be up only after that: else the kernel gives it a link-local
 * address of its own. So a link takes three messages.
 */
import { parseLinkMessage } from 'netlink/dist/rt/structs.js'
import type { Link } from '../model/kernel-object.ts'
import { addressBytes, familyOf, formatAddress } from '../model/prefix.ts'
import { flag, forEachAttribute, stringAt } from './message.ts'
import type { MessageWriter } from './message.ts'
import { message } from './rtnetlink.ts'

const ifla = {
  address: 1,
  name: 3,
  mtu: 4,
  master: 10,
  linkInfo: 18,
  alias: 20,
  afSpec: 26,
  group: 27,
  kind: 1,
  data: 2,
} as const
const vxlan = { id: 1, local: 4, learning: 7, port: 15, local6: 17 } as const
const inet6 = 10
const addressGenerationMode = 8
const generateNone = 1
const up = 1

/** A link as the kernel lists it, ours or not. */
export interface ObservedLink {
  readonly ifindex: number
  readonly name: string
  readonly up: boolean
  readonly mtu: number
  readonly group: number
  readonly loopback: boolean
  readonly alias?: string
  readonly master?: number
  readonly mac?: string
  /** IFLA_INFO_KIND; absent for hardware. */
  readonly type?: string
  readonly vxlan?: NonNullable<Link['vxlan']>
}

function header(writer: MessageWriter, ifindex: number, flags: number, change: number): void {
  writer.u32(0)
  writer.u32(ifindex)
  writer.u32(flags)
  writer.u32(change)
}

/** RTM_NEWLINK that makes the link, down. */
export function encodeLinkAdd(writer: MessageWriter, link: Link, master: number | undefined): void {
  writer.begin(message.newLink, flag.create | flag.exclusive)
  header(writer, 0, 0, 0)
  writer.attrString(ifla.name, link.name)
  // A bridge follows the MTU of its ports until somebody has changed it (net/bridge/br_device.c br_change_mtu), and
  // the same again is no change. So it is born one byte smaller, and set right by encodeLinkSet.
  writer.attrU32(ifla.mtu, link.type === 'bridge' ? link.mtu - 1 : link.mtu)
  writer.attrU32(ifla.group, link.group)
  if (link.mac !== undefined) writer.attr(ifla.address, macBytes(link.mac))
  if (master !== undefined) writer.attrU32(ifla.master, master)
  writer.nest(ifla.linkInfo)
  writer.attrString(ifla.kind, link.type)
  if (link.vxlan !== undefined) {
    const { vni, local, port, learning } = link.vxlan
    writer.nest(ifla.data)
    writer.attrU32(vxlan.id, vni)
    writer.attr(familyOf(local) === 4 ? vxlan.local : vxlan.local6, addressBytes(local))
    writer.attrU8(vxlan.learning, learning ? 1 : 0)
    writer.attrBe16(vxlan.port, port)
    writer.endNest()
  }
  writer.endNest()
  writer.end()
}

/** What can be said only of a link that exists. `master` 0 takes it out of its bridge. */
export function encodeLinkSet(writer: MessageWriter, ifindex: number, link: Link, master?: number): void {
  writer.begin(message.newLink, 0)
  header(writer, ifindex, 0, 0)
  writer.attrU32(ifla.mtu, link.mtu)
  writer.attrU32(ifla.group, link.group)
  if (link.mac !== undefined) writer.attr(ifla.address, macBytes(link.mac))
  if (link.alias !== undefined) writer.attrString(ifla.alias, link.alias)
  if (master !== undefined) writer.attrU32(ifla.master, master)
  writer.end()
}

/** No link-local address of the kernel's own: the plan gives the addresses. Fails where IPv6 is off. */
export function encodeNoAutomaticAddress(writer: MessageWriter, ifindex: number): void {
  writer.begin(message.newLink, 0)
  header(writer, ifindex, 0, 0)
  writer.nest(ifla.afSpec)
  writer.nest(inet6)
  writer.attrU8(addressGenerationMode, generateNone)
  writer.endNest()
  writer.endNest()
  writer.end()
}

export function encodeLinkUp(writer: MessageWriter, ifindex: number, isUp: boolean): void {
  writer.begin(message.newLink, 0)
  header(writer, ifindex, isUp ? up : 0, up)
  writer.end()
}

export function encodeMaster(writer: MessageWriter, ifindex: number, master: number): void {
  writer.begin(message.newLink, 0)
  header(writer, ifindex, 0, 0)
  writer.attrU32(ifla.master, master)
  writer.end()
}

export function encodeLinkRemove(writer: MessageWriter, ifindex: number): void {
  writer.begin(message.delLink, 0)
  header(writer, ifindex, 0, 0)
  writer.end()
}

export function encodeLinkDump(writer: MessageWriter): void {
  writer.begin(message.getLink, flag.dump)
  header(writer, 0, 0, 0)
  writer.end()
}

export function encodeLinkGet(writer: MessageWriter, name: string): void {
  writer.begin(message.getLink, 0)
  header(writer, 0, 0, 0)
  writer.attrString(ifla.name, name)
  writer.end()
}

/** `start` and `end` bound the payload of an RTM_NEWLINK or RTM_DELLINK. */
export function decodeLink(bytes: Uint8Array, start: number, end: number): ObservedLink {
  const { data, attrs } = parseLinkMessage(Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start))
  const info = attrs.linkinfo === undefined ? {} : decodeInfo(attrs.linkinfo)
  return {
    ifindex: data.index ?? 0,
    name: attrs.ifname ?? '',
    up: data.flags?.up === true,
    loopback: data.flags?.loopback === true,
    mtu: attrs.mtu ?? 0,
    group: attrs.group ?? 0,
    ...(attrs.ifalias === undefined ? {} : { alias: attrs.ifalias }),
    ...(attrs.master === undefined ? {} : { master: attrs.master }),
    ...(attrs.address === undefined || attrs.address.length !== 6
      ? {}
      : { mac: [...attrs.address].map((byte) => byte.toString(16).padStart(2, '0')).join(':') }),
    ...info,
  }
}

function decodeInfo(bytes: Uint8Array): Pick<ObservedLink, 'type' | 'vxlan'> {
  let type = ''
  let data: Uint8Array | undefined
  forEachAttribute(bytes, 0, bytes.length, (attribute, start, end) => {
    if (attribute === ifla.kind) type = stringAt(bytes, start, end)
    else if (attribute === ifla.data) data = bytes.subarray(start, end)
  })
  return { type, ...(type === 'vxlan' && data !== undefined ? { vxlan: decodeVxlan(data) } : {}) }
}

function decodeVxlan(bytes: Uint8Array): NonNullable<Link['vxlan']> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let vni = 0
  let port = 0
  let learning = false
  let local = formatAddress(new Uint8Array(4))
  forEachAttribute(bytes, 0, bytes.length, (attribute, start, end) => {
    if (attribute === vxlan.id) vni = view.getUint32(start, true)
    else if (attribute === vxlan.port) port = view.getUint16(start, false)
    else if (attribute === vxlan.learning) learning = bytes[start] === 1
    else if (attribute === vxlan.local || attribute === vxlan.local6) {
      local = formatAddress(bytes.subarray(start, end))
    }
  })
  return { vni, local, port, learning }
}

function macBytes(mac: string): Uint8Array {
  return Uint8Array.from(mac.split(':'), (part) => parseInt(part, 16))
}
