/** Bad documents: each is refused with its place, what was expected, the source line with a caret, and a hint. */
import t from 'tap'
import { formatDocument } from '../../../agent/model/document.ts'
import type { Document } from '../../../agent/model/document.ts'
import { isRefusal, parseDocument } from '../../../agent/trust/parse.ts'
import { formatRefusal } from '../../../agent/trust/refusal.ts'
import type { Refusal } from '../../../agent/trust/refusal.ts'
import {
  certificateDocument,
  deliveredText,
  fabricDocument,
  recordDocument,
  requestDocument,
  tunnelKeyOf,
} from '../../support/documents.ts'

function refusalOf(text: string | Uint8Array): Refusal {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text
  const parsed = parseDocument({ origin: 'records/x.json', bytes })
  if (isRefusal(parsed)) return parsed
  throw new Error(`accepted: ${String(text).slice(0, 200)}`)
}

/** A document's text with one piece replaced. */
function edited(document: Document, from: string | RegExp, to: string): string {
  const text = formatDocument(document)
  const changed = text.replace(from, to)
  if (changed === text) throw new Error(`nothing to replace: ${String(from)} in ${text}`)
  return changed
}

void t.test('documents of every type come back as they were written', (t) => {
  for (const document of [fabricDocument(), certificateDocument(1), recordDocument(1), requestDocument(1)]) {
    t.strictSame(parseDocument(deliveredText(formatDocument(document))), document)
    const compact = JSON.stringify({ payload: document.payload, typ: `linkspan-${document.type}` })
    t.strictSame(parseDocument(deliveredText(compact)), document, 'in any order and spacing')
  }
  t.end()
})

void t.test('a refusal as it is shown', (t) => {
  const refusal = refusalOf(edited(certificateDocument(1), '"plane": 0', '"plan": 0'))
  t.equal(
    formatRefusal(refusal),
    [
      'records/x.json:9:5: payload.plan: unknown field "plan"',
      '  9 |     "plan": 0,',
      '    |     ^',
      '  hint: did you mean "plane"?',
    ].join('\n'),
  )
  t.end()
})

interface Case {
  readonly name: string
  readonly text: string
  /** line:column; absent where the place is a matter of taste. */
  readonly at?: string
  readonly reason: RegExp
  readonly hint?: RegExp
}

const record = recordDocument(1)
const certificate = certificateDocument(1)
const fabric = fabricDocument()
const open = '{"typ":"linkspan-record","payload":'

