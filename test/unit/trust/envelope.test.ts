/** The envelope: what is sealed opens again and nothing else does, as RFC 7515 and RFC 8037 have it. */
import { generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import {
  digestOf,
  envelopeBytes,
  isAuthentic,
  isAuthenticLater,
  kidOf,
  looksWhole,
  openEnvelope,
  privateKeyOf,
  seal,
} from '../../../agent/trust/envelope.ts'
import type { Envelope } from '../../../agent/trust/envelope.ts'
import { keyOf } from '../../support/documents.ts'
import {
  body,
  encode,
  head,
  headerOf,
  key,
  kid,
  payload,
  signedParts,
  tail,
  whole,
} from '../../support/jws.ts'

function envelopeOf(text: string | Uint8Array): Envelope {
  const opened = openEnvelope(Buffer.from(text))
  if ('malformed' in opened) throw new Error(opened.malformed)
  return opened
}

void t.test('a signature is for one document and by one key', async (t) => {
  const good = envelopeOf(whole)
  t.equal(isAuthentic(good), true)
  t.equal(await isAuthenticLater(good), true)
  const other = keyOf('somebody else')
  const wrong = {
    'of another payload': `${head}.${encode('{"a":2}')}.${tail}`,
    'of another type': `${encode(headerOf({ typ: 'linkspan-fabric' }))}.${body}.${tail}`,
    'of the same by another': `${encode(headerOf({ kid: kidOf(other) }))}.${body}.${tail}`,
    'by another key than the one named': signedParts(head, body, other),
    'of the payload alone': `${head}.${body}.${encode(sign(null, Buffer.from(payload), key))}`,
    'of the text with its line feed': `${head}.${body}.${encode(sign(null, Buffer.from(`${head}.${body}\n`), key))}`,
    zero: `${head}.${body}.${'A'.repeat(86)}`,
  }
  for (const [name, text] of Object.entries(wrong)) {
    t.equal(isAuthentic(envelopeOf(text)), false, name)
    t.equal(await isAuthenticLater(envelopeOf(text)), false, `${name}, on the thread pool`)
  }
  // RFC 8032, section 5.1.7: S is below the order of the group, else every signature had a second one.
  const order = 2n ** 252n + 27742317777372353535851937790883648493n
  const signature = Buffer.from(tail, 'base64url')
  const s = BigInt(`0x${Buffer.from(signature.subarray(32)).reverse().toString('hex')}`) + order
  const second = Buffer.concat([
    signature.subarray(0, 32),
    Buffer.from(s.toString(16).padStart(64, '0'), 'hex').reverse(),
  ])
  t.equal(
    isAuthentic(envelopeOf(`${head}.${body}.${encode(second)}`)),
    false,
    'no second signature is made of one',
  )
})

void t.test('one flipped bit in any part', (t) => {
  const text = Buffer.from(whole)
  let forged = 0
  for (let bit = 0; bit < 8 * text.length; bit++) {
    const altered = Buffer.from(text)
    altered.writeUInt8(altered.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
    const opened = openEnvelope(altered)
    if ('malformed' in opened) continue
    forged++
    if (isAuthentic(opened)) t.fail(`bit ${bit} does not matter`)
  }
  t.ok(forged > 100, `${forged} of them have the form of an envelope`)
  t.end()
})

void t.test('a name that is no key is nobody, and no crash', async (t) => {
  for (let i = 0; i < 64; i++) {
    const nobody = `${encode(headerOf({ kid: randomBytes(32).toString('base64url') }))}.${body}.${tail}`
    t.equal(isAuthentic(envelopeOf(nobody)), false)
    t.equal(await isAuthenticLater(envelopeOf(nobody)), false)
  }
})

void t.test('sealed and opened again', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.stringMatching(/^[a-z]{1,16}$/),
      fc.uint8Array({ minLength: 1, maxLength: 200 }),
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      async (type, content, seed) => {
        const signer = privateKeyOf(seed)
        const text = seal(type, content, signer)
        if (!/^[\w-]+\.[\w-]+\.[\w-]{86}\n$/.test(text)) return false
        if (text.length > envelopeBytes(content.length)) return false
        for (const each of [text, text.trimEnd()]) {
          const opened = envelopeOf(each)
          if (opened.type !== type || opened.kid !== kidOf(signer) || !opened.payload.equals(content))
            return false
          if (!isAuthentic(opened) || !(await isAuthenticLater(opened))) return false
        }
        return seal(type, content, signer) === text
      },
    ),
  )
  t.pass('the same')
})

