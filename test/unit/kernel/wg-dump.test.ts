import t from 'tap'
import { readDump } from '../../../agent/kernel/wg-dump.ts'
import type { KernelObject } from '../../../agent/model/kernel-object.ts'

const secret = 'GJD7Rm8YgJkVwDTwGZpvpGuNJ2ZBhZrs0bCvKqnFvk4='
const own = 'HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw='
const far = 'xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg='
const other = 'TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0='

const dump = [
  [secret, own, '51820', '0x4c5300'].join('\t'),
  [
    far,
    '(none)',
    '192.0.2.1:51820',
    '10.2.0.0/16,fe80::2/128,::ffff:1.2.3.0/120',
    '1763700000',
    '10',
    '20',
    '25',
  ].join('\t'),
  [other, '(none)', '(none)', '(none)', '0', '0', '0', 'off'].join('\t'),
  '',
].join('\n')

/** The text in pieces of `size` characters. */
async function* pieces(text: string, size: number): AsyncGenerator<string, void> {
  for (let at = 0; at < text.length; at += size) yield await Promise.resolve(text.slice(at, at + size))
}

async function read(text: string, size = 65536): Promise<KernelObject[][]> {
  const parts: KernelObject[][] = []
  for await (const part of readDump('ls-wg0', pieces(text, size))) parts.push(part)
  return parts
}

await t.test('device, peers, AllowedIPs, however the pieces are cut', async (t) => {
  const expected = [
    { kind: 'device', name: 'ls-wg0', publicKey: own, listenPort: 51820, fwmark: 0x4c5300 },
    {
      kind: 'peer',
      device: 'ls-wg0',
      publicKey: far,
      endpoint: '192.0.2.1:51820',
      keepalive: 25,
      latestHandshake: 1763700000,
      received: 10,
      sent: 20,
    },
    { kind: 'allowed-ip', device: 'ls-wg0', prefix: '10.2.0.0/16', publicKey: far },
    { kind: 'allowed-ip', device: 'ls-wg0', prefix: 'fe80::2/128', publicKey: far },
    { kind: 'allowed-ip', device: 'ls-wg0', prefix: '::ffff:102:300/120', publicKey: far },
    {
      kind: 'peer',
      device: 'ls-wg0',
      publicKey: other,
      keepalive: 0,
      latestHandshake: 0,
      received: 0,
      sent: 0,
    },
  ]
  for (const size of [1, 7, 100, 65536]) {
    const found = (await read(dump, size)).flat()
    t.same(found, expected, `pieces of ${size}`)
    t.notMatch(JSON.stringify(found), secret)
  }
})

await t.test('a device without a key is none, and nothing is nothing', async (t) => {
  t.same(await read('(none)\t(none)\t0\toff\n'), [])
  t.same(await read(''), [])
})

await t.test('a line of 100,000 prefixes comes in portions, with turns of the loop between', async (t) => {
  const prefixes = Array.from({ length: 100_000 }, (_, i) => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}/32`)
  const line = [far, '(none)', '(none)', prefixes.join(','), '0', '0', '0', 'off'].join('\t')
  let turns = 0
  const timer = setInterval(() => turns++, 0)
  const parts = await read(`${secret}\t${own}\t1\toff\n${line}\n`)
  clearInterval(timer)
  t.equal(parts.flat().length, 100_002)
  t.ok(Math.max(...parts.map((part) => part.length)) <= 2000)
  t.ok(turns > 5, `${turns} turns`)
})
