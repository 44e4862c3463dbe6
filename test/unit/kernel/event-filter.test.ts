import t from 'tap'
import { routeFilter, typeFilter } from '../../../agent/kernel/event-filter.ts'

/** The four instructions of classic BPF the filters use (Documentation/networking/filter.rst). */
function passes(filter: Uint8Array, packet: Uint8Array): boolean {
  const program = new DataView(filter.buffer, filter.byteOffset, filter.byteLength)
  const data = new DataView(packet.buffer)
  let a = 0
  for (let pc = 0; ; pc++) {
    const k = program.getUint32(8 * pc + 4, true)
    switch (program.getUint16(8 * pc, true)) {
      case 0x20:
        a = data.getUint32(k, false)
        break
      case 0x28:
        a = data.getUint16(k, false)
        break
      case 0x30:
        a = data.getUint8(k)
        break
      case 0x15:
        pc += program.getUint8(8 * pc + (a === k ? 2 : 3))
        break
      case 0x06:
        return k !== 0
      default:
        throw new TypeError('unknown instruction')
    }
  }
}

function message(type: number, portId: number, ...payload: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(32)
  const view = new DataView(bytes.buffer)
  view.setUint16(4, type, true)
  view.setUint32(12, portId, true)
  bytes.set(payload, 16)
  return bytes
}

void t.test('routing events', (t) => {
  const own = 0x8000_1234
  const filter = routeFilter(own)
  const cases: readonly (readonly [string, Uint8Array, boolean])[] = [
    ['our own route', message(24, own, 2, 0, 0, 0, 252), false],
    ['our own link', message(16, own), false],
    ['a route of a large table', message(24, 77, 2, 0, 0, 0, 252), true],
    ['a route of main that goes', message(25, 0, 2, 0, 0, 0, 254), true],
    ['a route of table 100', message(24, 77, 2, 0, 0, 0, 100), false],
    ['a local route', message(25, 0, 10, 0, 0, 0, 255), false],
    ['a neighbour', message(28, 0, 2), false],
    ['a neighbour that goes', message(29, 0, 2), false],
    ['an FDB entry that goes', message(29, 0, 7), true],
    ['a link', message(16, 0), true],
    ['an address', message(20, 0), true],
    ['a nexthop', message(104, 0x3412_0080), true],
  ]
  for (const [name, packet, expected] of cases) t.equal(passes(filter, packet), expected, name)
  t.end()
})

void t.test('one type', (t) => {
  t.ok(passes(typeFilter(0x0a0f), message(0x0a0f, 1)))
  t.notOk(passes(typeFilter(0x0a0f), message(0x0f0a, 1)))
  t.end()
})
