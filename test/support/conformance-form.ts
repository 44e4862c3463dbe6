/** Conformance: the form of documents, their signature, and the fabric they are for. Nothing here takes a gateway out. */
import type { Delivered, Document } from '../../agent/model/document.ts'
import { maxDocumentBytes } from '../../agent/model/document.ts'
import { seal } from '../../agent/trust/envelope.ts'
import { at, edited, one, wellSigned } from './conformance.ts'
import type { Row } from './conformance.ts'
import {
  authority,
  authorityKey,
  certificateDocument as certificate,
  delivered,
  deliveredText,
  fabricDocument as fabric,
  identityKeyOf,
  identityOf,
  keyOf,
  recordDocument as record,
  requestDocument as request,
  sealed,
  tunnelKeyOf,
} from './documents.ts'
import { encode, signedParts, tailsOf } from './jws.ts'

const key = identityKeyOf('g2')
const whole = sealed(record(2)).toString()
const [head = '', body = '', tail = ''] = whole.trimEnd().split('.')
const json = JSON.stringify(record(2).payload)
/** The same again, of a length whose base64url ends in bits that mean nothing. */
const uneven = json.padEnd(json.length + (json.length % 3 === 0 ? 1 : 0))

/** Gateway 2 is certified, and this stands where its record should. */
function instead(rule: Row['rule'], what: string, said: string | Delivered): Row {
  const place = typeof said === 'string' ? deliveredText(said, 'records/g2.jws') : said
  return { rule, what, documents: [...one, certificate(2), place], verdict: { left: 'g1', refused: rule } }
}

/** A well-signed envelope with another header. */
function headed(what: string, header: string): Row {
  return instead('document', what, signedParts(encode(header.replace('KID', identityOf('g2'))), body, key))
}

/** The record of gateway 2, well signed, with another text in place of a piece. */
function record2(what: string, piece: string | RegExp, text: string): Row {
  return instead('document', what, edited(record(2), piece, text))
}

/** A later document of the authority's with another text in place of a piece: the one before stays. */
function later(what: string, of: (serial: number) => Document, piece: string | RegExp, text: string): Row {
  const said = { ...edited(of(2), piece, text), origin: 'x.jws' }
  return {
    rule: 'document',
    what,
    before: one,
    documents: [...one, said],
    verdict: { left: 'g1', refused: 'document' },
  }
}
const fabricOf = (serial: number): Document =>
  fabric({ serial, removed: ['g1'], networks: [{ name: 'lan', vni: 7001, kind: 'l2' }] })
const certificateOf = (serial: number): Document => certificate(1, { serial, number: 9 })

/** Good, and exactly so long. */
const long = (bytes: number): Delivered => wellSigned(record(2), json.padEnd(bytes))
const manyPrefixes = Array.from(
  { length: 100_000 },
  (_, i) => `"10.${i >> 16}.${(i >> 8) & 255}.${i & 255}/32"`,
)

const envelopes: readonly Row[] = [
  instead('document', 'nothing at all', ''),
  instead('document', 'JSON that nobody signed', json),
  instead('document', 'the first half of a document', whole.slice(0, whole.length / 2)),
  instead('document', 'two parts of three', `${head}.${body}`),
  headed('another algorithm', '{"alg":"none","typ":"linkspan-record","kid":"KID"}'),
  headed('a header in another order', '{"typ":"linkspan-record","alg":"EdDSA","kid":"KID"}'),
  headed('a header with a field more', '{"alg":"EdDSA","typ":"linkspan-record","kid":"KID","b64":false}'),
  headed('a header with a space', '{"alg":"EdDSA", "typ":"linkspan-record","kid":"KID"}'),
  headed('a header without key', '{"alg":"EdDSA","typ":"linkspan-record"}'),
  headed('a type of another product', '{"alg":"EdDSA","typ":"JWT","kid":"KID"}'),
  instead('document', 'a type that is none', seal('recrod', json, key)),
  instead('document', 'the type of another document', seal('certificate', json, key)),
  instead('document', 'the type of the proof inside another document', seal('proof', json, key)),
  instead(
    'document',
    'another tail of the signature for the same bytes',
    `${head}.${body}.${tailsOf(tail)[0] ?? ''}`,
  ),
  instead(
    'document',
    'another tail of the payload for the same bytes, well signed',
    signedParts(head, tailsOf(encode(uneven))[0] ?? '', key),
  ),
  instead('document', 'padding', signedParts(head, `${body}=`, key)),
  instead('document', 'two line feeds at the end', `${whole}\n`),
  instead('document', 'a line end of CR LF', `${whole.trimEnd()}\r\n`),
  {
    rule: 'document',
    what: 'no line feed at the end is as good',
    documents: [...one, certificate(2), deliveredText(whole.trimEnd(), 'records/g2.jws')],
    verdict: { left: 'g1 g2' },
  },
]