const cases: readonly Case[] = [
  // The text.
  { name: 'empty', text: '', at: '1:1', reason: /is empty/ },
  { name: 'white space', text: ' \n ', at: '2:2', reason: /is empty/ },
  {
    name: 'cut off',
    text: formatDocument(record).slice(0, 60),
    reason: /no closing quote|end of the file|expected/,
  },
  { name: 'trailing garbage', text: `${formatDocument(record)}x`, reason: /unexpected "x" after the end/ },
  { name: 'two documents', text: '{}{}', at: '1:3', reason: /after the end/, hint: /one document/ },
  { name: 'byte order mark', text: '\ufeff{}', at: '1:1', reason: /found U\+feff/ },
  { name: 'single quotes', text: "{'typ':1}", at: '1:2', reason: /field name in double quotes/ },
  {
    name: 'trailing comma',
    text: '{"typ":1,}',
    at: '1:10',
    reason: /field name/,
    hint: /no comma after the last/,
  },
  { name: 'trailing comma in a list', text: '[1,]', at: '1:4', reason: /expected a value/, hint: /no comma/ },
  { name: 'comment', text: '{ // x\n}', at: '1:3', reason: /field name/ },
  { name: 'missing comma', text: '{"a":1 "b":2}', at: '1:8', reason: /expected "," or "}"/ },
  { name: 'missing colon', text: '{"a" 1}', at: '1:6', reason: /expected ":"/ },
  { name: 'raw newline in a string', text: '{"a\n":1}', at: '1:4', reason: /control character/, hint: /\\n/ },
  { name: 'unknown escape', text: '{"\\x":1}', at: '1:3', reason: /not an escape/ },
  { name: 'half a surrogate pair', text: '["\\ud800"]', at: '1:2', reason: /surrogate/ },
  { name: 'NaN', text: '[NaN]', at: '1:2', reason: /expected a value, found "N"/ },
  { name: 'octal number', text: '[012]', at: '1:2', reason: /leading zero/, hint: /octal/ },
  { name: 'fraction', text: '[1.5]', at: '1:2', reason: /integer/ },
  { name: 'exponent', text: '[1e3]', at: '1:2', reason: /integer/ },
  { name: 'integer beyond 2^53', text: '[9007199254740993]', at: '1:2', reason: /would be rounded/ },
  { name: 'too deep', text: '['.repeat(5000), at: '1:17', reason: /nested deeper than 16/ },
  // Fields.
  {
    name: 'duplicate key',
    text: '{"typ":1,"typ":2}',
    at: '1:10',
    reason: /"typ" is given twice/,
    hint: /keep one/,
  },
  {
    name: 'escaped duplicate key',
    text: '{"typ":1,"\\u0074yp":2}',
    at: '1:10',
    reason: /"typ" is given twice/,
  },
  {
    name: 'duplicate key deep inside',
    text: edited(certificate, '"provider":""', '"provider":"","name":"s2"'),
    reason: /"name" is given twice/,
  },
  { name: '__proto__', text: '{"__proto__":{}}', at: '1:2', reason: /"__proto__" is not allowed/ },
  { name: 'constructor', text: '{"constructor":{}}', at: '1:2', reason: /unknown field "constructor"/ },
  { name: 'no object', text: '[]', at: '1:1', reason: /expected an object, found \[\]/ },
  { name: 'no payload', text: '{"typ":"linkspan-record"}', at: '1:1', reason: /"payload" is missing/ },
  {
    name: 'unknown type',
    text: '{"typ":"linkspan-recrod","payload":{}}',
    at: '1:8',
    reason: /expected a document type, found "linkspan-recrod"/,
    hint: /did you mean "linkspan-record"/,
  },
  {
    name: 'payload of another kind',
    text: `${open}7}`,
    at: '1:36',
    reason: /payload: expected an object, found 7/,
  },
  {
    name: 'unknown field',
    text: edited(record, '"weight"', '"wieght"'),
    at: '12:5',
    reason: /unknown field "wieght"/,
    hint: /did you mean "weight"/,
  },
  {
    name: 'missing field',
    text: edited(record, /.*"weight".*\n/, ''),
    at: '3:14',
    reason: /"weight" is missing/,
  },
  {
    name: 'text for a number',
    text: edited(record, '"weight": 1', '"weight": "1"'),
    reason: /integer, 1 to 256, found "1"/,
  },
  { name: 'null', text: edited(record, '"weight": 1', '"weight": null'), reason: /found null/ },
  {
    name: 'state',
    text: edited(record, '"active"', '"activ"'),
    reason: /"active" or "draining"/,
    hint: /"active"/,
  },
  // Prefixes.
  {
    name: 'host bits',
    text: edited(record, '10.1.0.0/16', '10.1.2.3/16'),
    at: '10:18',
    reason: /payload\.prefixes\[0\]: "10\.1\.2\.3\/16" has host bits set/,
    hint: /did you mean "10\.1\.0\.0\/16"/,
  },
  {
    name: 'octal',
    text: edited(record, '10.1.0.0', '010.1.0.0'),
    reason: /leading zero.*octal/,
    hint: /"10\.1\.0\.0\/16"/,
  },
  {
    name: '/33',
    text: edited(record, '10.1.0.0/16', '10.1.0.0/33'),
    at: '10:18',
    reason: /length must be 0 to 32/,
  },
  { name: '/129', text: edited(record, '10.1.0.0/16', 'fd00::/129'), reason: /length must be 0 to 128/ },
  {
    name: 'no length',
    text: edited(record, '10.1.0.0/16', '10.1.0.0'),
    reason: /no prefix length/,
    hint: /10\.1\.0\.0\/32/,
  },
  {
    name: 'netmask',
    text: edited(record, '/16', '/255.255.0.0'),
    reason: /length/,
    hint: /"10\.1\.0\.0\/16"/,
  },
  {
    name: 'upper case',
    text: edited(record, '10.1.0.0/16', 'FD00::/48'),
    reason: /canonical/,
    hint: /"fd00::\/48"/,
  },
  {
    name: 'long IPv6',
    text: edited(record, '10.1.0.0/16', 'fd00:0:0::/48'),
    reason: /canonical/,
    hint: /"fd00::\/48"/,
  },
  {
    name: 'space',
    text: edited(record, '10.1.0.0/16', ' 10.1.0.0/16'),
    reason: /not an IPv4/,
    hint: /"10\.1\.0\.0\/16"/,
  },
  {
    name: 'prefix twice',
    text: edited(record, '"10.1.0.0/16"', '"10.1.0.0/16","10.1.0.0/16"'),
    reason: /used twice/,
  },
  { name: 'number as prefix', text: edited(record, '"10.1.0.0/16"', '10'), reason: /expected a prefix/ },
  {
    name: 'maxLength below the length',
    text: edited(certificate, '"10.1.0.0/16"', '"10.1.0.0/16","maxLength":8'),
    reason: /maxLength: expected 16 to 32 for 10\.1\.0\.0\/16, found 8/,
  },
  // Names.
  ...[`a"b`, `a'b`, 'a\nb', '../a', 'a/b', '', '.a', 'a b', 'ä', 'a\u202eb', 'x'.repeat(64), '__proto__'].map(
    (name): Case => ({
      name: `name ${JSON.stringify(name)}`,
      text: edited(record, '"g1"', JSON.stringify(name)),
      at: '6:16',
      reason: /payload\.gateway: expected a name of 1 to 63 lower-case letters/,
    }),
  ),
  {
    name: 'name in upper case',
    text: edited(record, '"g1"', '"AWS_a"'),
    reason: /expected a name/,
    hint: /"aws-a"/,
  },
  {
    name: 'label',
    text: edited(certificate, '"labels":{}', '"labels":{"a b":""}'),
    reason: /expected a label/,
  },
  // Numbers, keys, endpoints.
  {
    name: 'number 0',
    text: edited(certificate, '"number": 1', '"number": 0'),
    reason: /integer, 1 to 65534, found 0/,
  },
  { name: 'number 65535', text: edited(certificate, '"number": 1', '"number": 65535'), reason: /1 to 65534/ },
  {
    name: 'plane 4',
    text: edited(certificate, '"plane": 0', '"plane": 4'),
    reason: /integer, 0 to 3, found 4/,
  },
  {
    name: 'identity',
    text: edited(certificate, /"identity": "../, '"identity": "'),
    reason: /43 characters of base64url/,
  },
  {
    name: 'tunnel key',
    text: edited(record, tunnelKeyOf('g1 0'), 'AAAA'),
    reason: /44 characters of base64/,
  },
  { name: 'device index', text: edited(record, '"7":', '"64":'), reason: /device index, "0" to "63"/ },
  { name: 'device index 07', text: edited(record, '"7":', '"07":'), reason: /device index/ },
  {
    name: 'one tunnel key on two devices',
    text: edited(record, tunnelKeyOf('g1 1'), tunnelKeyOf('g1 0')),
    reason: /devices 0 and 1 have one key/,
  },
  { name: 'endpoint port', text: edited(record, '51820', '65473'), reason: /1 to 65472/ },
  { name: 'endpoint address', text: edited(record, '192.0.2.1', '192.0.2.01'), reason: /octal/ },
  {
    name: 'two endpoints of one underlay and family',
    text: edited(record, /"endpoints": \[(.*)\]/, '"endpoints": [$1,$1]'),
    reason: /underlay and family "internet IPv4" is used twice/,
  },
  // The fabric document.
  {
    name: 'a VNI used twice',
    text: edited(fabric, '"kind":"l2"}', '"kind":"l2"},{"name":"b","vni":7001,"kind":"l3"}'),
    reason: /networks\[1\]: the VNI 7001 is used twice: elements 0 and 1/,
  },
  {
    name: 'a network name used twice',
    text: edited(fabric, '"kind":"l2"}', '"kind":"l2"},{"name":"lan","vni":1,"kind":"l3"}'),
    reason: /the network "lan" is used twice/,
  },
  { name: 'VNI 0', text: edited(fabric, '7001', '0'), reason: /1 to 16777215/ },
  { name: 'VNI of 25 bits', text: edited(fabric, '7001', '16777216'), reason: /1 to 16777215/ },
  { name: 'network kind', text: edited(fabric, '"l2"', '"l4"'), reason: /"l2" or "l3"/ },
  {
    name: 'no underlay',
    text: edited(fabric, '[{"name":"internet"}]', '[]'),
    reason: /expected 1 to 4 underlays/,
  },
  {
    name: 'five underlays',
    text: edited(
      fabric,
      '{"name":"internet"}',
      ['internet', 'a', 'b', 'c', 'd'].map((n) => `{"name":"${n}"}`).join(),
    ),
    reason: /expected 1 to 4 underlays/,
  },
  {
    name: 'underlay twice',
    text: edited(fabric, '{"name":"internet"}', '{"name":"a"},{"name":"a"}'),
    reason: /used twice/,
  },
  {
    name: 'prefer',
    text: edited(fabric, '"prefer": ["', '"prefer": ["dx","'),
    reason: /prefer\[0\]: "dx" is none of/,
  },
  {
    name: 'probe of an unknown underlay',
    text: edited(fabric, '"underlays":{}', '"underlays":{"dx":{}}'),
    reason: /no such/,
  },
  {
    name: 'small overlay',
    text: edited(fabric, '100.127.0.0/16', '100.127.0.0/17'),
    reason: /length 8 to 16/,
  },
  {
    name: 'overlay of the wrong family',
    text: edited(fabric, '100.127.0.0/16', 'fd00::/48'),
    reason: /IPv4 range/,
  },
  {
    name: 'no overlay',
    text: edited(fabric, /"overlay": .*/, '"overlay": {},'),
    reason: /ipv4, ipv6 or both/,
  },
  { name: 'policy', text: edited(fabric, '"rules":[]', '"rules":[1]'), reason: /not supported yet/ },
  {
    name: 'default deny',
    text: edited(fabric, '"allow"', '"deny"'),
    reason: /expected "allow", found "deny"/,
  },
  {
    name: 'mesh',
    text: edited(fabric, '"mesh": "all"', '"mesh": [{"between":{"site":"a"}}]'),
    reason: /"and" is missing/,
  },
]

for (const { name, text, at, reason, hint } of cases) {
  void t.test(name, (t) => {
    const refusal = refusalOf(text)
    t.equal(refusal.rule, 'document')
    t.equal(refusal.origin, 'records/x.json')
    if (at === undefined) t.match(refusal.object, /^records\/x\.json:\d+:\d+$/)
    else t.equal(refusal.object, `records/x.json:${at}`)
    t.match(refusal.reason, reason)
    if (hint !== undefined) t.match(refusal.next, hint)
    t.match(refusal.excerpt, /^ +\d+ \| .*\n +\| *\^$/, 'the source line and a caret')
    t.end()
  })
}

void t.test('bad UTF-8 is shown where it is', (t) => {
  const text = formatDocument(record)
  const bytes = Buffer.from(text)
  bytes[text.indexOf('"g1"') + 1] = 0xff
  const refusal = refusalOf(bytes)
  t.equal(refusal.object, 'records/x.json:6:17')
  t.match(refusal.reason, /not UTF-8/)
  t.match(refusalOf(Buffer.from([0xc3])).reason, /not UTF-8/)
  t.match(refusalOf(Buffer.from([0x7b, 0xed, 0xa0, 0x80, 0x7d])).object, /:1:2$/, 'surrogates are no UTF-8')
  t.end()
})

void t.test('size', (t) => {
  const pad = (text: string, bytes: number): string => text + ' '.repeat(bytes - Buffer.byteLength(text))
  t.notOk(isRefusal(parseDocument(deliveredText(pad(formatDocument(record), 65_536)))))
  t.match(
    refusalOf(pad(formatDocument(record), 65_537)).reason,
    /is 65537 bytes long, expected at most 65536/,
  )
  t.notOk(
    isRefusal(parseDocument(deliveredText(pad(formatDocument(fabric), 1_000_000)))),
    'fabric documents may be larger',
  )
  const started = performance.now()
  t.match(refusalOf(new Uint8Array(17 << 20).fill(0x5b)).reason, /expected at most 16777216/)
  t.ok(performance.now() - started < 500, 'at once')
  t.end()
})

void t.test('a record of 1 MB that is one line is shown in part', (t) => {
  const many = Array.from({ length: 3000 }, (_, i) => `10.${i >> 8}.${i & 255}.0/24`)
  const text = JSON.stringify({ typ: 'linkspan-record', payload: { prefixes: [...many, '10.0.0.1/8'] } })
  const refusal = refusalOf(text)
  for (const line of refusal.excerpt?.split('\n') ?? []) t.ok(line.length < 120)
  t.end()
})

void t.test('control characters of a stranger do not reach the terminal', (t) => {
  const refusal = refusalOf(edited(record, '"g1"', '"\u001b[2J\u202e\u009b"').replace('\u001b', '\\u001b'))
  t.notMatch(formatRefusal(refusal), /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/)
  t.end()
})

void t.test('every truncation of a document is refused', (t) => {
  for (const document of [record, certificate, fabric]) {
    const bytes = Buffer.from(formatDocument(document)).subarray(0, -1)
    for (let length = 0; length < bytes.length; length++) {
      const parsed = parseDocument({ origin: 'x', bytes: bytes.subarray(0, length) })
      if (!isRefusal(parsed)) t.fail(`accepted the first ${length} bytes`)
    }
  }
  t.pass('none accepted')
  t.end()
})
