/**
 * The body of an answer, within limits: as it travels, and as it is when unpacked. A few kilobytes of gzip data can become
 * gigabytes, so what comes out is counted while it comes out. Pieces of a few bytes cost as much as pieces of kilobytes, so
 * they are counted, too. What does not even begin as a bundle is not read to its end.
 */
import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { Transform } from 'node:stream'
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

/** So many small pieces are nobody's bad luck. */
const manyPieces = 1000
const smallPiece = 64

/**
 * Why there is none, or the body; where it does not begin as a bundle, its beginning. `progress` is called for each piece
 * that arrives. Throws what the connection or the unpacking throws.
 */
export async function readBody(
  answer: IncomingMessage,
  mostBytes: number,
  progress: () => void,
): Promise<Body | Words> {
  const coding = (answer.headers['content-encoding'] ?? 'identity').trim().toLowerCase()
  const isPacked = coding === 'gzip' || coding === 'x-gzip'
  if (!isPacked && coding !== 'identity' && coding !== '') {
    return {
      reason: 'the body has a content coding other than gzip',
      next: 'let the server send it as it is',
    }
  }
  const content = new Content(mostBytes)
  if (Number(answer.headers['content-length'] ?? 0) > mostBytes) return content.tooLarge
  let arrived = 0
  let pieces = 0
  const arrival = new Transform({
    transform: (piece: Buffer, _, done) => {
      progress()
      arrived += piece.length
      pieces++
      if (arrived > mostBytes) content.fault = content.tooLarge
      else if (pieces > manyPieces && arrived < pieces * smallPiece) content.fault = crumbs
      done(content.isDone ? enough : null, piece)
    },
  })
  const into = async (unpacked: AsyncIterable<Buffer>): Promise<void> => {
    for await (const piece of unpacked) {
      content.add(piece)
      if (content.isDone) return
    }
  }
  try {
    if (isPacked) await pipeline(answer, arrival, createGunzip(), into)
    else await pipeline(answer, arrival, into)
  } catch (error) {
    // Not where it was us who turned away.
    if (!content.isDone) throw error
  }
  if (content.fault !== undefined) return content.fault
  return { ...content.take(), isPage: /^text\/html\b/i.test(answer.headers['content-type'] ?? '') }
}

const enough = new Error('no more is wanted')
const crumbs: Words = {
  reason: 'sends the body in very small pieces',
  next: 'the server, or a proxy before it, is at fault',
}

/** A buffer that grows: a list of pieces would cost more memory than what is in them. */
class Content {
  readonly tooLarge: Words
  fault: Words | undefined
  readonly #most: number
  readonly #hash = createHash('sha256')
  #buffer = Buffer.allocUnsafeSlow(64 * 1024)
  #length = 0
  #isStranger = false

  constructor(most: number) {
    this.#most = most
    this.tooLarge = { reason: `the body is larger than ${most} bytes`, next: 'does the URL name the bundle?' }
  }

  /** No more is wanted. */
  get isDone(): boolean {
    return this.fault !== undefined || this.#isStranger
  }

  add(piece: Buffer): void {
    const length = this.#length + piece.length
    if (length > this.#most) {
      this.fault = this.tooLarge
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

  take(): { readonly bytes: Buffer; readonly digest: string } {
    return { bytes: this.#buffer.subarray(0, this.#length), digest: this.#hash.digest('base64') }
  }
}
