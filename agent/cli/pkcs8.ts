/**
 * An Ed25519 private key as PKCS#8 in PEM form (RFC 8410), encrypted by a passphrase where there is one.
 *
 * Node's own export of an encrypted key derives it by 2,048 rounds of PBKDF2, which a graphics card tries a million times a
 * second. So the envelope is made here: PBES2 (RFC 8018) with scrypt (RFC 7914, section 7) and AES-256-CBC. 16 MiB and five
 * passes is what OWASP recommends and the most that OpenSSL takes without being told of a limit, so `openssl pkey` and
 * createPrivateKey() read the file as they read any other.
 */
import { createCipheriv, createPrivateKey, randomBytes, scryptSync } from 'node:crypto'
import type { KeyObject } from 'node:crypto'

const cost = { N: 16_384, r: 8, p: 5 } as const
const maxMemory = 64 * 1024 * 1024

/** Object identifiers, DER with tag and length. */
const pbes2 = Buffer.from('06092a864886f70d01050d', 'hex')
const scrypt = Buffer.from('06092b06010401da47040b', 'hex')
const aes256Cbc = Buffer.from('060960864801650304012a', 'hex')

/** The PEM text. `passphrase`: undefined for none, else at least one byte. */
export function pemOf(key: KeyObject, passphrase: Buffer | undefined): string {
  if (passphrase === undefined) return key.export({ type: 'pkcs8', format: 'pem' }).toString()
  const salt = randomBytes(16)
  const iv = randomBytes(16)
  const secret = scryptSync(passphrase, salt, 32, { ...cost, maxmem: maxMemory })
  const plain = key.export({ type: 'pkcs8', format: 'der' })
  const cipher = createCipheriv('aes-256-cbc', secret, iv)
  const sealed = Buffer.concat([cipher.update(plain), cipher.final()])
  secret.fill(0)
  plain.fill(0)
  const derivation = sequence(scrypt, sequence(octets(salt), ...Object.values(cost).map(integer)))
  const parameters = sequence(derivation, sequence(aes256Cbc, octets(iv)))
  const text = sequence(sequence(pbes2, parameters), octets(sealed)).toString('base64')
  const lines = text.match(/.{1,64}/g) ?? []
  return ['-----BEGIN ENCRYPTED PRIVATE KEY-----', ...lines, '-----END ENCRYPTED PRIVATE KEY-----', ''].join(
    '\n',
  )
}

export function isEncryptedPem(pem: string): boolean {
  return pem.includes('-----BEGIN ENCRYPTED PRIVATE KEY-----')
}

/** The Ed25519 key, or undefined: damaged, another kind of key, or another passphrase. Which one, nobody can tell. */
export function keyOfPem(pem: Buffer, passphrase: Buffer | undefined): KeyObject | undefined {
  try {
    const key = createPrivateKey(passphrase === undefined ? pem : { key: pem, passphrase })
    return key.asymmetricKeyType === 'ed25519' ? key : undefined
  } catch {
    // The cause is dropped on purpose: nothing about the content of a key file goes into an error.
    return undefined
  }
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts))
}

function octets(content: Buffer): Buffer {
  return der(0x04, content)
}

/** Positive, below 2^31. */
function integer(value: number): Buffer {
  const bytes = Buffer.alloc(5)
  bytes.writeUInt32BE(value, 1)
  // As short as may be, the first bit clear (X.690, section 8.3).
  const start = bytes.findIndex((byte, i) => i === 4 || byte !== 0)
  return der(0x02, bytes.subarray((bytes[start] ?? 0) < 0x80 ? start : start - 1))
}

function der(tag: number, content: Buffer): Buffer {
  const { length } = content
  const head =
    length < 0x80
      ? [tag, length]
      : length < 0x100
        ? [tag, 0x81, length]
        : [tag, 0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from(head), content])
}
