/**
 * The registry as the authority uses it: all of it read at once, single documents put. What kinds there are is known here
 * only. Nothing that a registry says is trusted; authority-book.ts checks it.
 */
import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { errnoOf, LinkspanError } from '../errors.ts'
import type { RegistryConfig } from '../model/config.ts'
import type { Bag, Signed } from '../model/document.ts'
import { errorReason } from '../registry/directory.ts'
import { documentName } from '../registry/document-name.ts'
import { documentPath } from '../registry/file.ts'
import type { Registry } from '../registry/port.ts'
import { openRegistry, readAll, registryText, writable } from './registry-driver.ts'

/** A document that is not taken in this time will not be, in ms. */
const putMs = 30_000

export interface AuthorityRegistry {
  /** As messages name it. */
  readonly place: string
  /** Throws `registry-unreadable` where nothing can be read. */
  read(): Promise<Bag>
  /** Puts a document in its place and answers that. */
  put(document: Signed, bytes: Uint8Array): Promise<string>
  /** Makes it where there is none, and answers true then. */
  create(): Promise<boolean>
}

/** Throws `usage` for a registry that cannot be written to. */
export function openAuthorityRegistry(named: RegistryConfig): AuthorityRegistry {
  const of = writable(named)
  const place = of.kind === 'file' ? of.directory : registryText(of)
  let opened: Promise<Registry> | undefined
  return {
    place,
    read: () => readAll(of),
    put: async (document, bytes) => {
      opened ??= openRegistry(of)
      const registry = await opened
      await registry.publish?.(bytes, AbortSignal.timeout(putMs))
      return of.kind === 'file'
        ? documentPath(of.directory, document)
        : `${of.prefix}/${documentName(document)}`
    },
    // Keys of etcd need no place to be made for them.
    create: () => (of.kind === 'file' ? makeDirectory(of.directory) : Promise.resolve(false)),
  }
}

/** The parent must be there: a mistyped path makes no tree. */
async function makeDirectory(directory: string): Promise<boolean> {
  try {
    await mkdir(directory)
    return true
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === 'EEXIST') return false
    if (errno !== 'ENOENT')
      throw new LinkspanError(errorReason(directory, error, 'cannot be made'), { cause: error })
    const reason = `neither it nor ${dirname(directory)} exists`
    const next = 'is the path right? only its last directory is made'
    throw new LinkspanError({ code: 'usage', object: directory, reason, next }, { cause: error })
  }
}
