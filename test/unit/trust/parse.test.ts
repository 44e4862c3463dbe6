/**
 * Bad documents: what is wrong with an envelope or a signature names the document; what is wrong in a payload names its
 * place there, what was expected, the source line with a caret, and a hint. The forms of envelopes are in envelope.test.ts.
 */
import { createHash } from 'node:crypto'
import t from 'tap'
import type { Test } from 'tap'
import type { Document, DocumentType } from '../../../agent/model/document.ts'
import { maxDocumentBytes, maxFabricBytes } from '../../../agent/model/document.ts'
import { proofOf } from '../../../agent/trust/authorities.ts'
import { envelopeBytes, kidOf, seal } from '../../../agent/trust/envelope.ts'
import { isRefusal, parseDocument, parseDocumentLater, sealDocument } from '../../../agent/trust/parse.ts'
import { formatRefusal } from '../../../agent/trust/refusal.ts'
import type { Refusal } from '../../../agent/trust/refusal.ts'
import {
  authority,
  authorityKey,
  certificateDocument,
  deliveredText,
  fabricDocument,
  identityKeyOf,
  keyOf,
  recordDocument,
  requestDocument,
  sealed,
  signerOf,
} from '../../support/documents.ts'
import { edited, payloadText, refusalOf, refuses } from '../../support/mistake.ts'

const record = recordDocument(1)
const certificate = certificateDocument(1)
const fabric = fabricDocument()
const next = keyOf('next')
const succession: Document = {
  type: 'authority',
  payload: {
    fabric: 'prod',
    serial: 7,
    next: kidOf(next),
    proof: proofOf('prod', authority, next),
    retired: [kidOf(keyOf('before'))],
  },
}

void t.test('documents of every type come back as they were signed', async (t) => {
  for (const document of [fabric, certificate, record, requestDocument(1), succession]) {
    const key = signerOf(document)
    const reversed = JSON.stringify(Object.fromEntries(Object.entries(document.payload).reverse()))
    for (const payload of [JSON.stringify(document.payload), payloadText(document), reversed]) {
      const delivered = deliveredText(seal(document.type, payload, key))
      const parsed = parseDocument(delivered)
      const hash = createHash('sha256').update(payload).digest('base64')
      t.strictSame(parsed, { document, kid: kidOf(key), hash }, 'in any order and spacing')
      t.strictSame(await parseDocumentLater(delivered), parsed, 'the same on the thread pool')
    }
    t.equal(
      sealDocument(document, key),
      seal(document.type, JSON.stringify(document.payload), key),
      'written as it is read',
    )
  }
})

void t.test('a refusal as it is shown', (t) => {
  const refusal = refusalOf(edited(certificate, '"plane": 0', '"plan": 0'), 'certificate')
  t.equal(
    formatRefusal(refusal),
    [
      'records/x.jws:7:3: plan: unknown field "plan"',
      '  7 |   "plan": 0,',
      '    |   ^',
      '  hint: did you mean "plane"?',
    ].join('\n'),
  )
  t.end()
})

