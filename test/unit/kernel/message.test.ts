import fc from 'fast-check'
import t from 'tap'
import {
  be32At,
  findAttribute,
  flag,
  forEachAttribute,
  forEachMessage,
  MessageWriter,
  stringAt,
  u16At,
  u32At,
  valueLength,
} from '../../../agent/kernel/message.ts'

/** Attributes as [type, offset from the start, value length], collected for comparison. */
function attributesOf(bytes: Uint8Array, start: number, end: number): [number, number, number][] {
  const found: [number, number, number][] = []
  forEachAttribute(bytes, start, end, (type, from, to) => found.push([type, from, to - from]))
  return found
}

function writeRoute(writer: MessageWriter, n: number, destination: Uint8Array): void {
  destination[1] = n >> 16
  destination[2] = n >> 8
  writer.begin(24, flag.create | flag.exclusive)
  writer.u8(2)
  writer.u8(24)
  writer.u16(0)
  writer.u8(252)
  writer.u8(76)
  writer.u8(0)
  writer.u8(1)
  writer.u32(0)
  writer.attr(1, destination)
  writer.attrU32(15, 19539)
  writer.attrU32(30, 0x4c001000)
  writer.nest(8)
  writer.attrU32(2, 1420)
  writer.endNest()
  writer.end()
}

await t.test('a route message, byte by byte', (t) => {
  const writer = new MessageWriter(16)
  writeRoute(writer, 0x0102, Uint8Array.of(10, 0, 0, 0))
  const expected = [
    '40000000 1800 0106 00000000 00000000', // nlmsghdr: RTM_NEWROUTE, REQUEST | EXCL | CREATE
    '02 18 00 00 fc 4c 00 01 00000000', // rtmsg
    '0800 0100 0a000100', // RTA_DST
    '0800 0f00 534c0000', // RTA_TABLE
    '0800 1e00 0010004c', // RTA_NH_ID
    '0c00 0880 0800 0200 8c050000', // RTA_METRICS { RTAX_MTU }
  ]
  t.equal(Buffer.from(writer.take()).toString('hex'), expected.join('').replaceAll(' ', ''))
  t.end()
})

await t.test('values of every width come back', (t) => {
  const writer = new MessageWriter(8)
  writer.begin(16, 0)
  writer.bytes(Uint8Array.of(1, 2, 3, 4))
  writer.attrU8(1, 0xab)
  writer.attrU16(2, 0xabcd)
  writer.attrU32(3, 0xfedcba98)
  writer.attrBe16(5, 0x1234)
  writer.attr(6, Uint8Array.of(0xfe, 0xdc, 0xba, 0x98))
  writer.attrString(7, 'réseau')
  writer.attr(8, Uint8Array.of(9, 8, 7))
  writer.attr(9, new Uint8Array(0))
  writer.end()
  t.equal(writer.count, 1)
  t.equal(writer.length % 4, 0)
  const bytes = writer.take()
  t.equal(writer.count, 0)
  t.equal(writer.length, 0)
  let visits = 0
  forEachMessage(bytes, (type, flags, seq, pid, start, end) => {
    visits++
    t.same([type, flags, seq, pid, start], [16, flag.request, 0, 0, 16])
    const at = (wanted: number): number => findAttribute(bytes, start + 4, end, wanted)
    t.equal(bytes[at(1)], 0xab)
    t.equal(u16At(bytes, at(2)), 0xabcd)
    t.equal(u32At(bytes, at(3)), 0xfedcba98)
    t.same([...bytes.subarray(at(5), at(5) + 2)], [0x12, 0x34])
    t.equal(be32At(bytes, at(6)), 0xfedcba98)
    t.equal(stringAt(bytes, at(7), at(7) + valueLength(bytes, at(7))), 'réseau')
    t.same([...bytes.subarray(at(8), at(8) + valueLength(bytes, at(8)))], [9, 8, 7])
    t.equal(valueLength(bytes, at(9)), 0)
    t.equal(at(10), -1)
    t.same(
      attributesOf(bytes, start + 4, end).map(([type]) => type),
      [1, 2, 3, 5, 6, 7, 8, 9],
    )
  })
  t.equal(visits, 1)
  t.end()
})

await t.test('padding is zero, whatever the buffer held before', (t) => {
  const writer = new MessageWriter(64)
  writer.bytes(new Uint8Array(64).fill(0xff))
  writer.take()
  writer.begin(16, 0)
  writer.attrU8(1, 1)
  writer.attr(2, Uint8Array.of(1, 2, 3))
  writer.end()
  const hex = Buffer.from(writer.take().subarray(16)).toString('hex')
  t.equal(hex, '0500010001000000' + '0700020001020300')
  t.end()
})

