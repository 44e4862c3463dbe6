import fc from 'fast-check'
import t from 'tap'
import { range, remove, txn, watch } from '../../../agent/registry/etcd-message.ts'
import {
  bytes,
  decode,
  encode,
  flag,
  id,
  int,
  list,
  message,
  text,
} from '../../../agent/registry/etcd-wire.ts'

const inner = { number: int(1), name: text(2) }
const shape = {
  key: bytes(1),
  name: text(2),
  count: int(3),
  cluster: id(4),
  yes: flag(5),
  one: message(6, inner),
  many: list(7, inner),
  far: int(1000),
}

function hex(given: Uint8Array): string {
  return Buffer.from(given).toString('hex')
}

void t.test('messages as etcd has them on the wire', (t) => {
  // From https://protobuf.dev/programming-guides/encoding/ and rpc.proto: tag = number * 8 + wire type.
  t.equal(hex(encode(inner, { number: 150 })), '089601')
  t.equal(hex(encode(inner, { name: 'testing' })), '120774657374696e67')
  t.equal(
    hex(
      encode(range.request, {
        key: Buffer.from('a'),
        rangeEnd: Buffer.from('b'),
        limit: 500,
        keysOnly: true,
      }),
    ),
    '0a0161' + '120162' + '18f403' + '4001',
  )
  const key = Buffer.from('k')
  t.equal(
    hex(
      encode(txn.request, {
        compare: [{ target: 2, key, modRevision: 5 }],
        success: [{ put: { key, value: Buffer.from('v') } }],
      }),
    ),
    ['0a07' + '1002' + '1a016b' + '3005', '1208' + '1206' + '0a016b' + '120176'].join(''),
  )
  t.equal(hex(encode(remove.request, { key: Buffer.from('k') })), '0a016b')
  t.equal(hex(encode(watch.request, { progress: {} })), '1a00')
  t.equal(
    hex(encode(watch.request, { create: { key: Buffer.from('k'), startRevision: 7, fragment: true } })),
    '0a07' + '0a016b' + '1807' + '4001',
  )
  // What etcd 3.4.23 answered to a read of nothing: ids of 64 bits, revision 1, term 2.
  const answer = decode(
    range.response,
    Buffer.from('0a180887d5edba8fd59dc10410c0c0caafc1ba96892e18012002', 'hex'),
  )
  t.same(answer, {
    header: { clusterId: 0x48276a8f75b6a87n, memberId: 0x2e1259d415f2a040n, revision: 1, raftTerm: 2 },
    kvs: [],
    more: false,
  })
  t.end()
})

void t.test('what is encoded is decoded', (t) => {
  const part = fc.record({ number: fc.maxSafeNat(), name: fc.string({ unit: 'grapheme' }) })
  fc.assert(
    fc.property(
      fc.record({
        key: fc.uint8Array(),
        name: fc.string({ unit: 'grapheme' }),
        count: fc.maxSafeInteger(),
        cluster: fc.bigInt(0n, 2n ** 64n - 1n),
        yes: fc.boolean(),
        one: fc.option(part, { nil: undefined }),
        many: fc.array(part),
        far: fc.maxSafeNat(),
      }),
      (value) => {
        const { one, ...rest } = value
        const decoded = decode(shape, encode(shape, one === undefined ? rest : { ...rest, one }))
        t.same({ ...decoded, key: [...decoded.key] }, { ...value, key: [...value.key] })
      },
    ),
    { numRuns: 200 },
  )
  t.end()
})

void t.test('absent fields, unknown fields, and the last of several', (t) => {
  t.same(decode(inner, Buffer.alloc(0)), { number: 0, name: '' })
  const unknown = ['f80101', 'f901' + '00'.repeat(8), 'fa0102abcd', 'fd01' + '00'.repeat(4)].join('')
  t.same(decode(inner, Buffer.from(`${unknown}0805`, 'hex')), { number: 5, name: '' })
  t.same(decode(inner, Buffer.from('08050806', 'hex')), { number: 6, name: '' })
  t.same(decode(inner, Buffer.from(`08${'ff'.repeat(9)}01`, 'hex')), { number: -1, name: '' })
  const value = decode(shape, Buffer.from('0a03616263', 'hex'))
  t.equal(hex(value.key), '616263')
  t.end()
})

void t.test('what is no message', (t) => {
  const bad: readonly (readonly [string, string, RegExp])[] = [
    ['a varint that ends', '0896', /cut off/],
    ['a varint that does not end', `08${'ff'.repeat(10)}01`, /longer than 10 bytes/],
    ['a number beyond 2^53', '08ffffffffffffff7f', /out of range/],
    ['text that is cut off', '12077465', /cut off/],
    ['a length below zero', `12${'ff'.repeat(9)}01`, /cut off/],
    ['a length beyond 2^53', '12ffffffffffffff7f', /out of range/],
    ['a group', '0b', /wire type 3, expected 0/],
    ['an unknown group', 'fb01', /wire type 3 is unknown/],
    ['bytes where a number belongs', '0a0161', /wire type 2, expected 0/],
    ['a fixed64 that is cut off', 'f90100', /cut off/],
  ]
  for (const [name, given, expected] of bad)
    t.throws(() => decode(inner, Buffer.from(given, 'hex')), expected, name)
  const many = Buffer.alloc(2 * ((1 << 18) + 1), Buffer.from('3a00', 'hex'))
  t.throws(() => decode(shape, many), /too many elements/)
  t.equal(decode(shape, many.subarray(2)).many.length, 1 << 18)
  t.end()
})

void t.test('any bytes are a message or an error, at once', (t) => {
  const whole = encode(watch.response, {
    header: { clusterId: 5n, revision: 9 },
    events: [{ kv: { key: Buffer.from('k'), value: Buffer.from('v'), modRevision: 9 } }],
  })
  const survive = (given: Uint8Array): void => {
    try {
      decode(watch.response, given)
    } catch (error) {
      t.ok(
        error instanceof Error && !(error instanceof TypeError || error instanceof RangeError),
        String(error),
      )
    }
  }
  for (let length = 0; length < whole.length; length++) survive(whole.subarray(0, length))
  for (let bit = 0; bit < whole.length * 8; bit++) {
    const flipped = Buffer.from(whole)
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    survive(flipped)
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), survive), { numRuns: 2000 })
  t.end()
})
