/** Prefixes and addresses: strict parsing, canonical text, containment; against oracles that are not ours. */
import { BlockList, isIPv4, isIPv6 } from 'node:net'
import fc from 'fast-check'
import IPCIDR from 'ip-cidr'
import t from 'tap'
import {
  address,
  addressBytes,
  comparePrefixes,
  contains,
  familyOf,
  formatAddress,
  holds,
  isMalformed,
  lengthOf,
  networkOf,
  overlaps,
  parseAddress,
  parsePrefix,
  prefix,
  prefixOf,
  widen,
} from '../../../agent/model/prefix.ts'
import type { Prefix } from '../../../agent/model/prefix.ts'

void t.test('what is refused, and what was probably meant', (t) => {
  const cases: readonly (readonly [string, RegExp, string?])[] = [
    ['10.1.2.3/16', /host bits/, '10.1.0.0/16'],
    ['10.1.0.0/33', /length must be 0 to 32/],
    ['10.1.0.0/-1', /length/],
    ['10.1.0.0/08', /length/],
    ['10.1.0.0/', /length/],
    ['10.1.0.0/16 ', /length/],
    ['10.1.0.0/1e1', /length/],
    ['10.1.0.0', /no prefix length/, '10.1.0.0/32'],
    ['fd00::1', /no prefix length/, 'fd00::1/128'],
    ['010.1.0.0/16', /leading zero.*octal/],
    ['10.1.0.00/16', /leading zero/],
    ['10.1.256.0/16', /above 255/],
    ['10.1.0/16', /not an IPv4/],
    ['10.1.0.0.0/16', /not an IPv4/],
    ['10..0.0/16', /not an IPv4/],
    ['10.1.0.0x/16', /not an IPv4/],
    [' 10.1.0.0/16', /not an IPv4/],
    ['0x0a.1.0.0/16', /not an IPv4/],
    ['١.1.0.0/16', /not an IPv4/],
    ['/16', /not an IPv4/],
    ['', /no prefix length/],
    ['fd00::/129', /length must be 0 to 128/],
    ['fd00::1/64', /host bits/, 'fd00::/64'],
    ['FD00::/64', /canonical/, 'fd00::/64'],
    ['fd00:0::/64', /canonical/, 'fd00::/64'],
    ['fd00:0:0:0:0:0:0:0/64', /canonical/, 'fd00::/64'],
    ['::ffff:10.0.0.0/104', /canonical/, '::ffff:a00:0/104'],
    ['fd00:::/64', /not an IPv6/],
    ['fd00::1::/64', /not an IPv6/],
    ['fd00::12345/128', /not an IPv6/],
    ['1:2:3:4:5:6:7/64', /not an IPv6/],
    ['1:2:3:4:5:6:7:8:9/64', /not an IPv6/],
    ['1:2:3:4:5:6:7::8/64', /not an IPv6/],
    ['fe80::1%eth0/64', /not an IPv6/],
    ['::10.0.0.256/128', /not an IPv6/],
    ['10.0.0.1::/128', /not an IPv6/],
  ]
  for (const [text, reason, hint] of cases) {
    const parsed = parsePrefix(text)
    if (!isMalformed(parsed)) t.fail(`${text} was taken`)
    else {
      t.match(parsed.malformed, reason, text)
      if (hint !== undefined) t.equal(parsed.hint, hint, text)
    }
  }
  t.throws(() => prefix('10.1.2.3/16'), /host bits/)
  t.throws(() => address('10.1.2'), TypeError)
  t.end()
})

void t.test('what is taken', (t) => {
  for (const text of [
    '0.0.0.0/0',
    '10.0.0.0/8',
    '10.1.2.3/32',
    '255.255.255.255/32',
    '::/0',
    '::1/128',
    'fd00:1::/48',
    '2001:db8:0:1::/64',
    '2001:db8:0:1:1:1:1:1/128',
    '2001:0:0:1::/64',
  ]) {
    t.equal(parsePrefix(text), text)
  }
  t.end()
})

const octet = fc.integer({ min: 0, max: 255 })
// Zeros are common, so that runs of them are.
const byte = fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, { weight: 3, arbitrary: octet })
const bytes4 = fc.uint8Array({ minLength: 4, maxLength: 4 })
const bytes16 = fc.array(byte, { minLength: 16, maxLength: 16 }).map((list) => Uint8Array.from(list))
const bytes = fc.oneof(bytes4, bytes16)
const somePrefix: fc.Arbitrary<Prefix> = fc
  .tuple(bytes, fc.nat(128))
  .map(([value, n]) => prefixOf(formatAddress(value), n % (value.length * 8 + 1)))
const seed = Number(process.env['LINKSPAN_SEED'] ?? 1763700000)
const runs = { seed, numRuns: Number(process.env['LINKSPAN_RUNS'] ?? 1000) }

