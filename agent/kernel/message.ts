/**
 * Netlink messages: a writer that fills one growing buffer, and readers that walk a buffer by offset.
 *
 * A cold start writes 100,000 routes and an audit reads as many, so nothing here makes an object per message or attribute:
 * the readers call a visitor with numbers. Netlink is host-endian, and every platform linkspan runs on (x86-64, arm64) is
 * little-endian. Lengths come from the kernel but are still checked: a malformed one ends the walk.
 *
 * Layout (linux/netlink.h): nlmsghdr { u32 len; u16 type; u16 flags; u32 seq; u32 pid }, then attributes
 * nlattr { u16 len; u16 type }, everything aligned to 4 bytes.
 */

const messageHeader = 16
const attributeHeader = 4
const nestedFlag = 0x8000
const typeMask = 0x3fff
const longest = 0xffff
const tooLong = 'a netlink attribute holds at most 65,535 bytes'
const encoder = new TextEncoder()
const decoder = new TextDecoder()

export const flag = {
  request: 0x1,
  ack: 0x4,
  dump: 0x300,
  replace: 0x100,
  exclusive: 0x200,
  create: 0x400,
  append: 0x800,
} as const

export class MessageWriter {
  #bytes: Uint8Array
  #view: DataView
  #at = 0
  #messageStart = -1
  readonly #nests: number[] = []
  #count = 0

  constructor(room = 64 * 1024) {
    this.#bytes = new Uint8Array(room)
    this.#view = new DataView(this.#bytes.buffer)
  }

  /** Messages begun since the last take(). */
  get count(): number {
    return this.#count
  }

  /** Bytes written since the last take(). */
  get length(): number {
    return this.#at
  }

  begin(type: number, flags: number): void {
    this.#reserve(messageHeader)
    this.#messageStart = this.#at
    this.#view.setUint32(this.#at, 0, true)
    this.#view.setUint16(this.#at + 4, type, true)
    this.#view.setUint16(this.#at + 6, flags | flag.request, true)
    this.#view.setUint32(this.#at + 8, 0, true)
    this.#view.setUint32(this.#at + 12, 0, true)
    this.#at += messageHeader
    this.#count++
  }

