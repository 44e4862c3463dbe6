/**
 * The registry as the authority uses it: all of it read at once, single documents put. What kinds there are is known here
 * only. Nothing that a registry says is trusted; authority-book.ts checks it.
 */
import { mkdir } from 'node:fs/promises'
import { dirname, isAbsolute, resolve } from 'node:path'
import { LinkspanError } from '../errors.ts'
import type { Bag, Signed } from '../model/document.ts'
import { errorReason } from '../registry/directory.ts'
import { readRegistry, writeDocument } from '../registry/file.ts'
import { pathOfUrl } from './file-url.ts'

export interface AuthorityRegistry {
  /** As messages and the authority's state name it. */
  readonly place: string
  /** Throws `registry-unreadable` where nothing can be read. */
  read(): Promise<Bag>
  /** Puts a document in its place and answers that. */
  put(document: Signed, bytes: Uint8Array): Promise<string>
  /** Makes it where there is none, and answers true then. */
  create(): Promise<boolean>
}

/** `place`: as placeOf answers it. */
export function openRegistry(place: string): AuthorityRegistry {
  return {
    place,
    read: () => readRegistry(place),
    put: (document, bytes) => writeDocument(place, document, bytes),
    create: () => makeDirectory(place),
  }
}

/** The parent must be there: a mistyped path makes no tree. */
async function makeDirectory(directory: string): Promise<boolean> {
  try {
    await mkdir(directory)
    return true
  } catch (error) {
    const errno = error instanceof Error && 'code' in error ? error.code : undefined
    if (errno === 'EEXIST') return false
    if (errno !== 'ENOENT')
      throw new LinkspanError(errorReason(directory, error, 'cannot be made'), { cause: error })
    const reason = `neither it nor ${dirname(directory)} exists`
    const next = 'is the path right? only its last directory is made'
    throw new LinkspanError({ code: 'usage', object: directory, reason, next }, { cause: error })
  }
}

/** The registry that `--registry` names: the directory, absolute. Throws `usage` for what there is no driver for. */
export function placeOf(given: string): string {
  const refuse = (reason: string): LinkspanError => {
    const next = 'give a directory or file:///DIRECTORY'
    return new LinkspanError({ code: 'usage', object: '--registry', reason: `"${given}" ${reason}`, next })
  }
  if (/^file:/i.test(given)) {
    const at = pathOfUrl(given)
    if ('path' in at) return at.path
    throw refuse(at.malformed)
  }
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(given)) throw refuse('is not supported yet')
  return isAbsolute(given) ? given : resolve(given)
}