void t.test('text of IPv6 addresses is what a URL makes of it (RFC 5952)', (t) => {
  const property = fc.property(bytes16, (value) => {
    const long = Array.from({ length: 8 }, (_, i) => {
      return (((value[2 * i] ?? 0) << 8) | (value[2 * i + 1] ?? 0)).toString(16).padStart(4, '0')
    }).join(':')
    const canonical = new URL(`http://[${long.toUpperCase()}]/`).hostname.slice(1, -1)
    return parseAddress(long) === canonical && formatAddress(value) === canonical
  })
  t.doesNotThrow(() => {
    fc.assert(property, runs)
  })
  t.end()
})

void t.test('bytes and text come back', (t) => {
  const property = fc.property(bytes, (value) => {
    const text = formatAddress(value)
    const valid = value.length === 4 ? isIPv4(text) : isIPv6(text)
    return valid && Buffer.from(addressBytes(text)).equals(value) && parseAddress(text) === text
  })
  t.doesNotThrow(() => {
    fc.assert(property, runs)
  })
  t.end()
})

void t.test('an address is taken exactly where Node takes it, octal and zones excepted', (t) => {
  const part = fc.oneof(
    fc.constantFrom('::', ':', '.', '0', '00', '1', '255', '256', 'ffff', 'g', ' ', 'FFFF', '10.0.0.1'),
    octet.map(String),
  )
  const mutated = fc.tuple(bytes, fc.nat(), part).map(([value, at, piece]) => {
    const text = formatAddress(value)
    const i = at % (text.length + 1)
    return text.slice(0, i) + piece + text.slice(i + (at % 3))
  })
  const texts = fc.oneof(
    fc.array(part, { maxLength: 9 }).map((parts) => parts.join('')),
    mutated,
  )
  const property = fc.property(texts, (text) => {
    const taken = !isMalformed(parseAddress(text))
    return taken === (isIPv4(text) || isIPv6(text))
  })
  t.doesNotThrow(() => {
    fc.assert(property, { ...runs, numRuns: 3 * runs.numRuns })
  })
  t.end()
})

void t.test('network and length are what ip-cidr makes of any address in the prefix', (t) => {
  const property = fc.property(bytes, fc.nat(128), (value, n) => {
    const length = n % (value.length * 8 + 1)
    const text = formatAddress(value)
    const found = prefixOf(text, length)
    const oracle = new IPCIDR(`${text}/${length}`)
    const start = address(new URL(`http://${hostOf(oracle.start())}/`).hostname.replace(/[[\]]/g, ''))
    return networkOf(found) === start && lengthOf(found) === length && parsePrefix(found) === found
  })
  t.doesNotThrow(() => {
    fc.assert(property, runs)
  })
  t.end()
})

function hostOf(text: string): string {
  return text.includes(':') ? `[${text}]` : text
}

void t.test("containment is BlockList's", (t) => {
  // Near each other, so that both answers are common.
  const near = fc.tuple(somePrefix, fc.nat(127), fc.nat(128)).map(([outer, flip, n]) => {
    const value = Uint8Array.from(addressBytes(networkOf(outer)))
    const bit = flip % (value.length * 8)
    value[bit >> 3] = (value[bit >> 3] ?? 0) ^ (0x80 >> (bit & 7))
    return [outer, prefixOf(formatAddress(value), n % (value.length * 8 + 1))] as const
  })
  const pairs = fc.oneof(near, fc.tuple(somePrefix, somePrefix))
  const property = fc.property(pairs, ([outer, inner]) => {
    const list = new BlockList()
    const type = familyOf(outer) === 4 ? 'ipv4' : 'ipv6'
    list.addSubnet(networkOf(outer), lengthOf(outer), type)
    const sameFamily = familyOf(outer) === familyOf(inner)
    const inside = sameFamily && list.check(networkOf(inner), type)
    return (
      contains(outer, inner) === (inside && lengthOf(inner) >= lengthOf(outer)) &&
      holds(outer, networkOf(inner)) === inside &&
      overlaps(outer, inner) === (contains(outer, inner) || contains(inner, outer))
    )
  })
  t.doesNotThrow(() => {
    fc.assert(property, runs)
  })
  t.end()
})

void t.test('wider prefixes contain, and order is total', (t) => {
  const property = fc.property(somePrefix, somePrefix, fc.nat(128), (a, b, n) => {
    const wide = widen(a, n % (lengthOf(a) + 1))
    const order = comparePrefixes(a, b)
    return (
      contains(wide, a) &&
      comparePrefixes(wide, a) <= 0 &&
      Math.sign(order) === -Math.sign(comparePrefixes(b, a)) &&
      (order === 0) === (a === b)
    )
  })
  t.doesNotThrow(() => {
    fc.assert(property, runs)
  })
  t.strictSame(
    ['fd00::/8', '10.0.0.0/9', '10.0.0.0/8', '9.0.0.0/8', '::/0'].map(prefix).sort(comparePrefixes),
    ['9.0.0.0/8', '10.0.0.0/8', '10.0.0.0/9', '::/0', 'fd00::/8'],
  )
  t.end()
})
