/** Bad documents: each is refused with its place, what was expected, the source line with a caret, and a hint. */
import t from 'tap'
import { formatDocument } from '../../../agent/model/document.ts'
import { isRefusal, parseDocument } from '../../../agent/trust/parse.ts'
import { formatRefusal } from '../../../agent/trust/refusal.ts'
import {
  certificateDocument,
  deliveredText,
  fabricDocument,
  recordDocument,
  requestDocument,
} from '../../support/documents.ts'
import { edited, refusalOf, refuses } from '../../support/mistake.ts'

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

const record = recordDocument(1)
const certificate = certificateDocument(1)
const fabric = fabricDocument()
const open = '{"typ":"linkspan-record","payload":'

refuses([
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
])

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

void t.test('with more problems than are told, it is refused and nothing is thrown', (t) => {
  const unknown = Array.from({ length: 30 }, (_, i) => `"x${i}": 1`).join(', ')
  const text = formatDocument(certificateDocument(1))
    .replace('"fabric"', `${unknown}, "fabric"`)
    .replace(/"prefixes": .*/, '"prefixes": [{ "prefix": 5, "maxLength": 24 }],')
  t.match(refusalOf(text).reason, /^payload\.x0: unknown field/)
  t.end()
})
