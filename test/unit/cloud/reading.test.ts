import t from 'tap'
import { fieldOf, jsonOf, Reading } from '../../../agent/cloud/reading.ts'

void t.test('prefixes: canonical ones and other spellings of them', (t) => {
  const reading = new Reading()
  t.same(
    reading.prefixes(['10.1.0.0/16', '2600:1F18:0b80:0:0:0:0:0/56', '10.1.0.0/16', 'fd00:1::/48'], 'blocks'),
    ['10.1.0.0/16', '2600:1f18:b80::/56', 'fd00:1::/48'],
  )
  t.same(reading.unusable, [])
  t.end()
})

void t.test('prefixes that cannot be are left out and told', (t) => {
  const table: readonly (readonly [unknown, RegExp])[] = [
    ['10.1.2.3/16', /has host bits set/],
    ['2600:1f18:b80:ad00::1/56', /has host bits set/],
    ['0.0.0.0/0', /is everything/],
    ['0.0.0.0/1', /is everything/],
    ['128.0.0.0/1', /is everything/],
    ['::/0', /is everything/],
    ['2000::/3', /is everything/],
    ['127.0.0.0/8', /loopback/],
    ['169.254.0.0/16', /link-local/],
    ['169.254.169.254/32', /link-local/],
    ['168.63.129.16/32', /Azure/],
    ['224.0.0.0/4', /multicast/],
    ['fe80::/64', /link-local/],
    ['fd00:ec2::254/128', /metadata service/],
    ['10.0.0.0/33', /is no prefix/],
    ['10.0.0.0/-1', /is no prefix/],
    ['10.0.0.0/8x', /is no prefix/],
    ['10.0.0.0', /is no prefix/],
    ['010.0.0.0/8', /is no prefix/],
    ['10.1/16', /is no prefix/],
    ['fe80::1%eth0/64', /is no prefix/],
    ['<html>', /is no prefix/],
    [17, /is no prefix/],
    [{}, /is no prefix/],
    [['10.0.0.0/8'], /is no prefix/],
  ]
  for (const [value, sentence] of table) {
    const reading = new Reading()
    t.same(reading.prefixes([value], 'blocks'), [], JSON.stringify(value))
    t.equal(reading.unusable.length, 1)
    t.match(reading.unusable[0], sentence)
  }
  t.end()
})

void t.test('addresses: what no host can have, and what no public one can be', (t) => {
  const reading = new Reading()
  t.equal(reading.address('[2603:1020:206:4::17]', 'at'), '2603:1020:206:4::17')
  t.equal(reading.publicAddress('54.1.2.3', 'at'), '54.1.2.3')
  t.same(reading.unusable, [])
  const never = ['0.0.0.0', '127.0.0.1', '169.254.169.254', '224.0.0.1', '::', '::1', 'fe80::1', 'ff02::1']
  for (const at of [...never, 'gateway.example', '54.1.2.3:80', '54.1.2', 54]) {
    t.equal(reading.address(at, 'at'), undefined, String(at))
  }
  t.equal(reading.unusable.length, never.length + 4)
  const inner = new Reading()
  for (const at of ['10.0.0.1', '172.31.0.1', '192.168.0.1', '100.64.0.1', 'fd00::1']) {
    t.equal(inner.publicAddress(at, 'at'), undefined, at)
    t.equal(inner.address(at, 'at'), at)
  }
  t.equal(inner.unusable.length, 5)
  t.end()
})

void t.test('absent is no complaint; garbage is cut short', (t) => {
  const reading = new Reading()
  for (const absent of [undefined, null, '']) {
    t.equal(reading.address(absent, 'at'), undefined)
    t.equal(reading.words(absent, 'region'), '')
    t.equal(reading.mac(absent, 'mac'), '')
    t.equal(reading.mtu(absent, 'mtu'), undefined)
    t.same(reading.list(absent, 'list'), [])
    t.equal(reading.prefix(absent, absent, 'subnet'), undefined)
  }
  t.same(reading.unusable, [])
  const many = Array.from({ length: 100_000 }, (_, i) => `x${i}`)
  t.same(reading.prefixes(reading.list(many, 'blocks'), 'blocks'), [])
  t.equal(reading.unusable.length, 16)
  t.match(reading.unusable[0], /100000 entries, of which 256 are read/)
  t.ok(new Reading().list(many, 'blocks').length === 256)
  t.end()
})

void t.test('words, MAC addresses and MTUs of the wrong form', (t) => {
  const reading = new Reading()
  t.equal(reading.words('us-east-1', 'region'), 'us-east-1')
  t.equal(reading.mac('0022480F1B2C', 'mac'), '00:22:48:0f:1b:2c')
  t.equal(reading.mtu(8896, 'mtu'), 8896)
  const wrong = ['<html>', 'a b', 'x'.repeat(64), '\u202eregion', 7, true, {}, []]
  for (const value of wrong) t.equal(reading.words(value, 'region'), '', JSON.stringify(value))
  for (const value of ['00:22', 'xx:22:48:0f:1b:2c', 1]) t.equal(reading.mac(value, 'mac'), '')
  for (const value of ['1500', 1279, 65_536, 1500.5, NaN]) t.equal(reading.mtu(value, 'mtu'), undefined)
  t.equal(reading.unusable.length, 16)
  t.notMatch(reading.unusable.join('\n'), /\u202e/, 'nothing that reorders a terminal line')
  t.end()
})

void t.test('JSON that is none, and fields that are not own', (t) => {
  t.equal(jsonOf('<html>'), undefined)
  t.equal(jsonOf(''), undefined)
  t.equal(fieldOf(jsonOf('{"a":{"b":7}}'), 'a', 'b'), 7)
  for (const value of [undefined, null, 7, 'a', []]) t.equal(fieldOf(value, 'a', 'b'), undefined)
  t.equal(fieldOf({}, 'constructor'), undefined)
  t.equal(fieldOf(jsonOf('{"__proto__":{"a":1}}'), 'a'), undefined)
  t.doesNotThrow(() => jsonOf('['.repeat(250_000)))
  t.end()
})
