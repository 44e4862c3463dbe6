/**
 * The private keys of an authority: files `key-<public key>.pem` in its directory, 0600, PKCS#8, encrypted where there is a
 * passphrase. One at first; while the authority changes its key (rollover) there are two.
 *
 * A file is named by the public key, so which keys are held is known without a passphrase, and a second key never comes to
 * lie over a first one. Keys are made and read here and nowhere else, and never removed.
 */
import { randomBytes } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { constants } from 'node:fs'
import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { writeAtomically } from '../atomic-file.ts'
import { errnoOf, LinkspanError } from '../errors.ts'
import { kidOf, privateKeyOf } from '../trust/envelope.ts'
import { identityPattern } from '../trust/payload.ts'
import type { PassphraseSource } from './passphrase.ts'
import { withPassphrase } from './passphrase.ts'
import { isEncryptedPem, keyOfPem, pemOf } from './pkcs8.ts'

/** Nothing of a key file is longer. */
const maxBytes = 4096

export interface KeyFile {
  /** Public key, base64url. */
  readonly kid: string
  readonly path: string
}

/** Public keys whose private halves are here, in order. None where there is no directory. */
export async function keyFiles(directory: string): Promise<KeyFile[]> {
  let names: string[]
  try {
    names = await readdir(directory)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return []
    throw unusable(directory, error)
  }
  return names.sort().flatMap((name) => {
    const kid = /^key-(.{43})\.pem$/.exec(name)?.[1]
    return kid !== undefined && identityPattern.test(kid) ? [{ kid, path: join(directory, name) }] : []
  })
}

/** A new key, and the file that it will have. */
export function makeKey(directory: string): KeyFile & { readonly key: KeyObject } {
  const seed = randomBytes(32)
  // Not by generateKeyPairSync: in node 20 the export of such a key as JWK waits for ever for itself when the garbage
  // collector runs meanwhile and takes the job that made the key.
  const key = privateKeyOf(seed)
  seed.fill(0)
  const kid = kidOf(key)
  return { kid, path: join(directory, `key-${kid}.pem`), key }
}

/** Stores a key, encrypted where there is a passphrase. The directory exists. */
export async function writeKey(path: string, key: KeyObject, passphrase: Buffer | undefined): Promise<void> {
  try {
    await writeAtomically(path, pemOf(key, passphrase), 0o600)
  } catch (error) {
    throw unusable(path, error)
  }
}

/** Throws `permission` where others could read the file or the passphrase is wrong, `state-unreadable` for a damaged one. */
export async function readKey({ kid, path }: KeyFile, source: PassphraseSource): Promise<KeyObject> {
  const pem = await readFile(path)
  try {
    const opened = isEncryptedPem(pem.toString('latin1'))
      ? await withPassphrase(source, path, (passphrase) => keyOfPem(pem, passphrase))
      : keyOfPem(pem, undefined)
    if (opened === undefined) throw damaged(path, 'is no Ed25519 private key in PEM form')
    if (kidOf(opened) !== kid) throw damaged(path, 'holds another key than the one that it is named by')
    return opened
  } finally {
    pem.fill(0)
  }
}

export async function isEncrypted({ path }: KeyFile): Promise<boolean> {
  const pem = await readFile(path)
  const encrypted = isEncryptedPem(pem.toString('latin1'))
  pem.fill(0)
  return encrypted
}

async function readFile(path: string): Promise<Buffer> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      // The mode is that of the opened file, not of a name that may change.
      const stats = await file.stat()
      if (!stats.isFile() || stats.size > maxBytes) throw damaged(path, 'is no key file')
      if ((stats.mode & 0o077) !== 0) {
        const mode = (stats.mode & 0o777).toString(8)
        throw new LinkspanError({
          code: 'permission',
          object: path,
          reason: `has mode 0${mode}: others than its owner could read the authority's key`,
          next: `chmod 600 ${path}; if others may have read it, change the key: linkspan ca rollover`,
        })
      }
      return await file.readFile()
    } finally {
      await file.close()
    }
  } catch (error) {
    if (error instanceof LinkspanError) throw error
    throw unusable(path, error)
  }
}

function damaged(path: string, reason: string): LinkspanError {
  const next = 'restore it from a backup'
  return new LinkspanError({ code: 'state-unreadable', object: path, reason, next })
}

function unusable(path: string, error: unknown): LinkspanError {
  const denied = ['EACCES', 'EPERM', 'EROFS'].includes(errnoOf(error) ?? '')
  const reason = `cannot be used: ${error instanceof Error ? error.message : String(error)}`
  return new LinkspanError(
    { code: denied ? 'permission' : 'state-unreadable', object: path, reason },
    { cause: error },
  )
}
