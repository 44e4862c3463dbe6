/**
 * The secret half of a voucher's key on its way to a gateway: an Ed25519 private key, PKCS#8 in PEM form, in a file that only
 * its owner can read. The authority's machine writes it, cloud-init puts it on the gateway, the agent reads it at its start.
 * It never goes into arguments, the environment or a log.
 */
import type { KeyObject } from 'node:crypto'
import { constants } from 'node:fs'
import { open, unlink } from 'node:fs/promises'
import { errnoOf, LinkspanError } from '../errors.ts'
import type { VoucherKey } from '../daemon/announce.ts'
import { kidOf } from '../trust/envelope.ts'
import { sealDocument } from '../trust/parse.ts'
import { keyOfPem, pemOf } from './pkcs8.ts'

const maxBytes = 4096

/** As it travels. */
export function voucherText(key: KeyObject): string {
  return pemOf(key, undefined)
}

/** Writes a new file. Throws `conflict` where there is one, `permission` where it cannot be made. */
export async function writeVoucher(path: string, key: KeyObject): Promise<void> {
  const refuse = (code: 'conflict' | 'permission', reason: string, error: unknown): LinkspanError =>
    new LinkspanError({ code, object: path, reason, next: 'name another file: --out FILE' }, { cause: error })
  try {
    const file = await open(path, 'wx', 0o600)
    try {
      await file.writeFile(voucherText(key))
      await file.sync()
    } catch (error) {
      await unlink(path)
      throw error
    } finally {
      await file.close()
    }
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') throw refuse('conflict', 'is there already', error)
    throw refuse('permission', `cannot be made: ${messageOf(error)}`, error)
  }
}

/**
 * The key in a file; undefined where there is no file. Throws `permission` where others could read it, `config-invalid`
 * where it holds no key.
 */
export async function readVoucher(path: string): Promise<VoucherKey | undefined> {
  const refuse = (code: 'permission' | 'config-invalid', reason: string, next: string): LinkspanError =>
    new LinkspanError({ code, object: path, reason, next })
  const again = 'put the file there that `linkspan ca voucher` wrote, and restart the agent'
  let pem: Buffer
  try {
    // Not blocking: opening a FIFO would wait for a writer.
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      // The mode is that of the opened file, not of a name that may change.
      const stats = await file.stat()
      if (!stats.isFile() || stats.size > maxBytes) throw refuse('config-invalid', 'is no key file', again)
      if ((stats.mode & 0o077) !== 0) {
        const reason = `has mode 0${(stats.mode & 0o777).toString(8)}: others than its owner could read the key`
        throw refuse('permission', reason, `chmod 600 ${path}, and restart the agent`)
      }
      pem = await file.readFile()
    } finally {
      await file.close()
    }
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    if (error instanceof LinkspanError) throw error
    throw refuse('permission', `cannot be read: ${messageOf(error)}`, again)
  }
  const key = keyOfPem(pem, undefined)
  pem.fill(0)
  if (key === undefined) throw refuse('config-invalid', 'is no Ed25519 private key in PEM form', again)
  return { file: path, key: kidOf(key), seal: (document) => sealDocument(document, key) }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