const payloads: readonly Row[] = [
  record2('a field that is unknown', '"weight":1', '"weight":1,"wieght":2'),
  record2('a field that is missing', '"weight":1,', ''),
  record2('a field given twice', '"weight":1', '"weight":1,"weight":1'),
  record2('a field given twice, once in escapes', '"weight":1', '"weight":1,"\\u0077eight":1'),
  record2('a field given twice deep inside', '"port":51820', '"port":51820,"port":51821'),
  record2('the field __proto__', '"weight":1', '"weight":1,"__proto__":{"state":"active"}'),
  record2('a number with a fraction', '"weight":1', '"weight":1.0'),
  record2('a number as text', '"weight":1', '"weight":"1"'),
  record2('a number out of its range', '"weight":1', '"weight":257'),
  record2('a serial beyond 2^53', '"serial":1', '"serial":9007199254740993'),
  record2('a serial below zero', '"serial":1', '"serial":-1'),
  record2('null where a list should be', '"networks":[]', '"networks":null'),
  record2('a state that is none', '"active"', '"gone"'),
  record2('a name in capitals', '"gateway":"g2"', '"gateway":"G2"'),
  record2(
    'nesting deeper than any document',
    '"networks":[]',
    `"networks":${'['.repeat(5000)}${']'.repeat(5000)}`,
  ),
  record2('half of a surrogate pair', '"active"', '"\\ud800"'),
  record2('a second value behind the first', /$/, '{}'),
  instead('document', 'a byte order mark', wellSigned(record(2), `\ufeff${json}`)),
  instead(
    'document',
    'bytes that are not UTF-8',
    wellSigned(record(2), Buffer.from(`${json}\xff`, 'latin1')),
  ),
  record2('a prefix with host bits', '10.2.0.0/16', '10.2.0.1/16'),
  record2('a prefix with a leading zero', '10.2.0.0/16', '010.2.0.0/16'),
  record2('a prefix with octets left out', '10.2.0.0/16', '10.2/16'),
  record2('a prefix longer than an address', '10.2.0.0/16', '10.2.0.0/33'),
  record2('an IPv6 prefix in another spelling', '10.2.0.0/16', 'FD00:1::/48'),
  record2('a prefix given twice', '"10.2.0.0/16"', '"10.2.0.0/16","10.2.0.0/16"'),
  record2('a name for an endpoint', '192.0.2.2', 'g2.example.net'),
  record2(
    'two endpoints of one underlay and family',
    '"endpoints":[',
    '"endpoints":[{"underlay":"internet","address":"192.0.2.9","port":51820},',
  ),
  record2('a base port without room for 63 more', '51820', '65500'),
  record2('a tunnel key of a device that cannot be', '"7":', '"64":'),
  instead(
    'document',
    'one tunnel key on two devices',
    delivered(record(2, { tunnelKeys: { 0: tunnelKeyOf('x'), 1: tunnelKeyOf('x') } })),
  ),
  later('a certificate with number 0', certificateOf, '"number":9', '"number":0'),
  later('a certificate with number 65535', certificateOf, '"number":9', '"number":65535'),
  later(
    'a certificate that begins after the last date there is',
    certificateOf,
    /"notBefore":\d+/,
    '"notBefore":9007199254740991',
  ),
  later(
    'a certificate with more faults than anybody lists',
    certificateOf,
    '"prefixes":[',
    `"prefixes":[${'{"prefix":"10","maxLength":99},'.repeat(99)}`,
  ),
  later('a certificate with plane 4', certificateOf, '"plane":0', '"plane":4'),
  later(
    'a certificate with a maxLength shorter than its prefix',
    certificateOf,
    '/16"',
    '/16","maxLength":15',
  ),
  later('a certificate with a grant that is none', certificateOf, '"grants":[]', '"grants":["all"]'),
  later(
    'a fabric document with a VNI used twice',
    fabricOf,
    '"networks":[',
    '"networks":[{"name":"b","vni":7001,"kind":"l3"},',
  ),
  later(
    'a fabric document with five underlays',
    fabricOf,
    '"underlays":[',
    `"underlays":[${['a', 'b', 'c', 'd'].map((name) => `{"name":"${name}"},`).join('')}`,
  ),
  later('a fabric document that prefers an unknown underlay', fabricOf, '"prefer":[', '"prefer":["dx",'),
  later(
    'a fabric document with a rule that nobody would enforce',
    fabricOf,
    '"rules":[]',
    '"rules":[{"deny":"all"}]',
  ),
  later(
    'a fabric document with an overlay range too small for its numbers',
    fabricOf,
    '100.127.0.0/16',
    '100.127.0.0/17',
  ),
]

