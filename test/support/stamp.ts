/**
 * STAMP as the RFCs draw it, written without a look at native/: RFC 8762 figures 2 and 4 (unauthenticated mode), RFC 8972
 * section 3 (SSID) and section 4 (TLVs). For ends that the engine must get along with.
 */

export interface Tlv {
  readonly flags: number
  readonly type: number
  readonly value: Buffer
}

export interface SenderPacket {
  readonly sequence: number
  readonly timestamp: bigint
  readonly errorEstimate: number
  readonly ssid: number
  readonly tlvs: readonly Tlv[]
}

export interface ReflectedPacket extends SenderPacket {
  readonly received: bigint
  readonly senderSequence: number
  readonly senderTimestamp: bigint
  readonly senderErrorEstimate: number
  readonly senderTtl: number
}

export const flag = { unrecognised: 0x80, malformed: 0x40, integrity: 0x20 } as const
export const baseLength = 44
const ntpEpochMs = 2_208_988_800_000n

export function ntpNow(): bigint {
  const ms = BigInt(Date.now()) + ntpEpochMs
  return ((ms / 1000n) << 32n) | (((ms % 1000n) << 32n) / 1000n)
}

export function ntpToMs(stamp: bigint): number {
  return Number((stamp >> 32n) * 1000n + (((stamp & 0xffffffffn) * 1000n) >> 32n) - ntpEpochMs)
}

function tlvBytes({ flags, type, value }: Tlv): Buffer {
  const head = Buffer.alloc(4)
  head[0] = flags
  head[1] = type
  head.writeUInt16BE(value.length, 2)
  return Buffer.concat([head, value])
}

export function readTlvs(bytes: Buffer): readonly Tlv[] {
  const tlvs: Tlv[] = []
  for (let at = 0; at + 4 <= bytes.length;) {
    const length = bytes.readUInt16BE(at + 2)
    const value = bytes.subarray(at + 4, at + 4 + length)
    tlvs.push({ flags: bytes[at] ?? 0, type: bytes[at + 1] ?? 0, value })
    at += 4 + length
  }
  return tlvs
}

export function senderBytes(packet: SenderPacket): Buffer {
  const bytes = Buffer.alloc(baseLength)
  bytes.writeUInt32BE(packet.sequence, 0)
  bytes.writeBigUInt64BE(BigInt.asUintN(64, packet.timestamp), 4)
  bytes.writeUInt16BE(packet.errorEstimate, 12)
  bytes.writeUInt16BE(packet.ssid, 14)
  return Buffer.concat([bytes, ...packet.tlvs.map(tlvBytes)])
}

export function readSender(bytes: Buffer): SenderPacket {
  return {
    sequence: bytes.readUInt32BE(0),
    timestamp: bytes.readBigUInt64BE(4),
    errorEstimate: bytes.readUInt16BE(12),
    ssid: bytes.readUInt16BE(14),
    tlvs: readTlvs(bytes.subarray(baseLength)),
  }
}

export function reflectedBytes(packet: ReflectedPacket): Buffer {
  const bytes = senderBytes(packet)
  bytes.writeBigUInt64BE(BigInt.asUintN(64, packet.received), 16)
  bytes.writeUInt32BE(packet.senderSequence, 24)
  bytes.writeBigUInt64BE(packet.senderTimestamp, 28)
  bytes.writeUInt16BE(packet.senderErrorEstimate, 36)
  bytes[40] = packet.senderTtl
  return bytes
}

export function readReflected(bytes: Buffer): ReflectedPacket {
  return {
    ...readSender(bytes),
    received: bytes.readBigUInt64BE(16),
    senderSequence: bytes.readUInt32BE(24),
    senderTimestamp: bytes.readBigUInt64BE(28),
    senderErrorEstimate: bytes.readUInt16BE(36),
    senderTtl: bytes[40] ?? 0,
  }
}

/** The in-band word of linkspan: type 252 (private use: an enterprise code first), 16 octets. */
export function wordTlv(
  flags: number,
  weight: number,
  serial: number,
  tlvFlags: number,
  enterprise = 0,
): Tlv {
  const value = Buffer.alloc(16)
  value.writeUInt32BE(enterprise, 0)
  value.writeUInt16BE(flags, 4)
  value.writeUInt16BE(weight, 6)
  value.writeBigUInt64BE(BigInt(serial), 8)
  return { flags: tlvFlags, type: 252, value }
}
