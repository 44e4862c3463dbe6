/**
 * Classic BPF on an event socket: what is of no interest is dropped in the kernel, before it takes room in the buffer.
 *
 * 100,000 routes of our own make 100,000 events, and so does one replaced nexthop group (each of its routes is told of
 * anew, net/ipv4/nexthop.c nexthop_replace_notify). Without this they would overrun the buffer and mean a resync.
 * Netlink headers are host-endian while BPF loads are big-endian, hence the swaps.
 */
import { family, mainTable, message } from './rtnetlink.ts'

const load = { byte: 0x30, half: 0x28, word: 0x20 } as const
const jumpEqual = 0x15
const answer = 0x06
const offset = { type: 4, pid: 12, family: 16, routeTable: 20 } as const
/** rtm_table of every table above 255. */
const compatibleTable = 252

interface Instruction {
  readonly code: number
  /** Label to go to where the comparison holds, or does not; absent: the next instruction. */
  readonly yes?: string
  readonly no?: string
  readonly value: number
  readonly label?: string
}

const end: readonly Instruction[] = [
  { code: answer, value: 0, label: 'drop' },
  { code: answer, value: 0xffffffff, label: 'take' },
]

/** For rtnetlink: not what `portId` caused, no routes of small tables but main, of neighbours only the FDB entries that go. */
export function routeFilter(portId: number): Uint8Array {
  return assemble([
    { code: load.word, value: offset.pid },
    { code: jumpEqual, value: swap32(portId), yes: 'drop' },
    { code: load.half, value: offset.type },
    { code: jumpEqual, value: swap16(message.newRoute), yes: 'route' },
    { code: jumpEqual, value: swap16(message.delRoute), yes: 'route' },
    { code: jumpEqual, value: swap16(message.newNeighbour), yes: 'drop' },
    { code: jumpEqual, value: swap16(message.delNeighbour), no: 'take' },
    { code: load.byte, value: offset.family },
    { code: jumpEqual, value: family.bridge, yes: 'take', no: 'drop' },
    { code: load.byte, value: offset.routeTable, label: 'route' },
    { code: jumpEqual, value: mainTable, yes: 'take' },
    { code: jumpEqual, value: compatibleTable, yes: 'take' },
    ...end,
  ])
}

/** Messages of one type only; nf_tables tells of a new generation in a message of its own. */
export function typeFilter(type: number): Uint8Array {
  return assemble([
    { code: load.half, value: offset.type },
    { code: jumpEqual, value: swap16(type), yes: 'take' },
    ...end,
  ])
}

/** struct sock_filter { u16 code; u8 jt; u8 jf; u32 k }, jumps counted from the next instruction. */
function assemble(program: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(8 * program.length)
  const view = new DataView(bytes.buffer)
  const distance = (from: number, label: string | undefined): number =>
    label === undefined ? 0 : program.findIndex((instruction) => instruction.label === label) - from - 1
  for (const [i, { code, yes, no, value }] of program.entries()) {
    view.setUint16(8 * i, code, true)
    view.setUint8(8 * i + 2, distance(i, yes))
    view.setUint8(8 * i + 3, distance(i, no))
    view.setUint32(8 * i + 4, value, true)
  }
  return bytes
}

function swap16(value: number): number {
  return ((value & 0xff) << 8) | (value >> 8)
}

function swap32(value: number): number {
  return ((swap16(value & 0xffff) << 16) | swap16(value >>> 16)) >>> 0
}
