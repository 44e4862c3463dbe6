/** Forms of an envelope: there is one, everything else is refused before a signature is looked at. */
import t from 'tap'
import { openEnvelope, seal } from '../../../agent/trust/envelope.ts'
import {
  body,
  encode,
  head,
  headerOf,
  key,
  kid,
  signedParts,
  tail,
  tailsOf,
  whole,
  withHeader,
} from '../../support/jws.ts'

const open = (text: string | Uint8Array): ReturnType<typeof openEnvelope> => openEnvelope(Buffer.from(text))

interface Case {
  readonly name: string
  readonly texts: readonly (string | Uint8Array)[]
  readonly says: RegExp
}

const notHeader = /header that is not base64url/
const notPayload = /payload that is not base64url/
const notSignature = /signature of another form/
const otherHeader = /header of another form/
const noParts = /is no signed document: expected three parts/

/** A header and a signature that spell their bytes in the other alphabet of base64. */
const dashed = Array.from({ length: 99 }, (_, i) => seal('record', `{"a":${i}}`, key).trimEnd()).find(
  (text) => /[-_][^.]*$/.test(text.slice(text.lastIndexOf('.'))),
)
const bytes = Buffer.from([0xfb, 0xef, 0xff])

const cases: readonly Case[] = [
  { name: 'nothing', texts: ['', '\n'], says: /is empty/ },
  { name: 'unsigned JSON', texts: ['{}', '{"typ":"linkspan-record","payload":{}}\n'], says: /is not signed/ },
  { name: 'one part', texts: [head, `${head}\n`, 'A'], says: noParts },
  { name: 'two parts', texts: [`${head}.${body}`, `${head}.`, '.'], says: noParts },
  {
    name: 'four parts',
    texts: [`${whole.trimEnd()}.${tail}`, `${head}.${body}.${tail}.`, `${head}.${body}.${body}.${tail}`],
    says: notSignature,
  },
  {
    name: 'a dot inside a signature of the right length',
    texts: [`${head}.${body}.${tail.slice(0, 40)}.${tail.slice(41)}`],
    says: notSignature,
  },
  { name: 'an empty header', texts: [signedParts('', body)], says: notHeader },
  { name: 'an empty payload', texts: [signedParts(head, '')], says: notPayload },
  { name: 'an empty signature', texts: [`${head}.${body}.`], says: notSignature },
  {
    name: 'padding behind the header',
    texts: [signedParts(`${head}=`, body), signedParts(`${head}==`, body)],
    says: notHeader,
  },
  {
    name: 'padding behind the payload',
    texts: [signedParts(head, `${body}=`), signedParts(head, `${body}==`)],
    says: notPayload,
  },
  {
    name: 'padding behind the signature',
    texts: [`${head}.${body}.${tail}==`, `${head}.${body}.${tail.slice(0, -1)}=`],
    says: notSignature,
  },
  {
    name: '"+" and "/" in the header',
    texts: [signedParts(`+${head.slice(1)}`, body), signedParts(`/${head.slice(1)}`, body)],
    says: notHeader,
  },
  {
    name: '"+" and "/" in the payload',
    texts: [signedParts(head, bytes.toString('base64')), signedParts(head, `${body.slice(0, -1)}/`)],
    says: notPayload,
  },
  {
    name: '"+" and "/" in the signature',
    texts: [`${head}.${body}.${tail.slice(0, -1)}+`, `${head}.${body}./${tail.slice(1)}`],
    says: notSignature,
  },
  {
    name: 'a signature in the other alphabet of base64',
    texts: [dashed?.replace(/[-_](?=[^.]*$)/g, (character) => (character === '-' ? '+' : '/')) ?? ''],
    says: notSignature,
  },
  {
    name: 'an altered tail of the header',
    texts: tailsOf(head).map((text) => signedParts(text, body)),
    says: notHeader,
  },
  {
    name: 'an altered tail of the payload',
    texts: ['{"a":1}', '{"a":10}'].flatMap((text) =>
      tailsOf(encode(text)).map((other) => signedParts(head, other)),
    ),
    says: notPayload,
  },
  {
    name: 'an altered tail of the signature',
    texts: tailsOf(tail).map((text) => `${head}.${body}.${text}`),
    says: notSignature,
  },
  { name: 'a payload of 4n + 1 characters', texts: [signedParts(head, body.slice(0, 5))], says: notPayload },
  {
    name: 'a signature cut off',
    texts: [whole.trimEnd().slice(0, -1), whole.slice(0, -20)],
    says: notSignature,
  },
  { name: 'a signature too long', texts: [`${whole.trimEnd()}A`], says: notSignature },
  { name: 'CRLF', texts: [`${whole.trimEnd()}\r\n`], says: notSignature },
  { name: 'two line feeds', texts: [`${whole}\n`], says: notSignature },
  {
    name: 'a line feed inside',
    texts: [signedParts(head, `${body}\n`), signedParts(head, `\n${body}`)],
    says: notPayload,
  },
  {
    name: 'a space behind',
    texts: [`${whole.trimEnd()} `, `${whole.trimEnd()} \n`, `${whole.trimEnd()}\0`],
    says: notSignature,
  },
  { name: 'a space or line before', texts: [` ${whole}`, `\n${whole}`], says: notHeader },
  { name: 'a byte order mark', texts: [`\ufeff${whole}`], says: notHeader },
  { name: 'UTF-16', texts: [Buffer.from(whole, 'utf16le')], says: /header/ },
  {
    name: 'a letter that is none of ASCII',
    texts: [signedParts(`é${head.slice(1)}`, body)],
    says: notHeader,
  },
  {
    name: 'a header too long',
    texts: [withHeader(headerOf({ typ: `linkspan-${'a'.repeat(99)}` }))],
    says: /header that is too long/,
  },
  {
    name: 'another algorithm',
    texts: ['ES256', 'HS256', 'RS256', 'Ed25519', 'eddsa', 'EdDSA ', 'EDDSA', ''].map((alg) =>
      withHeader(headerOf({ alg })),
    ),
    says: otherHeader,
  },
  {
    name: 'no algorithm',
    texts: [
      withHeader(headerOf({ alg: 'none' })),
      `${encode(headerOf({ alg: 'none' }))}.${body}.`,
      withHeader(headerOf({ alg: null })),
    ],
    says: otherHeader,
  },
  {
    name: 'one header field more',
    texts: [{ x: 1 }, { b64: false }, { crit: [] }, { cty: 'a' }].map((more) => withHeader(headerOf(more))),
    says: otherHeader,
  },
  {
    name: 'a header field given twice',
    texts: [
      withHeader(headerOf().replace('{', '{"alg":"EdDSA",')),
      withHeader(headerOf().replace(/}$/, `,"kid":"${kid}"}`)),
    ],
    says: /header (of another form|that is too long)/,
  },
  {
    name: 'one header field less',
    texts: ['alg', 'typ', 'kid'].map((field) => withHeader(headerOf({ [field]: undefined }))),
    says: otherHeader,
  },
  {
    name: 'another order of the header',
    texts: [
      withHeader(JSON.stringify({ typ: 'linkspan-record', alg: 'EdDSA', kid })),
      withHeader(JSON.stringify({ alg: 'EdDSA', kid, typ: 'linkspan-record' })),
    ],
    says: otherHeader,
  },
  {
    name: 'space in the header',
    texts: [
      headerOf().replaceAll(':', ': '),
      headerOf().replaceAll(',', ', '),
      ` ${headerOf()}`,
      `${headerOf()} `,
      `${headerOf()}\n`,
      `{ ${headerOf().slice(1)}`,
    ].map(withHeader),
    says: otherHeader,
  },
  {
    name: 'an escape in the header',
    texts: [
      withHeader(headerOf().replace('EdDSA', '\\u0045dDSA')),
      withHeader(headerOf().replace('linkspan', 'link\\u0073pan')),
    ],
    says: otherHeader,
  },
  {
    name: 'a type of another form',
    texts: [
      'record',
      'linkspan-',
      'linkspan-Record',
      'linkspan-re1',
      'linkspan-a-b',
      `linkspan-${'a'.repeat(17)}`,
      'Linkspan-record',
      'JWT',
    ].map((typ) => withHeader(headerOf({ typ }))),
    says: otherHeader,
  },
  {
    name: 'a key of another length',
    texts: [kid.slice(1), `${kid}A`, `${kid}=`, ''].map((other) => withHeader(headerOf({ kid: other }))),
    says: otherHeader,
  },
  {
    name: 'a key of other characters',
    texts: ['+', '/', '=', '.', ' ', '\\n'].map((character) =>
      withHeader(headerOf({ kid: character + kid.slice(1) })),
    ),
    says: otherHeader,
  },
  {
    name: 'a key that is spelt in another way',
    texts: tailsOf(kid).map((other) => withHeader(headerOf({ kid: other }))),
    says: otherHeader,
  },
  { name: 'no JSON in the header', texts: ['EdDSA', '\0', '[]'].map(withHeader), says: otherHeader },
]

for (const { name, texts, says } of cases) {
  void t.test(name, (t) => {
    t.ok(texts.length > 0)
    for (const text of texts) {
      const opened = open(text)
      t.match(
        'malformed' in opened ? opened.malformed : 'opened',
        says,
        JSON.stringify(Buffer.from(text).toString('latin1')),
      )
    }
    t.end()
  })
}

void t.test('a refused header says what it must be', (t) => {
  const opened = open(withHeader(headerOf({ alg: 'none' })))
  t.match(
    'malformed' in opened && opened.hint,
    /\{"alg":"EdDSA","typ":"linkspan-<type>","kid":"<public key>"\}, byte for byte/,
  )
  t.end()
})

void t.test('altered tails are what a careless reader would let through', (t) => {
  const kept = [tailsOf(head), tailsOf(body), tailsOf(tail), tailsOf(kid)].map(({ length }) => length)
  t.strictSame(kept, [15, 15, 15, 3], 'all of them are tried')
  for (const text of tailsOf(tail))
    t.strictSame(Buffer.from(text, 'base64url'), Buffer.from(tail, 'base64url'))
  t.end()
})