// The text.
refuses([
  { name: 'white space', text: ' \n ', at: '2:2', reason: /is empty/ },
  {
    name: 'cut off',
    text: payloadText(record).slice(0, 60),
    reason: /no closing quote|end of the file|expected/,
  },
  { name: 'trailing garbage', text: `${payloadText(record)}x`, reason: /unexpected "x" after the end/ },
  { name: 'two documents', text: '{}{}', at: '1:3', reason: /after the end/, hint: /one document/ },
  { name: 'byte order mark', text: '\ufeff{}', at: '1:1', reason: /found U\+feff/ },
  { name: 'single quotes', text: "{'fabric':1}", at: '1:2', reason: /field name in double quotes/ },
  {
    name: 'trailing comma',
    text: '{"fabric":1,}',
    at: '1:13',
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
])

// Fields.
refuses([
  {
    name: 'duplicate key',
    text: '{"fabric":1,"fabric":2}',
    at: '1:13',
    reason: /"fabric" is given twice/,
    hint: /keep one/,
  },
  {
    name: 'escaped duplicate key',
    text: '{"fabric":1,"\\u0066abric":2}',
    at: '1:13',
    reason: /"fabric" is given twice/,
  },
  { name: '__proto__', text: '{"__proto__":{}}', at: '1:2', reason: /"__proto__" is not allowed/ },
  { name: 'constructor', text: '{"constructor":{}}', at: '1:2', reason: /unknown field "constructor"/ },
  { name: 'no object', text: '[]', at: '1:1', reason: /expected an object, found \[\]/ },
  { name: 'a number', text: '7', at: '1:1', reason: /expected an object, found 7/ },
  { name: 'nothing', text: 'null', at: '1:1', reason: /expected an object, found null/ },
  { name: 'no fields', text: '{}', at: '1:1', reason: /"fabric" is missing/ },
  {
    name: 'an envelope of the time before signatures',
    text: JSON.stringify({ typ: 'linkspan-record', payload: record.payload }),
    at: '1:2',
    reason: /unknown field "typ"/,
  },
  {
    name: 'unknown field',
    text: edited(record, '"weight"', '"wieght"'),
    at: '10:3',
    reason: /unknown field "wieght"/,
    hint: /did you mean "weight"/,
  },
  {
    name: 'missing field',
    text: edited(record, /.*"weight".*\n/, ''),
    at: '1:1',
    reason: /"weight" is missing/,
  },
  {
    name: 'text for a number',
    text: edited(record, '"weight": 1', '"weight": "1"'),
    at: '10:13',
    reason: /weight: expected an integer, 1 to 256, found "1"/,
  },
  { name: 'null', text: edited(record, '"weight": 1', '"weight": null'), reason: /found null/ },
  {
    name: 'state',
    text: edited(record, '"active"', '"activ"'),
    reason: /"active" or "draining"/,
    hint: /"active"/,
  },
])

refuses(
  [
    {
      name: 'duplicate key deep inside',
      text: edited(certificate, '"provider":""', '"provider":"","name":"s2"'),
      reason: /"name" is given twice/,
    },
    { name: 'the payload of another type', text: payloadText(record), reason: /unknown field "generation"/ },
  ],
  'certificate',
)

void t.test('bad UTF-8 is shown where it is', (t) => {
  const text = payloadText(record)
  const bytes = Buffer.from(text)
  bytes[text.indexOf('"g1"') + 1] = 0xff
  const refusal = refusalOf(bytes)
  t.equal(refusal.object, 'records/x.jws:4:15')
  t.match(refusal.reason, /not UTF-8/)
  t.match(refusalOf(Buffer.from([0xc3])).reason, /not UTF-8/)
  t.match(refusalOf(Buffer.from([0x7b, 0xed, 0xa0, 0x80, 0x7d])).object, /:1:2$/, 'surrogates are no UTF-8')
  t.end()
})

/** What is said of the envelope: it names no place in the payload. */
function outside(t: Test, text: string | Uint8Array): Refusal {
  const parsed = parseDocument({ origin: 'records/x.jws', bytes: Buffer.from(text) })
  if (!isRefusal(parsed)) throw new Error(`accepted: ${String(text).slice(0, 200)}`)
  t.equal(parsed.object, 'records/x.jws')
  t.equal(parsed.excerpt, undefined)
  return parsed
}

void t.test('what is wrong outside the payload', async (t) => {
  const unknown = outside(t, seal('recrod', payloadText(record), authorityKey))
  t.equal(unknown.rule, 'document')
  t.match(unknown.reason, /type linkspan-recrod, which is none of a document/)
  t.match(unknown.next, /did you mean "record"/)
  t.match(
    outside(t, seal('proof', '{}', authorityKey)).reason,
    /linkspan-proof/,
    'a proof is no document by itself',
  )

  const unsigned = outside(t, JSON.stringify({ typ: 'linkspan-record', payload: record.payload }))
  t.match(unsigned, { rule: 'document', reason: /is not signed/, next: /linkspan ca/ })

  const [header, , signature] = sealed(record).toString().split('.')
  const other = Buffer.from(JSON.stringify({ ...record.payload, weight: 2 })).toString('base64url')
  const altered = `${header ?? ''}.${other}.${signature ?? ''}`
  const forged = outside(t, altered)
  t.match(forged, { rule: 'signature', next: /find out by whom/ })
  t.match(forged.reason, `not by the key ${kidOf(identityKeyOf('g1'))}`)
  t.strictSame(await parseDocumentLater(deliveredText(altered)), parseDocument(deliveredText(altered)))
  t.strictSame(await parseDocumentLater(deliveredText('{}')), parseDocument(deliveredText('{}')))
  // Nobody's word about a payload is told before somebody's signature stands for it.
  const nonsense = `${header ?? ''}.${Buffer.from('nonsense').toString('base64url')}.${signature ?? ''}`
  t.equal(outside(t, nonsense).rule, 'signature')
})

void t.test('size', (t) => {
  const pad = (document: Document, bytes: number): string => {
    const text = JSON.stringify(document.payload)
    return text + ' '.repeat(bytes - Buffer.byteLength(text))
  }
  const said = (type: DocumentType, payload: string): string => {
    const parsed = parseDocument(deliveredText(seal(type, payload, authorityKey)))
    return isRefusal(parsed) ? `${parsed.rule}: ${parsed.reason}` : 'accepted'
  }
  t.equal(maxDocumentBytes, 65_536)
  t.equal(maxFabricBytes, 16_777_216)
  for (const document of [record, certificate, requestDocument(1), succession]) {
    const { type } = document
    t.equal(said(type, pad(document, 65_536)), 'accepted', type)
    t.match(said(type, pad(document, 65_537)), /^document: .*65537 bytes, expected at most 65536/, type)
    t.match(
      said(type, pad(document, 66_560)),
      new RegExp(`^document: is [0-9]+ bytes long, expected at most ${envelopeBytes(65_536)}$`),
      `a ${type} of 65 KiB`,
    )
    t.match(said(type, pad(document, 1 << 20)), /^document: is [0-9]+ bytes long/, `a ${type} of 1 MiB`)
  }
  t.equal(said('fabric', pad(fabric, 1 << 20)), 'accepted', 'fabric documents may be larger')
  t.equal(said('fabric', pad(fabric, 16 << 20)), 'accepted')
  t.match(said('fabric', pad(fabric, (16 << 20) + 1)), /16777217 bytes, expected at most 16777216/)
  const large = [
    Buffer.from(seal('fabric', pad(fabric, 17 << 20), authorityKey)),
    new Uint8Array(64 << 20).fill(0x41),
  ]
  const started = performance.now()
  const refusals = large.map((bytes) => parseDocument({ origin: 'records/x.jws', bytes }))
  t.ok(performance.now() - started < 500, 'at once: nothing of it is read')
  t.match(refusals, [{ reason: /expected at most/ }, { reason: /expected at most/ }])
  t.end()
})

void t.test('a record of 60 KB that is one line is shown in part', (t) => {
  const many = Array.from({ length: 3000 }, (_, i) => `10.${i >> 8}.${i & 255}.0/24`)
  const text = JSON.stringify({ ...record.payload, prefixes: [...many, '10.0.0.1/8'] })
  const refusal = refusalOf(text)
  t.match(refusal.reason, /host bits/)
  for (const line of refusal.excerpt?.split('\n') ?? []) t.ok(line.length < 120)
  t.end()
})

void t.test('control characters of a stranger do not reach the terminal', (t) => {
  const refusal = refusalOf(edited(record, '"g1"', '"\u001b[2J\u202e\u009b"').replace('\u001b', '\\u001b'))
  t.notMatch(formatRefusal(refusal), /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/)
  t.end()
})

for (const document of [certificate, record, fabric]) {
  const whole = sealed(document)
  const accepts = (bytes: Uint8Array): boolean => !isRefusal(parseDocument({ origin: 'x', bytes }))

  void t.test(`every truncation of a ${document.type} is refused`, (t) => {
    t.ok(accepts(whole))
    t.ok(accepts(whole.subarray(0, -1)), 'the line feed may be missing')
    const accepted: number[] = []
    for (let length = 0; length < whole.length - 1; length++) {
      if (accepts(whole.subarray(0, length))) accepted.push(length)
    }
    t.strictSame(accepted, [])
    t.end()
  })

  void t.test(`every flipped bit of a ${document.type} is refused`, (t) => {
    const accepted: number[] = []
    for (let bit = 0; bit < 8 * whole.length; bit++) {
      const bytes = Buffer.from(whole)
      bytes.writeUInt8(bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
      if (accepts(bytes)) accepted.push(bit)
    }
    t.strictSame(accepted, [])
    t.end()
  })
}

void t.test('with more problems than are told, it is refused and nothing is thrown', (t) => {
  const unknown = Array.from({ length: 30 }, (_, i) => `"x${i}": 1`).join(', ')
  const text = edited(certificate, '"fabric"', `${unknown}, "fabric"`)
  const broken = text.replace(/"prefixes": \[[^\]]*\]/, '"prefixes": [{ "prefix": 5, "maxLength": 24 }]')
  t.not(broken, text)
  t.match(refusalOf(broken, 'certificate').reason, /^x0: unknown field/)
  t.end()
})
