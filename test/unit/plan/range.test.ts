import fc from 'fast-check'
import t from 'tap'
import { contains, formatPrefix, maskBytes, prefix } from '../../../agent/model/prefix.ts'
import type { Prefix } from '../../../agent/model/prefix.ts'
import { Ranges } from '../../../agent/plan/range.ts'

void t.test('the first range that equals or holds the prefix', (t) => {
  const ranges = new Ranges()
  ranges.add(prefix('10.0.0.0/9'), 'nine')
  ranges.add(prefix('10.0.0.0/8'), 'eight')
  ranges.add(prefix('192.0.2.7/32'), 'host')
  ranges.add(prefix('fd00::/33'), 'six')
  const reason = (text: string): string | undefined => ranges.holding(prefix(text))
  t.equal(reason('10.1.0.0/16'), 'nine')
  t.equal(reason('10.128.0.0/16'), 'eight')
  t.equal(reason('10.0.0.0/8'), 'eight')
  t.equal(reason('10.0.0.0/7'), undefined)
  t.equal(reason('192.0.2.7/32'), 'host')
  t.equal(reason('192.0.2.6/32'), undefined)
  t.equal(reason('fd00:0:1::/48'), 'six')
  t.equal(reason('fd00:0:8000::/48'), undefined)
  t.end()
})

void t.test('as contains() says', (t) => {
  const any: fc.Arbitrary<Prefix> = fc
    .tuple(fc.constantFrom(4, 16), fc.integer({ min: 0, max: 128 }), fc.constantFrom(0, 0, 1, 128, 255))
    .map(([size, bits, byte]) => {
      const length = Math.min(bits, size * 8)
      return formatPrefix(maskBytes(new Uint8Array(size).fill(byte), length), length)
    })
  fc.assert(
    fc.property(any, any, (outer, inner) => {
      const ranges = new Ranges()
      ranges.add(outer, 'held')
      return (ranges.holding(inner) !== undefined) === contains(outer, inner)
    }),
    { numRuns: 2000 },
  )
  t.pass('the same')
  t.end()
})
