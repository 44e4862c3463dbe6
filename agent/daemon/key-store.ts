/**
 * The gateway's secrets, under <state directory>/keys, mode 0700, each file 0600:
 *
 *   identity.pem       Ed25519 private key (PKCS#8): who this gateway is
 *   generation-<n>     32 random bytes: from them every tunnel key of generation n
 *
 * A device's private key is HKDF-SHA256(secret, "linkspan device <i>"), clamped (RFC 7748, section 5), so 64 devices need
 * one secret, which is deleted when the generation retires. Secrets leave this class only as privateKey(), for the driver.
 * No error text holds any.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, hkdfSync, randomBytes } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { constants } from 'node:fs'
import { mkdir, open, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { syncDirectory, writeAtomically } from '../atomic-file.ts'
import { errnoOf, LinkspanError } from '../errors.ts'
import { devices } from '../model/device.ts'
import type { Document, Voucher } from '../model/document.ts'
import { maxUnderlays, planes } from '../model/fabric.ts'
import { parsePublicKey } from '../model/key.ts'
import type { PublicKey } from '../model/key.ts'
import { sealDocument } from '../trust/parse.ts'
import { claimProof } from '../trust/voucher.ts'

const secretBytes = 32
/** DER of a PKCS#8 X25519 private key, up to the 32 raw bytes (RFC 8410, section 7). */
const x25519Header = Buffer.from('302e020100300506032b656e04220420', 'hex')

export class KeyStore {
  /** The gateway's Ed25519 public key, base64url of the raw 32 bytes. */
  readonly identity: string
  /** The newest generation. */
  readonly generation: number
  readonly #identity: KeyObject
  readonly #secrets: ReadonlyMap<number, Buffer>
  readonly #publicKeys = new Map<number, PublicKey>()

  private constructor(identity: KeyObject, secrets: ReadonlyMap<number, Buffer>) {
    this.#identity = identity
    this.identity = rawPublicKey(identity).toString('base64url')
    this.generation = Math.max(...secrets.keys())
    this.#secrets = secrets
  }

  /**
   * Opens the keys, and makes them at the first start. Throws `permission` where others could read them, and
   * `state-unreadable` where a file is damaged: keys are never made anew over existing ones.
   */
  static async open(stateDirectory: string): Promise<KeyStore> {
    const directory = join(stateDirectory, 'keys')
    await guarded(directory, async () => {
      await mkdir(stateDirectory, { recursive: true })
      await mkdir(directory, { mode: 0o700 }).catch((error: unknown) => {
        if (errnoOf(error) !== 'EEXIST') throw error
      })
    })
    return KeyStore.#load(directory, true)
  }

  /** Opens existing keys and writes nothing. Throws `state-unreadable` where there are none. */
  static async read(stateDirectory: string): Promise<KeyStore> {
    return KeyStore.#load(join(stateDirectory, 'keys'), false)
  }