  end(): void {
    if (this.#nests.length > 0) throw new RangeError('end before endNest')
    this.#view.setUint32(this.#messageStart, this.#at - this.#messageStart, true)
    this.#messageStart = -1
    this.#align()
  }

  u8(value: number): void {
    this.#reserve(1)
    this.#bytes[this.#at++] = value
  }

  u16(value: number): void {
    this.#reserve(2)
    this.#view.setUint16(this.#at, value, true)
    this.#at += 2
  }

  u32(value: number): void {
    this.#reserve(4)
    this.#view.setUint32(this.#at, value, true)
    this.#at += 4
  }

  /** Fixed structures such as rtmsg; not aligned. */
  bytes(value: Uint8Array): void {
    this.#reserve(value.length)
    this.#bytes.set(value, this.#at)
    this.#at += value.length
  }

  attr(type: number, value: Uint8Array): void {
    const { length } = value
    this.#head(type, length)
    // An address is over before set() has begun.
    if (length <= 16) for (let i = 0; i < length; i++) this.#bytes[this.#at + i] = value[i] ?? 0
    else this.#bytes.set(value, this.#at)
    this.#at += length
    this.#align()
  }

  attrU8(type: number, value: number): void {
    this.#head(type, 1)
    this.#bytes[this.#at++] = value
    this.#align()
  }

  attrU16(type: number, value: number): void {
    this.#head(type, 2)
    this.#view.setUint16(this.#at, value, true)
    this.#at += 2
    this.#align()
  }

  attrU32(type: number, value: number): void {
    this.#head(type, 4)
    this.#view.setUint32(this.#at, value, true)
    this.#at += 4
  }

  /** Network order: ports, nfnetlink numbers. */
  attrBe16(type: number, value: number): void {
    this.#head(type, 2)
    this.#view.setUint16(this.#at, value, false)
    this.#at += 2
    this.#align()
  }

  /** UTF-8 with a terminating zero. */
  attrString(type: number, value: string): void {
    this.attr(type, encoder.encode(`${value}\0`))
  }

  nest(type: number): void {
    this.#reserve(attributeHeader)
    this.#nests.push(this.#at)
    this.#view.setUint16(this.#at + 2, type | nestedFlag, true)
    this.#at += attributeHeader
  }

  /** Length of the innermost open nest; one holds at most 65,535 bytes. */
  get nestLength(): number {
    return this.#at - (this.#nests.at(-1) ?? this.#at)
  }

  endNest(): void {
    const start = this.#nests.pop()
    if (start === undefined) throw new RangeError('endNest without nest')
    if (this.#at - start > longest) throw new RangeError(tooLong)
    this.#view.setUint16(start, this.#at - start, true)
  }

  /** The finished messages, as a copy; the writer starts anew. */
  take(): Uint8Array {
    return this.lend().slice()
  }

  /** The same without the copy: good until the next message is begun. */
  lend(): Uint8Array {
    if (this.#messageStart >= 0) throw new RangeError('take before end')
    const lent = this.#bytes.subarray(0, this.#at)
    this.#at = 0
    this.#count = 0
    return lent
  }

  #head(type: number, length: number): void {
    if (attributeHeader + length > longest) throw new RangeError(tooLong)
    this.#reserve(attributeHeader + length + 4)
    this.#view.setUint16(this.#at, attributeHeader + length, true)
    this.#view.setUint16(this.#at + 2, type, true)
    this.#at += attributeHeader
  }

  #align(): void {
    this.#reserve(4)
    while ((this.#at & 3) !== 0) this.#bytes[this.#at++] = 0
  }

  #reserve(more: number): void {
    if (this.#at + more <= this.#bytes.length) return
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#at + more))
    grown.set(this.#bytes)
    this.#bytes = grown
    this.#view = new DataView(grown.buffer)
  }
}

/** `start` and `end` bound the message's payload. */
export type VisitMessage = (
  type: number,
  flags: number,
  seq: number,
  pid: number,
  start: number,
  end: number,
) => void

export function forEachMessage(bytes: Uint8Array, visit: VisitMessage): void {
  let at = 0
  while (at + messageHeader <= bytes.length) {
    const length = u32At(bytes, at)
    if (length < messageHeader || at + length > bytes.length) return
    visit(
      u16At(bytes, at + 4),
      u16At(bytes, at + 6),
      u32At(bytes, at + 8),
      u32At(bytes, at + 12),
      at + messageHeader,
      at + length,
    )
    at += (length + 3) & ~3
  }
}

/** `start` and `end` bound the attribute's value; the flag bits of the type are taken off. */
export type VisitAttribute = (type: number, start: number, end: number) => void

export function forEachAttribute(bytes: Uint8Array, start: number, end: number, visit: VisitAttribute): void {
  let at = start
  const last = Math.min(end, bytes.length)
  while (at + attributeHeader <= last) {
    const length = u16At(bytes, at)
    if (length < attributeHeader || at + length > last) return
    visit(u16At(bytes, at + 2) & typeMask, at + attributeHeader, at + length)
    at += (length + 3) & ~3
  }
}

/** Offset of the value of the first attribute of that type, or -1. */
export function findAttribute(bytes: Uint8Array, start: number, end: number, type: number): number {
  let at = start
  const last = Math.min(end, bytes.length)
  while (at + attributeHeader <= last) {
    const length = u16At(bytes, at)
    if (length < attributeHeader || at + length > last) return -1
    if ((u16At(bytes, at + 2) & typeMask) === type) return at + attributeHeader
    at += (length + 3) & ~3
  }
  return -1
}

/** Length of the value of an attribute whose value begins at `start`. */
export function valueLength(bytes: Uint8Array, start: number): number {
  return u16At(bytes, start - attributeHeader) - attributeHeader
}

export function u16At(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8)
}

export function u32At(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] ?? 0) |
      ((bytes[at + 1] ?? 0) << 8) |
      ((bytes[at + 2] ?? 0) << 16) |
      ((bytes[at + 3] ?? 0) << 24)) >>>
    0
  )
}

export function be32At(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] ?? 0) << 24) |
      ((bytes[at + 1] ?? 0) << 16) |
      ((bytes[at + 2] ?? 0) << 8) |
      (bytes[at + 3] ?? 0)) >>>
    0
  )
}

/** Text up to a zero or the end. */
export function stringAt(bytes: Uint8Array, start: number, end: number): string {
  let stop = start
  while (stop < end && bytes[stop] !== 0) stop++
  return decoder.decode(bytes.subarray(start, stop))
}
