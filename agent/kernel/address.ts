/** Addresses of links over rtnetlink (linux/if_addr.h). */
import type { LinkAddress } from '../model/kernel-object.ts'
import { addressBytes, formatAddress } from '../model/prefix.ts'
import type { Address } from '../model/prefix.ts'
import { findAttribute, flag, u32At, valueLength } from './message.ts'
import type { MessageWriter } from './message.ts'
import { family, message, scope } from './rtnetlink.ts'

const ifa = { address: 1, local: 2, flags: 8 } as const
/** IFA_F_NODAD: ours by certificate, and WireGuard has no neighbours to ask. IFA_F_NOPREFIXROUTE: no route in main. */
const noDuplicateDetection = 0x02
const noPrefixRoute = 0x200

export interface ObservedAddress {
  readonly ifindex: number
  readonly address: Address
  readonly length: number
  readonly scope: number
}

export function encodeAddress(
  writer: MessageWriter,
  verb: 'add' | 'remove',
  object: LinkAddress,
  ifindex: number,
): void {
  const slash = object.address.lastIndexOf('/')
  const bytes = addressBytes(object.address.slice(0, slash) as Address)
  const length = Number(object.address.slice(slash + 1))
  const linkLocal = object.address.startsWith('fe80:')
  writer.begin(
    verb === 'add' ? message.newAddress : message.delAddress,
    verb === 'add' ? flag.create | flag.exclusive : 0,
  )
  writer.u8(bytes.length === 4 ? family.inet : family.inet6)
  writer.u8(length)
  writer.u8(0)
  writer.u8(linkLocal ? scope.link : scope.universe)
  writer.u32(ifindex)
  writer.attr(ifa.local, bytes)
  writer.attr(ifa.address, bytes)
  // The prefix route of fe80::n/64 is wanted: probes find their way by it.
  if (verb === 'add') writer.attrU32(ifa.flags, noDuplicateDetection | (linkLocal ? 0 : noPrefixRoute))
  writer.end()
}

export function encodeAddressDump(writer: MessageWriter): void {
  writer.begin(message.getAddress, flag.dump)
  writer.u32(0)
  writer.u32(0)
  writer.end()
}

export function decodeAddress(bytes: Uint8Array, start: number, end: number): ObservedAddress | undefined {
  const local = findAttribute(bytes, start + 8, end, ifa.local)
  const at = local >= 0 ? local : findAttribute(bytes, start + 8, end, ifa.address)
  if (at < 0) return undefined
  return {
    ifindex: u32At(bytes, start + 4),
    address: formatAddress(bytes.subarray(at, at + valueLength(bytes, at))),
    length: bytes[start + 1] ?? 0,
    scope: bytes[start + 3] ?? 0,
  }
}