  static async #load(directory: string, make: boolean): Promise<KeyStore> {
    await checkDirectory(directory)
    const names = await guarded(directory, () => readdir(directory))
    const identityFile = join(directory, 'identity.pem')
    const generations = names.flatMap((name) => {
      const number = /^generation-(0|[1-9][0-9]{0,8})$/.exec(name)?.[1]
      return number === undefined ? [] : [Number(number)]
    })
    const complete = names.includes('identity.pem') && generations.length > 0
    if (!complete && !make) {
      const next = 'the agent makes them at its first start'
      throw new LinkspanError({ code: 'state-unreadable', object: directory, reason: 'holds no keys', next })
    }
    if (!names.includes('identity.pem')) {
      const { privateKey } = generateKeyPairSync('ed25519')
      await save(identityFile, privateKey.export({ type: 'pkcs8', format: 'pem' }))
    }
    if (generations.length === 0) {
      await save(join(directory, 'generation-0'), randomBytes(secretBytes))
      generations.push(0)
    }
    if (!complete) await syncDirectory(directory)
    const identity = parseIdentity(identityFile, await readSecret(identityFile))
    const secrets = new Map<number, Buffer>()
    for (const generation of generations) {
      const file = join(directory, `generation-${generation}`)
      const secret = await readSecret(file)
      if (secret.length !== secretBytes)
        throw damaged(file, `is ${secret.length} bytes long, expected ${secretBytes}`)
      secrets.set(generation, secret)
    }
    return new KeyStore(identity, secrets)
  }

  /** A document as it travels, signed by the identity: our record, our request. */
  seal(document: Document): string {
    return sealDocument(document, this.#identity)
  }

  /** The identity's word that it claims this voucher. */
  claimProof({ fabric, gateway, key }: Voucher): string {
    return claimProof(fabric, gateway, key, this.#identity)
  }

  /** Public keys of the newest generation by device index: all 8 slots of the first `underlayCount` underlays (1-4). */
  tunnelKeys(underlayCount: number): Record<string, PublicKey> {
    const keys: Record<string, PublicKey> = {}
    for (let u = 0; u < Math.min(underlayCount, maxUnderlays); u++) {
      for (let slot = 0; slot < 2 * planes; slot++) {
        const index = 32 * (this.generation & 1) + 8 * u + slot
        keys[index] = this.publicKey(index)
      }
    }
    return keys
  }

  /** The public key of a device, 0-63. Throws where no generation kept has that device. */
  publicKey(deviceIndex: number): PublicKey {
    const known = this.#publicKeys.get(deviceIndex)
    if (known !== undefined) return known
    const pkcs8 = Buffer.concat([x25519Header, this.#scalar(deviceIndex)])
    const privateKey = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' })
    const publicKey = parsePublicKey(rawPublicKey(privateKey).toString('base64'))
    if (publicKey === undefined) throw new TypeError('X25519 made a public key of another form')
    this.#publicKeys.set(deviceIndex, publicKey)
    return publicKey
  }

  /** The private key of a device, base64, for the driver only. Throws as publicKey. */
  privateKey(deviceIndex: number): string {
    return this.#scalar(deviceIndex).toString('base64')
  }

  #scalar(deviceIndex: number): Buffer {
    if (!Number.isInteger(deviceIndex) || deviceIndex < 0 || deviceIndex >= devices) {
      throw new RangeError(`device ${deviceIndex}: expected 0 to ${devices - 1}`)
    }
    const parity = deviceIndex >> 5
    const generation = Math.max(
      ...[...this.#secrets.keys()].filter((candidate) => (candidate & 1) === parity),
    )
    const secret = this.#secrets.get(generation)
    if (secret === undefined)
      throw new RangeError(`device ${deviceIndex}: no key generation with this device is kept`)
    const scalar = Buffer.from(hkdfSync('sha256', secret, '', `linkspan device ${deviceIndex}`, 32))
    scalar.writeUInt8(scalar.readUInt8(0) & 248, 0)
    scalar.writeUInt8((scalar.readUInt8(31) & 127) | 64, 31)
    return scalar
  }
}

/** Raw 32 bytes of the public half of an Ed25519 or X25519 key. */
function rawPublicKey(key: KeyObject): Buffer {
  const { x } = createPublicKey(key).export({ format: 'jwk' })
  if (x === undefined) throw new TypeError('not an Ed25519 or X25519 key')
  return Buffer.from(x, 'base64url')
}

function parseIdentity(file: string, pem: Buffer): KeyObject {
  try {
    const key = createPrivateKey(pem)
    if (key.asymmetricKeyType === 'ed25519') return key
  } catch {
    // The cause is dropped on purpose: nothing about the content of a key file goes into an error.
  }
  throw damaged(file, 'is not an Ed25519 private key in PEM form')
}

async function save(file: string, secret: string | Buffer): Promise<void> {
  await guarded(file, () => writeAtomically(file, secret, 0o600))
}

async function checkDirectory(directory: string): Promise<void> {
  const stats = await guarded(directory, () => stat(directory))
  if (!stats.isDirectory()) throw damaged(directory, 'is not a directory')
  checkMode(directory, stats.mode, 0o700)
}

/** Reads a key file that only its owner may read. The mode is that of the opened file, not of a name that may change. */
async function readSecret(file: string): Promise<Buffer> {
  return guarded(file, async () => {
    const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    try {
      const stats = await handle.stat()
      if (!stats.isFile()) throw damaged(file, 'is not a regular file')
      checkMode(file, stats.mode, 0o600)
      if (stats.size > 4096) throw damaged(file, 'is too large for a key')
      return await handle.readFile()
    } finally {
      await handle.close()
    }
  })
}

function checkMode(path: string, mode: number, wanted: number): void {
  if ((mode & 0o077) === 0) return
  throw new LinkspanError({
    code: 'permission',
    object: path,
    reason: `has mode 0${(mode & 0o777).toString(8)}: others than its owner could read the keys`,
    next: `chmod ${wanted.toString(8)} ${path}; if others may have read it, make new keys`,
  })
}

function damaged(path: string, reason: string): LinkspanError {
  const next = 'restore it from a backup, or remove the keys directory and have the gateway certified anew'
  return new LinkspanError({ code: 'state-unreadable', object: path, reason, next })
}

async function guarded<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (error) {
    if (error instanceof LinkspanError) throw error
    const errno = errnoOf(error)
    const reason = `cannot be used: ${error instanceof Error ? error.message : String(error)}`
    const denied = errno === 'EACCES' || errno === 'EPERM'
    throw new LinkspanError(
      {
        code: denied ? 'permission' : 'state-unreadable',
        object: path,
        reason,
        ...(denied ? { next: 'run as root or as the user of the service' } : {}),
      },
      { cause: error },
    )
  }
}
