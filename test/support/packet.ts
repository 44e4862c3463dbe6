/** Packets made by hand: UDP payloads from any source a machine has, and VXLAN frames (RFC 7348) that nobody asked for. */
import type { Machine } from './machine.ts'

const program = `
const [to, port, source, hex, count] = process.argv.slice(1)
const socket = require('node:dgram').createSocket(to.includes(':') ? 'udp6' : 'udp4')
const payload = Buffer.from(hex, 'hex')
let left = Number(count)
socket.bind(0, source === '' ? undefined : source, () => {
  socket.setBroadcast(true)
  const next = () => (left-- > 0 ? socket.send(payload, Number(port), to, () => setTimeout(next, 5)) : socket.close())
  next()
})
`

export interface Datagram {
  readonly to: string
  readonly port: number
  /** A local address of the sender; absent: the kernel's choice. */
  readonly source?: string
  readonly payload?: Buffer
  readonly count?: number
}

/** Sends `count` (10) of them, 5 ms apart. What the kernel refuses to send counts as sent. */
export function sendUdp(from: Machine, { to, port, source = '', payload, count = 10 }: Datagram): void {
  const hex = (payload ?? Buffer.alloc(32)).toString('hex')
  from.run(process.execPath, '-e', program, to, String(port), source, hex, String(count))
}

/** A VXLAN payload: a broadcast frame of an experimental ethertype, from a source address that nothing else uses. */
export function vxlanFrame(vni: number, mac = '02:00:00:00:66:66'): Buffer {
  const header = Buffer.alloc(8)
  header.writeUInt8(0x08, 0)
  header.writeUInt32BE(vni << 8, 4)
  const frame = Buffer.alloc(64)
  frame.fill(0xff, 0, 6)
  Buffer.from(mac.replaceAll(':', ''), 'hex').copy(frame, 6)
  frame.writeUInt16BE(0x88b5, 12) // IEEE 802 local experimental ethertype 1
  return Buffer.concat([header, frame])
}
