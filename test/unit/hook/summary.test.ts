import fc from 'fast-check'
import t from 'tap'
import { merged, wantedRoutes } from '../../../agent/hook/summary.ts'
import { parseXml } from '../../../agent/hook/xml.ts'
import {
  addressBytes,
  formatPrefix,
  lengthOf,
  maskBytes,
  networkOf,
  prefix,
} from '../../../agent/model/prefix.ts'
import type { Prefix } from '../../../agent/model/prefix.ts'

void t.test('what says the same in fewer prefixes', (t) => {
  const of = (...texts: readonly string[]): readonly string[] => merged(texts.map(prefix))
  t.same(of(), [])
  t.same(of('10.1.0.0/16', '10.0.0.0/16'), ['10.0.0.0/15'])
  t.same(of('10.1.0.0/16', '10.2.0.0/16'), ['10.1.0.0/16', '10.2.0.0/16'], 'no halves of one')
  t.same(of('10.0.0.0/17', '10.0.128.0/17', '10.1.0.0/16', '10.2.0.0/15'), ['10.0.0.0/14'])
  t.same(of('10.0.0.0/8', '10.2.0.0/16', 'fd00::/8', 'fd00:1::/48'), ['10.0.0.0/8', 'fd00::/8'])
  t.same(of('fd00::/9', 'fd80::/9'), ['fd00::/8'])
  t.end()
})

void t.test('it holds the same addresses, and no two of it are one', (t) => {
  // Of 16 blocks, so that neighbours meet; each block is a /16 of 10.0.0.0/12.
  const one = fc
    .tuple(fc.nat({ max: 15 }), fc.integer({ min: 12, max: 16 }))
    .map(([block, length]): Prefix => {
      const bytes = new Uint8Array([10, block, 0, 0])
      return formatPrefix(maskBytes(bytes, length), length)
    })
  const blocksOf = (prefixes: readonly Prefix[]): readonly number[] => {
    const held = prefixes.flatMap((each) => {
      const first = addressBytes(networkOf(each))[1] ?? 0
      return Array.from({ length: 2 ** (16 - lengthOf(each)) }, (_, i) => first + i)
    })
    return [...new Set(held)].sort((a, b) => a - b)
  }
  fc.assert(
    fc.property(fc.array(one), (prefixes) => {
      const found = merged(prefixes)
      t.same(blocksOf(found), blocksOf(prefixes))
      t.same(merged(found.toReversed()), found)
      t.ok(found.length <= new Set(prefixes).size)
    }),
    { numRuns: 100 },
  )
  t.end()
})

void t.test('what a table is to have', (t) => {
  const said: string[] = []
  const wanted = (prefixes: readonly string[], routes?: readonly string[], limit = 2): readonly string[] =>
    wantedRoutes(prefixes.map(prefix), { routes: routes?.map(prefix), limit }, (line) => said.push(line))
  t.same(wanted(['10.3.0.0/16', '10.2.0.0/16']), ['10.2.0.0/15'])
  t.throws(() => wanted(['10.1.0.0/16', '10.3.0.0/16', '10.5.0.0/16']), {
    message: /3 routes are more than a table's limit of 2 .*`routes:`/,
  })
  t.same(wanted(['10.1.0.0/16', '10.3.0.0/16'], ['10.0.0.0/8']), ['10.0.0.0/8'])
  t.same(said, [])
  t.same(wanted(['10.1.0.0/16', '172.16.0.0/16'], ['10.0.0.0/8']), ['10.0.0.0/8'])
  t.match(said, [/no route holds 1 remote prefixes, 172.16.0.0\/16 for one/])
  t.end()
})

void t.test('XML of EC2, and what is none', (t) => {
  const text =
    '<?xml version="1.0" encoding="UTF-8"?>\n<A xmlns="http://x/">\n <b/><set><item><c>1 &lt; 2 &#38; &#x33;</c></item><item/></set>\n</A>'
  const found = parseXml(text)
  t.equal(found?.name, 'A')
  t.equal(found?.value('b'), '')
  t.equal(found?.value('d', 'e'), undefined)
  t.same(
    found?.items('set').map((item) => item.value('c')),
    ['1 < 2 & 3', undefined],
  )
  const wrong = [
    '',
    'text',
    '<a>',
    '</a>',
    '<a></b>',
    '<a/><b/>',
    '<a>&nbsp;</a>',
    '<a>& </a>',
    '<a><![CDATA[x]]></a>',
    '<!DOCTYPE a><a/>',
    '<a/>tail',
    '<a'.repeat(10),
    '<a>'.repeat(100) + '</a>'.repeat(100),
  ]
  for (const each of wrong) t.equal(parseXml(each), undefined, each.slice(0, 20))
  t.end()
})