await t.test('a nest is flagged, measured, and read like a message', (t) => {
  const writer = new MessageWriter()
  writer.begin(16, 0)
  writer.nest(1)
  writer.nest(2)
  writer.attrU32(3, 7)
  t.equal(writer.nestLength, 12)
  writer.endNest()
  writer.attrU8(4, 1)
  writer.endNest()
  writer.end()
  const bytes = writer.take()
  t.equal(u16At(bytes, 18), 1 | 0x8000)
  const outer = findAttribute(bytes, 16, bytes.length, 1)
  const inner = findAttribute(bytes, outer, outer + valueLength(bytes, outer), 2)
  t.equal(u32At(bytes, findAttribute(bytes, inner, inner + valueLength(bytes, inner), 3)), 7)
  t.end()
})

await t.test('what cannot be said in netlink is refused', (t) => {
  const writer = new MessageWriter()
  writer.begin(16, 0)
  t.throws(() => {
    writer.endNest()
  }, RangeError)
  t.throws(() => writer.take(), RangeError, 'an open message')
  t.throws(() => {
    writer.attr(1, new Uint8Array(65_532))
  }, RangeError)
  writer.attr(1, new Uint8Array(65_531))
  writer.nest(1)
  t.throws(() => {
    writer.end()
  }, RangeError)
  for (let i = 0; i < 2; i++) writer.attr(1, new Uint8Array(40_000))
  t.throws(() => {
    writer.endNest()
  }, RangeError)
  t.end()
})

await t.test('property: what is written is what is read', (t) => {
  const attribute = fc.record({
    type: fc.integer({ min: 1, max: 0x3fff }),
    value: fc.uint8Array({ maxLength: 40 }),
  })
  const message = fc.record({
    type: fc.integer({ min: 16, max: 0xffff }),
    flags: fc.integer({ min: 0, max: 0xffff }),
    attributes: fc.array(attribute, { maxLength: 12 }),
  })
  const writer = new MessageWriter(1)
  t.doesNotThrow(() => {
    fc.assert(
      fc.property(fc.array(message, { maxLength: 8 }), (messages) => {
        for (const { type, flags, attributes } of messages) {
          writer.begin(type, flags)
          for (const { type, value } of attributes) writer.attr(type, value)
          writer.end()
        }
        const bytes = writer.take()
        const read: unknown[] = []
        forEachMessage(bytes, (type, flags, _seq, _pid, start, end) => {
          const attributes: unknown[] = []
          forEachAttribute(bytes, start, end, (type, from, to) => {
            attributes.push({ type, value: [...bytes.subarray(from, to)] })
          })
          read.push({ type, flags, attributes })
        })
        const written = messages.map(({ type, flags, attributes }) => ({
          type,
          flags: flags | flag.request,
          attributes: attributes.map(({ type, value }) => ({ type, value: [...value] })),
        }))
        return JSON.stringify(read) === JSON.stringify(written)
      }),
    )
  })
  t.end()
})

await t.test('property: malformed bytes end the walk inside the buffer', (t) => {
  const small = fc.integer({ min: 0, max: 40 })
  // Mostly small words, so that lengths are often plausible and often wrong.
  const bytes = fc
    .array(fc.oneof(small, fc.integer({ min: 0, max: 0xffff })), { maxLength: 64 })
    .chain((words) => small.map((cut) => new Uint8Array(Uint16Array.from(words).buffer).slice(cut & 3)))
  t.doesNotThrow(() => {
    fc.assert(
      fc.property(bytes, small, (bytes, from) => {
        let steps = 0
        const inside = (start: number, end: number): void => {
          steps++
          if (start > end || end > bytes.length) throw new Error(`${start}-${end} of ${bytes.length}`)
        }
        forEachMessage(bytes, (_type, _flags, _seq, _pid, start, end) => {
          inside(start, end)
          forEachAttribute(bytes, start, end, (_type, from, to) => {
            inside(from, to)
            if (to > end) throw new Error('an attribute longer than its message')
          })
        })
        forEachAttribute(bytes, from, bytes.length + 100, (_type, start, end) => {
          inside(start, end)
        })
        const at = findAttribute(bytes, from, bytes.length + 100, 1)
        if (at >= 0) inside(at, at + valueLength(bytes, at))
        return steps <= bytes.length
      }),
      { numRuns: 2000 },
    )
  })
  t.end()
})

await t.test('100,000 routes are encoded in well under 100 ms', (t) => {
  const writer = new MessageWriter()
  const destination = Uint8Array.of(10, 0, 0, 0)
  let best = Infinity
  for (let run = 0; run < 5; run++) {
    const from = performance.now()
    for (let n = 0; n < 100_000; n++) writeRoute(writer, n, destination)
    best = Math.min(best, performance.now() - from)
    writer.take()
  }
  t.comment(`best of 5: ${best.toFixed(1)} ms`)
  t.ok(best < 100, `${best.toFixed(1)} ms`)
  t.end()
})