const sizes: readonly Row[] = [
  {
    rule: 'document',
    what: 'a record of 64 KiB is as good',
    documents: [...one, certificate(2), long(maxDocumentBytes)],
    verdict: { left: 'g1 g2' },
  },
  instead('document', 'a record of 64 KiB and a byte', long(maxDocumentBytes + 1)),
  instead('document', 'a record of 1 MiB', long(1 << 20)),
  record2('100,000 prefixes in one record', '"10.2.0.0/16"', manyPrefixes.join(',')),
  instead('document', '16 MiB of something else', 'A'.repeat(1 << 24)),
]

/** The payload of one document under the header and the signature of another. */
const spliced = (document: Document, payload: object): string =>
  sealed(document)
    .toString()
    .split('.')
    .map((each, i) => (i === 1 ? encode(JSON.stringify(payload)) : each))
    .join('.')

const signatures: readonly Row[] = [
  instead(
    'signature',
    'a record whose words were altered',
    spliced(record(2), { ...record(2).payload, weight: 2 }),
  ),
  instead(
    'signature',
    'a certificate whose words were altered',
    spliced(certificate(1), { ...certificate(1).payload, serial: 2, number: 9 }),
  ),
  instead(
    'signature',
    'a fabric document whose words were altered',
    spliced(fabric(), { ...fabric().payload, serial: 2, removed: ['g1'] }),
  ),
  instead(
    'signature',
    'the signature of another document',
    `${head}.${body}.${sealed(record(1)).toString().split('.')[2] ?? ''}`,
  ),
  instead(
    'signature',
    "a gateway's signature under the name of the authority's key",
    signedParts(
      encode(`{"alg":"EdDSA","typ":"linkspan-fabric","kid":"${authority}"}`),
      encode(JSON.stringify(fabric().payload)),
      key,
    ),
  ),
  instead(
    'signature',
    'a record given out as a certificate: the type is signed, too',
    `${encode(`{"alg":"EdDSA","typ":"linkspan-certificate","kid":"${identityOf('g2')}"}`)}.${body}.${tail}`,
  ),
  instead('signature', 'a signature of nothing but zeros', `${head}.${body}.${'A'.repeat(86)}`),
]

const elsewhere: readonly Row[] = [
  {
    rule: 'fabric',
    what: 'every type of document of another fabric, rightly signed',
    documents: [
      ...one,
      at('x1.jws', fabric({ fabric: 'test', serial: 9, removed: ['g1'] })),
      at('x2.jws', certificate(1, { fabric: 'test', serial: 9, number: 7 })),
      at('x3.jws', record(1, { fabric: 'test', serial: 9, state: 'withdrawn' })),
      at('x4.jws', request(3, { fabric: 'test' })),
    ],
    verdict: {
      left: 'g1',
      refused: 'fabric, fabric g1, fabric g1, fabric g3',
      says: /belongs to the fabric test, this is prod/,
    },
  },
  {
    rule: 'fabric',
    what: 'a next key of the authority, in another fabric of the same authority',
    documents: [
      ...one,
      at('x1.jws', { type: 'authority', payload: { fabric: 'test', serial: 1, retired: [authority] } }),
      delivered(certificate(2), undefined, keyOf('next')),
    ],
    verdict: { left: 'g1', refused: 'fabric, authority g2' },
  },
  {
    rule: 'fabric',
    what: 'documents of nothing but another fabric',
    documents: [
      fabric({ fabric: 'test' }),
      certificate(1, { fabric: 'test' }),
      record(1, { fabric: 'test' }),
    ],
    verdict: { left: '', refused: 'fabric, fabric g1, fabric g1' },
  },
  {
    rule: 'fabric',
    what: 'a certificate of another fabric beside the right record',
    documents: [...one, delivered(certificate(2, { fabric: 'test' }), undefined, authorityKey), record(2)],
    verdict: { left: 'g1', refused: 'fabric g2, certificate g2' },
  },
]

export const form: readonly Row[] = [...envelopes, ...payloads, ...sizes, ...signatures, ...elsewhere]