void t.test('part of a larger buffer', (t) => {
  const around = Buffer.concat([Buffer.from('before.'), Buffer.from(whole), Buffer.from('.behind')])
  const opened = openEnvelope(around.subarray(7, 7 + whole.length))
  t.match(opened, { type: 'record', kid })
  t.end()
})

void t.test('as anybody else would make it', (t) => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const { x } = publicKey.export({ format: 'jwk' })
  const header = `{"alg":"EdDSA","typ":"linkspan-certificate","kid":"${x ?? ''}"}`
  const input = `${Buffer.from(header).toString('base64url')}.${Buffer.from(payload).toString('base64url')}`
  const signature = sign(null, Buffer.from(input), privateKey)
  t.equal(seal('certificate', payload, privateKey), `${input}.${signature.toString('base64url')}\n`)
  const opened = envelopeOf(seal('certificate', payload, privateKey))
  t.strictSame(opened, {
    type: 'certificate',
    kid: x,
    input: Buffer.from(input),
    payload: Buffer.from(payload),
    signature,
  })
  t.equal(verify(null, opened.input, publicKey, opened.signature), true)
  t.equal(
    digestOf(Buffer.from('abc')),
    'ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=',
    'SHA-256 (FIPS 180-4)',
  )
  t.end()
})

void t.test('known answers (RFC 8037, appendix A)', (t) => {
  // A.1 and A.2: the key; A.4: header, payload and signature.
  const d = Buffer.from('nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A', 'base64url')
  const x = '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo'
  const input = 'eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc'
  const signature = 'hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg'
  t.equal(Buffer.from(input.split('.')[1] ?? '', 'base64url').toString(), 'Example of Ed25519 signing')
  const known = privateKeyOf(d)
  t.equal(kidOf(known), x)
  t.equal(
    Buffer.from(x, 'base64url').toString('hex'),
    'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
  )
  const thumbprint = digestOf(Buffer.from(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`))
  t.equal(
    Buffer.from(thumbprint, 'base64').toString('base64url'),
    'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k',
  )
  t.not(kidOf(known), thumbprint, 'a key is named by the x of its JWK, not by the thumbprint of A.3')
  t.equal(sign(null, Buffer.from(input), known).toString('base64url'), signature)
  const envelope = {
    type: 'record',
    kid: x,
    input: Buffer.from(input),
    payload: d,
    signature: Buffer.from(signature, 'base64url'),
  }
  t.equal(isAuthentic(envelope), true)
  t.equal(isAuthentic({ ...envelope, input: Buffer.from(`${input}A`) }), false)
  const opened = openEnvelope(Buffer.from(`${input}.${signature}`))
  t.match(
    'malformed' in opened && opened.malformed,
    /header of another form/,
    'well signed, and none of our documents',
  )
  t.end()
})

void t.test('keys', (t) => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  t.equal(kidOf(publicKey), kidOf(privateKey))
  t.match(kidOf(publicKey), /^[\w-]{43}$/)
  t.throws(() => kidOf(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey), TypeError)
  t.throws(() => privateKeyOf(Buffer.alloc(31)))
  t.end()
})

void t.test('what a file that is being written looks like', (t) => {
  for (const text of [whole, whole.trimEnd(), seal('fabric', randomBytes(1000), key)]) {
    const written = Buffer.from(text)
    t.equal(looksWhole(written), true)
    const early: number[] = []
    for (let length = 0; length < text.trimEnd().length; length++) {
      if (looksWhole(written.subarray(0, length))) early.push(length)
    }
    t.strictSame(early, [], 'no beginning of it looks whole')
  }
  const payloadOf86 = `${head}.${'A'.repeat(86)}`
  for (const text of [
    '',
    '\n',
    '.',
    '..',
    '{}',
    payloadOf86,
    `${payloadOf86}\n`,
    `.${tail}`,
    `${whole}${whole}x`,
  ]) {
    t.equal(looksWhole(Buffer.from(text)), false, JSON.stringify(text))
  }
  t.equal(
    looksWhole(Buffer.from(`x.${body}.${tail}`)),
    true,
    'whether it is a document is for the parser to say',
  )
  t.end()
})

void t.test('what a registry must let through', (t) => {
  for (const size of [1, 2, 3, 65_536]) {
    const text = seal('abcdefghijklmnop', 'x'.repeat(size), key)
    t.ok(text.length <= envelopeBytes(size))
    t.ok(text.length > envelopeBytes(size) - 32, 'and hardly more')
  }
  t.end()
})
