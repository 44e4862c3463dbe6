/**
 * The gateway's secrets, under <state directory>/keys, mode 0700, each file 0600:
 *
 *   identity.pem       Ed25519 private key (PKCS#8): who this gateway is
 *   generation-<n>     32 random bytes: from them every tunnel key of generation n
 *   retiring-<n>       the same, of a generation that our record no longer offers
 *
 * A device's private key is HKDF-SHA256(secret, "linkspan device <i>"), clamped (RFC 7748, section 5), so 64 devices need
 * one secret, which is deleted when the generation retires. Secrets leave this class only as privateKey(), for the driver.
 * No error text holds any.
 *
 * A rotation is three steps, each one file operation that is on disk before the next begins, so that a crash between any two
 * of them leaves a state that the next start goes on from:
 *
 *   begin    generation-<n+1> is written      both are offered
 *   retire   generation-<n> ─▶ retiring-<n>   only the new one is offered; devices of the old one can still be made
 *   forget   retiring-<n> is deleted          once no device of ours needs it
 *
 * Two generations at most exist at a time, one odd and one even: that is what the device numbering has room for.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, hkdfSync, randomBytes } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { mkdir, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { syncDirectory } from '../atomic-file.ts'
import { errnoOf, LinkspanError } from '../errors.ts'
import { devices } from '../model/device.ts'
import type { Document, Voucher } from '../model/document.ts'
import { maxUnderlays, planes } from '../model/fabric.ts'
import { parsePublicKey } from '../model/key.ts'
import type { PublicKey } from '../model/key.ts'
import { sealDocument } from '../trust/parse.ts'
import { claimProof } from '../trust/voucher.ts'
import {
  checkDirectory,
  damaged,
  guarded,
  moveKey,
  readSecret,
  removeHalfWritten,
  removeKey,
  save,
} from './key-file.ts'

const secretBytes = 32
/** DER of a PKCS#8 X25519 private key, up to the 32 raw bytes (RFC 8410, section 7). */
const x25519Header = Buffer.from('302e020100300506032b656e04220420', 'hex')

/** A generation of tunnel keys. */
export interface Generation {
  readonly number: number
  /** Unix ms, as the clock then was. */
  readonly madeAtMs: number
}

interface Kept extends Generation {
  readonly secret: Buffer
  /** Our record offers it. */
  readonly isOffered: boolean
}

export class KeyStore {
  /** The gateway's Ed25519 public key, base64url of the raw 32 bytes. */
  readonly identity: string
  readonly #directory: string
  readonly #identity: KeyObject
  /** The newest, and while rotating the one before it. */
  #newest: Kept
  #older: Kept | undefined
  readonly #publicKeys = new Map<string, PublicKey>()

  private constructor(directory: string, identity: KeyObject, newest: Kept, older: Kept | undefined) {
    this.#directory = directory
    this.#identity = identity
    this.identity = rawPublicKey(identity).toString('base64url')
    this.#newest = newest
    this.#older = older
  }

  /** The newest generation. */
  get generation(): number {
    return this.#newest.number
  }

