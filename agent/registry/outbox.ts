/**
 * A registry that a gateway can only read, and an outbox beside it. What the gateway has to say is laid into a directory of
 * its own, in the places of a file registry, for somebody to carry to where the registry is kept: without that nobody could
 * ask for a certificate behind a web server. Its documents are public, whatever umask the agent has.
 *
 * Of each place the newest is kept, so the outbox also tells, after a restart, what was laid down before.
 */
import { chmod, mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { LinkspanError } from '../errors.ts'
import type { Bag, Signed } from '../model/document.ts'
import { isRefusal, parseDocument } from '../trust/parse.ts'
import { errorReason, readDocument } from './directory.ts'
import { documentPath, writeDocument } from './file.ts'
import type { Outbox, Registry } from './port.ts'

export class OutboxRegistry implements Registry {
  readonly outbox: Outbox
  readonly #inner: Registry
  readonly #directory: string

  /** `directory` is made with the first document. */
  constructor(inner: Registry, directory: string) {
    this.#inner = inner
    this.#directory = directory
    this.outbox = {
      pathOf: (signed) => documentPath(directory, signed),
      read: (signed) => readOutbox(documentPath(directory, signed)),
    }
  }

  watch(signal: AbortSignal): AsyncIterable<Bag> {
    return this.#inner.watch(signal)
  }

  get latencyMs(): number | undefined {
    return this.#inner.latencyMs
  }

  /** Nothing is written where the same bytes are there already. Throws as writeDocument() does. */
  async publish(bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    const signed = parseDocument({ origin: 'the document to publish', bytes })
    if (isRefusal(signed)) throw new LinkspanError(signed)
    signal.throwIfAborted()
    const path = documentPath(this.#directory, signed)
    try {
      for (const directory of [this.#directory, dirname(path)]) {
        await mkdir(directory, { recursive: true })
        await chmod(directory, 0o755)
      }
    } catch (error) {
      throw new LinkspanError(errorReason(dirname(path), error, 'cannot be made'), { cause: error })
    }
    await writeDocument(this.#directory, signed, bytes)
    await chmod(path, 0o644)
  }
}

export function outboxDirectory(stateDirectory: string): string {
  return join(stateDirectory, 'outbox')
}

/** Undefined where nothing lies there that counts: what is damaged is written anew. */
export async function readOutbox(path: string): Promise<Signed | undefined> {
  const read = await readDocument(path)
  if (!('bytes' in read)) return undefined
  const signed = parseDocument({ origin: path, bytes: read.bytes })
  return isRefusal(signed) ? undefined : signed
}
