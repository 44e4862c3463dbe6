/**
 * The body of an answer, within limits: as it travels, and as it is when unpacked. A few kilobytes of gzip data can become
 * gigabytes, so what comes out is counted while it comes out. What does not even begin as a bundle is not read to its end.
 */
import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { beginsAsBundle, headerBytes } from './bundle.ts'
import type { Words } from './https-fault.ts'

export interface Body {
  readonly bytes: Buffer
  /** SHA-256, base64. */
  readonly digest: string
  /** It is called a web page. */
  readonly isPage: boolean
}

/**
 * Why there is none, or the body; where it does not begin as a bundle, its beginning. `progress` is called for each piece that
 * arrives. Throws what the connection or the unpacking throws.
 */
export async function readBody(
  answer: IncomingMessage,
  mostBytes: number,
  progress: () => void,
): Promise<Body | Words> {
  const tooLarge: Words = {
    reason: `the body is larger than ${mostBytes} bytes`,
    next: 'does the URL name the bundle?',
  }
  const coding = (answer.headers['content-encoding'] ?? 'identity').trim().toLowerCase()
  const isPacked = coding === 'gzip' || coding === 'x-gzip'
  if (!isPacked && coding !== 'identity' && coding !== '') {
    return {
      reason: 'the body has a content coding other than gzip',
      next: 'let the server send it as it is',
    }
  }
  if (Number(answer.headers['content-length'] ?? 0) > mostBytes) return tooLarge
  const content = new Content(mostBytes)
  let arrived = 0
  const arriving = async function* (pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const piece of pieces) {
      progress()
      arrived += piece.length
      if (arrived > mostBytes) content.overflow()
      if (content.isDone) return
      yield piece
    }
  }
  const into = async (pieces: AsyncIterable<Buffer>): Promise<void> => {
    for await (const piece of pieces) {
      content.add(piece)
      if (content.isDone) return
    }
  }
  try {
    if (isPacked) await pipeline(answer, arriving, createGunzip(), into)
    else await into(arriving(answer))
  } catch (error) {
    // We turned away from it.
    if (!content.isDone) throw error
  }
  if (content.isOverfull) return tooLarge
  return { ...content.take(), isPage: /^text\/html\b/i.test(answer.headers['content-type'] ?? '') }
}

/** A buffer that grows; a list of pieces would let a server that sends single bytes fill the memory with them. */
class Content {
  readonly #most: number
  readonly #hash = createHash('sha256')
  #buffer = Buffer.allocUnsafeSlow(64 * 1024)
  #length = 0
  #isOverfull = false
  #isStranger = false

  constructor(most: number) {
    this.#most = most
  }

  /** No more is wanted. */
  get isDone(): boolean {
    return this.#isOverfull || this.#isStranger
  }

  get isOverfull(): boolean {
    return this.#isOverfull
  }

  overflow(): void {
    this.#isOverfull = true
  }

  add(piece: Buffer): void {
    const length = this.#length + piece.length
    if (length > this.#most) {
      this.#isOverfull = true
      return
    }
    if (length > this.#buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(length, this.#buffer.length * 2))
      this.#buffer.copy(larger, 0, 0, this.#length)
      this.#buffer = larger
    }
    piece.copy(this.#buffer, this.#length)
    this.#hash.update(piece)
    if (this.#length < headerBytes && length >= headerBytes) this.#isStranger = !beginsAsBundle(this.#buffer)
    this.#length = length
  }

  take(): Omit<Body, 'isPage'> {
    return { bytes: this.#buffer.subarray(0, this.#length), digest: this.#hash.digest('base64') }
  }
}