  get newest(): Generation {
    return { number: this.#newest.number, madeAtMs: this.#newest.madeAtMs }
  }

  /** The generation before the newest, while there is one. `isOffered`: peers may still use it. */
  get older(): (Generation & { readonly isOffered: boolean }) | undefined {
    if (this.#older === undefined) return undefined
    const { number, madeAtMs, isOffered } = this.#older
    return { number, madeAtMs, isOffered }
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
    if (make) await removeHalfWritten(directory)
    const names = await guarded(directory, () => readdir(directory))
    const identityFile = join(directory, 'identity.pem')
    const numbers = names.flatMap((name) => {
      const number = /^generation-(0|[1-9][0-9]{0,8})$/.exec(name)?.[1]
      return number === undefined ? [] : [Number(number)]
    })
    const complete = names.includes('identity.pem') && numbers.length > 0
    if (!complete && !make) {
      const next = 'the agent makes them at its first start'
      throw new LinkspanError({ code: 'state-unreadable', object: directory, reason: 'holds no keys', next })
    }
    if (!names.includes('identity.pem')) {
      const { privateKey } = generateKeyPairSync('ed25519')
      await save(identityFile, privateKey.export({ type: 'pkcs8', format: 'pem' }))
    }
    if (numbers.length === 0) {
      await save(join(directory, 'generation-0'), randomBytes(secretBytes))
      numbers.push(0)
    }
    if (!complete) await syncDirectory(directory)
    const identity = parseIdentity(identityFile, await readSecret(identityFile))
    const last = Math.max(...numbers)
    const newest = await readGeneration(directory, last, true)
    const isRotating = numbers.includes(last - 1)
    const isRetiring = !isRotating && names.includes(`retiring-${last - 1}`)
    const older = isRotating || isRetiring ? await readGeneration(directory, last - 1, isRotating) : undefined
    return new KeyStore(directory, identity, newest, older)
  }

  /**
   * Begins a rotation: a new generation beside the one there is. Throws `conflict` while there are two already, and
   * `state-unreadable` or `permission` where it cannot be kept; then nothing changed.
   */
  async begin(nowMs: number): Promise<void> {
    const older = this.#older
    if (older !== undefined) {
      const reason = `generation ${older.number} has not retired yet`
      throw new LinkspanError({ code: 'conflict', object: `generation ${this.generation + 1}`, reason })
    }
    const number = this.generation + 1
    const secret = randomBytes(secretBytes)
    await save(join(this.#directory, `generation-${number}`), secret)
    this.#older = this.#newest
    this.#newest = { number, madeAtMs: nowMs, secret, isOffered: true }
  }

  /** The older generation is offered no more. Nothing to do where there is none. Throws as begin. */
  async retire(): Promise<void> {
    const older = this.#older
    if (older?.isOffered !== true) return
    const { number } = older
    await moveKey(join(this.#directory, `generation-${number}`), join(this.#directory, `retiring-${number}`))
    this.#older = { ...older, isOffered: false }
  }

  /** Deletes the secret of a retired generation. Nothing to do where there is none. Throws as begin. */
  async forget(): Promise<void> {
    const older = this.#older
    if (older === undefined || older.isOffered) return
    await removeKey(join(this.#directory, `retiring-${older.number}`))
    this.#older = undefined
    older.secret.fill(0)
    for (const name of this.#publicKeys.keys()) {
      if (name.startsWith(`${older.number} `)) this.#publicKeys.delete(name)
    }
  }

  /** A document as it travels, signed by the identity: our record, our request. */
  seal(document: Document): string {
    return sealDocument(document, this.#identity)
  }

  /** The identity's word that it claims this voucher. */
  claimProof({ fabric, gateway, key }: Voucher): string {
    return claimProof(fabric, gateway, key, this.#identity)
  }

  /**
   * Public keys by device index of the generations that are offered: all 8 slots of the first `underlayCount` underlays
   * (1-4), for each of them.
   */
  tunnelKeys(underlayCount: number): Record<string, PublicKey> {
    const keys: Record<string, PublicKey> = {}
    for (const { number, isOffered } of [this.#newest, this.#older].filter((kept) => kept !== undefined)) {
      if (!isOffered) continue
      for (let u = 0; u < Math.min(underlayCount, maxUnderlays); u++) {
        for (let slot = 0; slot < 2 * planes; slot++) {
          const index = 32 * (number & 1) + 8 * u + slot
          keys[index] = this.publicKey(index)
        }
      }
    }
    return keys
  }

  /** The public key of a device, 0-63. Throws where no generation kept has that device. */
  publicKey(deviceIndex: number): PublicKey {
    const name = `${this.#keptFor(deviceIndex).number} ${deviceIndex}`
    const known = this.#publicKeys.get(name)
    if (known !== undefined) return known
    const pkcs8 = Buffer.concat([x25519Header, this.#scalar(deviceIndex)])
    const privateKey = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' })
    const publicKey = parsePublicKey(rawPublicKey(privateKey).toString('base64'))
    if (publicKey === undefined) throw new TypeError('X25519 made a public key of another form')
    this.#publicKeys.set(name, publicKey)
    return publicKey
  }

  /** The private key of a device, base64, for the driver only. Throws as publicKey. */
  privateKey(deviceIndex: number): string {
    return this.#scalar(deviceIndex).toString('base64')
  }

  #keptFor(deviceIndex: number): Kept {
    if (!Number.isInteger(deviceIndex) || deviceIndex < 0 || deviceIndex >= devices) {
      throw new RangeError(`device ${deviceIndex}: expected 0 to ${devices - 1}`)
    }
    const parity = deviceIndex >> 5
    if ((this.#newest.number & 1) === parity) return this.#newest
    if (this.#older !== undefined) return this.#older
    throw new RangeError(`device ${deviceIndex}: no key generation with this device is kept`)
  }

  #scalar(deviceIndex: number): Buffer {
    const { secret } = this.#keptFor(deviceIndex)
    const scalar = Buffer.from(hkdfSync('sha256', secret, '', `linkspan device ${deviceIndex}`, 32))
    scalar.writeUInt8(scalar.readUInt8(0) & 248, 0)
    scalar.writeUInt8((scalar.readUInt8(31) & 127) | 64, 31)
    return scalar
  }
}

async function readGeneration(directory: string, number: number, isOffered: boolean): Promise<Kept> {
  const file = join(directory, `${isOffered ? 'generation' : 'retiring'}-${number}`)
  const secret = await readSecret(file)
  if (secret.length !== secretBytes)
    throw damaged(file, `is ${secret.length} bytes long, expected ${secretBytes}`)
  const { mtimeMs } = await guarded(file, () => stat(file))
  return { number, madeAtMs: Math.round(mtimeMs), secret, isOffered }
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
