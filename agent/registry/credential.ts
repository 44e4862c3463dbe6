/**
 * What a request proves itself with, and what the server is checked against: files that are looked at before each request,
 * so that a renewed certificate or token counts at once. What they hold stays here: it goes into the TLS context and into the
 * one header, and into no message.
 */
import { X509Certificate } from 'node:crypto'
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import type { SecureContext } from 'node:tls'
import { errnoOf, LinkspanError } from '../errors.ts'

export interface CredentialFiles {
  /** Certificates (PEM) of the authorities that may vouch for the server, instead of the well-known ones. */
  readonly ca?: string
  /** Client certificate (PEM), with its chain; `key` goes with it. */
  readonly certificate?: string
  /** Its private key (PEM). */
  readonly key?: string
  /** Bearer token (RFC 6750), on a line of its own. */
  readonly token?: string
}

export interface Credentials {
  /** For the server that the configuration names. */
  readonly own: SecureContext
  /** For others that it redirects to: without the client certificate. */
  readonly anonymous: SecureContext
  /** The header for the server that the configuration names. */
  readonly authorization?: string
}

const maxFileBytes = 1024 * 1024
const fields = ['ca', 'certificate', 'key', 'token'] as const

type Contents = { readonly [F in (typeof fields)[number]]?: Buffer }

export class CredentialStore {
  readonly #files: CredentialFiles
  #read: Contents = {}
  #credentials: Credentials | undefined

  constructor(files: CredentialFiles) {
    this.#files = files
  }

  /** Throws `registry-unreadable` or `permission` with the file that is missing or wrong. */
  async current(): Promise<Credentials> {
    const read = await this.#contents()
    const isSame = fields.every((field) => (read[field] ?? none).equals(this.#read[field] ?? none))
    if (this.#credentials === undefined || !isSame) {
      // In this order: what could not be used must be looked at again the next time.
      this.#credentials = undefined
      this.#credentials = this.#make(read)
      this.#read = read
    }
    return this.#credentials
  }

  async #contents(): Promise<Contents> {
    const pairs = fields.map(async (field) => {
      const path = this.#files[field]
      return path === undefined ? [] : [[field, await contentOf(path)] as const]
    })
    return Object.fromEntries((await Promise.all(pairs)).flat())
  }

  #make({ ca, certificate, key, token }: Contents): Credentials {
    const { ca: caFile, certificate: certificateFile, token: tokenFile } = this.#files
    if (ca !== undefined) checkCertificates(caFile ?? '', ca)
    if (certificate !== undefined) checkCertificates(certificateFile ?? '', certificate)
    const trust = { minVersion: 'TLSv1.2', ...(ca === undefined ? {} : { ca }) } as const
    const anonymous = createSecureContext(trust)
    let own = anonymous
    if (certificate !== undefined && key !== undefined) {
      try {
        own = createSecureContext({ ...trust, cert: certificate, key })
      } catch (error) {
        // The code alone: nothing that may be of the key.
        const reason = `cannot be used with its key: ${codeOf(error)}`
        throw unusable(
          certificateFile ?? '',
          reason,
          'do the two belong together, the key without passphrase?',
        )
      }
    }
    if (token === undefined) return { own, anonymous }
    const text = token.toString('latin1').trim()
    if (!/^[\w.~+/-]{1,8192}=*$/.test(text))
      throw unusable(
        tokenFile ?? '',
        'holds no bearer token',
        'expected letters, digits and -._~+/ on one line',
      )
    return { own, anonymous, authorization: `Bearer ${text}` }
  }
}

const none = Buffer.alloc(0)

function checkCertificates(path: string, pem: Buffer): void {
  const blocks = pem.toString('latin1').match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g)
  // createSecureContext() takes a file without any for an authority that nobody has.
  if (blocks === null)
    throw unusable(path, 'holds no certificate', 'expected PEM: -----BEGIN CERTIFICATE-----')
  for (const [i, block] of blocks.entries()) {
    try {
      new X509Certificate(block)
    } catch {
      throw unusable(
        path,
        `certificate ${i + 1} of ${blocks.length} in it cannot be read`,
        'write the file anew',
      )
    }
  }
}

async function contentOf(path: string): Promise<Buffer> {
  try {
    // Not blocking: opening a FIFO would wait for a writer.
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      const stats = await file.stat()
      if (!stats.isFile()) throw unusable(path, 'is not a regular file', 'name a regular file')
      if (stats.size > maxFileBytes)
        throw unusable(path, `is larger than ${maxFileBytes} bytes`, 'is it the right file?')
      return await file.readFile()
    } finally {
      await file.close()
    }
  } catch (error) {
    if (error instanceof LinkspanError) throw error
    const errno = codeOf(error)
    const reason = `cannot be read: ${errno}`
    if (errno !== 'EACCES' && errno !== 'EPERM') throw unusable(path, reason, 'is its path right?')
    throw new LinkspanError({
      code: 'permission',
      object: path,
      reason,
      next: 'give linkspan the right to it',
    })
  }
}

function codeOf(error: unknown): string {
  return errnoOf(error) ?? 'unknown error'
}

function unusable(object: string, reason: string, next: string): LinkspanError {
  return new LinkspanError({ code: 'registry-unreadable', object, reason, next })
}
