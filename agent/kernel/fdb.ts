/** Forwarding database of VXLAN links over rtnetlink (linux/neighbour.h): static entries only; what is learned is traffic's. */
import type { FdbEntry } from '../model/kernel-object.ts'
import { addressBytes, formatAddress } from '../model/prefix.ts'
import { findAttribute, flag, u16At, u32At, valueLength } from './message.ts'
import type { MessageWriter } from './message.ts'
import { family, message } from './rtnetlink.ts'

const nda = { dst: 1, mac: 2 } as const
const permanent = 0x80
const noArp = 0x40
const self = 0x02
const header = 12
const floodMac = '00:00:00:00:00:00'

/**
 * The flood list (the all-zero MAC) has several destinations, so they are appended. Any other MAC has one; for it the
 * kernel ignores an append without a word (vxlan_fdb_update), so it is replaced.
 */
export function encodeFdb(
  writer: MessageWriter,
  verb: 'add' | 'remove',
  entry: FdbEntry,
  ifindex: number,
): void {
  writer.begin(
    verb === 'add' ? message.newNeighbour : message.delNeighbour,
    verb === 'remove' ? 0 : flag.create | (entry.mac === floodMac ? flag.append : flag.replace),
  )
  writer.u32(family.bridge)
  writer.u32(ifindex)
  writer.u16(permanent | noArp)
  writer.u8(self)
  writer.u8(0)
  writer.attr(
    nda.mac,
    Uint8Array.from(entry.mac.split(':'), (part) => parseInt(part, 16)),
  )
  writer.attr(nda.dst, addressBytes(entry.dst))
  writer.end()
}

export function encodeFdbDump(writer: MessageWriter, ifindex: number): void {
  writer.begin(message.getNeighbour, flag.dump)
  writer.u32(family.bridge)
  writer.u32(ifindex)
  writer.u32(0)
  writer.end()
}

/** Undefined for learned entries and those without an outer destination. */
export function decodeFdb(
  bytes: Uint8Array,
  start: number,
  end: number,
  nameOf: (ifindex: number) => string | undefined,
): FdbEntry | undefined {
  const link = nameOf(u32At(bytes, start + 4))
  const dst = findAttribute(bytes, start + header, end, nda.dst)
  const mac = findAttribute(bytes, start + header, end, nda.mac)
  if (link === undefined || dst < 0 || mac < 0 || (u16At(bytes, start + 8) & permanent) === 0)
    return undefined
  return {
    kind: 'fdb',
    link,
    mac: [...bytes.subarray(mac, mac + 6)].map((byte) => byte.toString(16).padStart(2, '0')).join(':'),
    dst: formatAddress(bytes.subarray(dst, dst + valueLength(bytes, dst))),
  }
}
