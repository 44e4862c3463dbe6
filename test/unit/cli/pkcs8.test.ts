/** Key files: what can be read again, by whom, and what it costs to guess. */
import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import { isEncryptedPem, keyOfPem, pemOf } from '../../../agent/cli/pkcs8.ts'
import { kidOf } from '../../../agent/trust/envelope.ts'
import { keyOf } from '../../support/documents.ts'

const key = keyOf('pkcs8')
const words = Buffer.from('correct horse')

void t.test('without a passphrase', (t) => {
  const pem = pemOf(key, undefined)
  t.notOk(isEncryptedPem(pem))
  t.equal(kidOf(keyOfPem(Buffer.from(pem), undefined)!), kidOf(key))
  t.end()
})

void t.test('with one', (t) => {
  const pem = pemOf(key, words)
  t.ok(isEncryptedPem(pem))
  t.match(
    pem,
    /^-----BEGIN ENCRYPTED PRIVATE KEY-----\n[A-Za-z0-9+/=\n]+-----END ENCRYPTED PRIVATE KEY-----\n$/,
  )
  t.ok(pem.split('\n').every((line) => line.length <= 64))
  t.equal(kidOf(keyOfPem(Buffer.from(pem), words)!), kidOf(key))
  t.equal(
    kidOf(createPrivateKey({ key: pem, passphrase: 'correct horse' })),
    kidOf(key),
    'as any program reads it',
  )
  t.equal(keyOfPem(Buffer.from(pem), Buffer.from('correct house')), undefined)
  t.equal(keyOfPem(Buffer.from(pem), undefined), undefined)
  t.not(pemOf(key, words), pem, 'salted')
  t.end()
})

void t.test('a guess costs scrypt, and 16 MiB', (t) => {
  const der = Buffer.from(pemOf(key, words).replace(/-----.*-----|\n/g, ''), 'base64').toString('hex')
  t.match(der, '06092a864886f70d01050d', 'PBES2')
  t.match(der, '06092b06010401da47040b', 'scrypt')
  t.match(der, '02024000020108020105', 'N 16384, r 8, p 5')
  t.notMatch(der, '06092a864886f70d01050c', 'not PBKDF2')
  t.end()
})

void t.test('what is no key of ours', (t) => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  t.equal(keyOfPem(Buffer.from(privateKey.export({ type: 'pkcs8', format: 'pem' })), undefined), undefined)
  const pem = pemOf(key, words)
  for (const wrong of ['', 'x', pem.slice(0, 100), pem.replace(/[A-D]/g, 'E')]) {
    t.equal(keyOfPem(Buffer.from(wrong), words), undefined)
  }
  t.end()
})
