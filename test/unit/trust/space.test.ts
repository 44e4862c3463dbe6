import fc from 'fast-check'
import t from 'tap'
import { comparePrefixes, formatPrefix, maskBytes, overlaps, prefix } from '../../../agent/model/prefix.ts'
import { reservedRange, sharesSpace, sortedPrefixes } from '../../../agent/trust/space.ts'

const four = fc
  .tuple(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.integer({ min: 0, max: 32 }))
  .map(([bytes, length]) => formatPrefix(maskBytes(bytes, length), length))
const six = fc
  .tuple(fc.uint8Array({ minLength: 16, maxLength: 16, max: 3 }), fc.integer({ min: 0, max: 128 }))
  .map(([bytes, length]) => formatPrefix(maskBytes(bytes, length), length))
const any = fc.oneof(four, six)

void t.test('sorts as comparePrefixes does', (t) => {
  fc.assert(
    fc.property(fc.array(any), (prefixes) => {
      const sorted = sortedPrefixes(prefixes)
      return JSON.stringify(sorted) === JSON.stringify([...prefixes].sort(comparePrefixes))
    }),
  )
  const inOrder = [prefix('10.1.0.0/16'), prefix('10.1.0.0/24'), prefix('fd00::/48')]
  t.equal(sortedPrefixes(inOrder), inOrder, 'the same list where it is in order')
  t.end()
})

void t.test('the quick comparison is that of overlaps', (t) => {
  fc.assert(fc.property(any, any, (a, b) => sharesSpace(a, b) === overlaps(a, b)))
  t.pass('the same')
  t.end()
})

void t.test('the quick way past reserved ranges is right', (t) => {
  const ranges = ['0.0.0.0/8', '127.0.0.0/8', '168.63.129.16/32', '169.254.0.0/16', '224.0.0.0/3'].map(prefix)
  const ranges6 = [
    '::/96',
    '::ffff:0:0/96',
    'fd00:ec2::254/128',
    'fd20:ce::254/128',
    'fe80::/10',
    'ff00::/8',
  ].map(prefix)
  const byFirst = fc
    .tuple(fc.constantFrom(0, 10, 100, 126, 127, 128, 168, 169, 170, 192, 223, 224, 255), four)
    .map(([first, of]) => of.replace(/^\d+/, String(first)))
    .filter((text) => !/[/][0-7]$/.test(text))
    .map(prefix)
  fc.assert(
    fc.property(fc.oneof(any, byFirst), (of) => {
      const wanted = [...ranges, ...ranges6].some((range) => overlaps(range, of))
      return (reservedRange(of) !== undefined) === wanted
    }),
    { numRuns: 500 },
  )
  t.pass('the same')
  t.end()
})
