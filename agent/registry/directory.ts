/**
 * Reading a registry directory: which files count, how large they may be, and what to say of those that cannot be read.
 */
import { constants } from 'node:fs'
import type { BigIntStats } from 'node:fs'
import { lstat, open, readdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { errnoOf } from '../errors.ts'
import type { Reason } from '../errors.ts'
import { maxDocumentBytes, maxFabricBytes } from '../model/document.ts'
import { envelopeBytes } from '../trust/envelope.ts'

export const folders = ['authority', 'certificates', 'vouchers', 'claims', 'records', 'requests'] as const

export interface Listing {
  /** False where the registry's directory itself cannot be read. */
  readonly readable: boolean
  /** Path -> stamp: changes when the file does. */
  readonly files: ReadonlyMap<string, string>
  readonly unreadable: readonly Reason[]
}

/** Temporary files of editors, of rsync and of our own writes are no documents. */
export function isDocumentName(name: string): boolean {
  return name.endsWith('.jws') && !name.startsWith('.') && !name.startsWith('#')
}

export async function listRegistry(directory: string): Promise<Listing> {
  const files = new Map<string, string>()
  const unreadable: Reason[] = []
  const root = await namesOf(directory)
  if (!Array.isArray(root)) return { readable: false, files, unreadable: [root] }
  const inFolders = new Map<string, readonly string[]>()
  for (const folder of folders) {
    // A registry that holds no certificate yet has no such folder.
    if (!root.includes(folder)) continue
    const path = join(directory, folder)
    const names = await namesOf(path)
    if (Array.isArray(names)) inFolders.set(path, names)
    else unreadable.push(names)
  }
  // As they are asked for: anybody may make a hundred thousand files.
  const queue = (function* paths(): Generator<string> {
    if (root.includes('fabric.jws')) yield join(directory, 'fabric.jws')
    for (const [folder, names] of inFolders)
      for (const name of names) if (isDocumentName(name)) yield `${folder}/${name}`
  })()
  const worker = async (): Promise<void> => {
    for (const path of queue) {
      try {
        files.set(path, stampOf(await stat(path, { bigint: true })))
      } catch (error) {
        // Gone since the listing: not there. A dangling link is there and cannot be read.
        if ((await missingPart(path)) !== 'file') unreadable.push(errorReason(path, error, 'cannot be read'))
      }
    }
  }
  await Promise.all(Array.from({ length: 16 }, worker))
  return { readable: true, files, unreadable: unreadable.sort((a, b) => (a.object < b.object ? -1 : 1)) }
}

export type ReadResult =
  | { readonly bytes: Uint8Array; readonly stamp: string }
  /** `folder`: the directory it was in is not there either, so only a listing tells what that means. */
  | { readonly missing: 'file' | 'folder' }
  | Reason

/** One file, if it is a regular one of allowed size. */
export async function readDocument(path: string): Promise<ReadResult> {
  const most = envelopeBytes(path.endsWith('/fabric.jws') ? maxFabricBytes : maxDocumentBytes)
  try {
    // Not blocking: opening a FIFO would wait for a writer.
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      const stats = await file.stat({ bigint: true })
      if (!stats.isFile()) return unreadable(path, 'is not a regular file', 'delete it')
      if (stats.size > BigInt(most)) {
        return unreadable(
          path,
          `is ${stats.size.toString()} bytes long, expected at most ${most}`,
          'delete it',
        )
      }
      // One byte more than allowed: the file may have grown since.
      const buffer = new Uint8Array(Math.min(Number(stats.size), most) + 1)
      let length = 0
      while (length < buffer.length) {
        const { bytesRead } = await file.read(buffer, length, buffer.length - length, length)
        if (bytesRead === 0) break
        length += bytesRead
      }
      return { bytes: buffer.subarray(0, length), stamp: stampOf(stats) }
    } finally {
      await file.close()
    }
  } catch (error) {
    const missing = await missingPart(path)
    return missing !== undefined ? { missing } : errorReason(path, error, 'cannot be read')
  }
}

export function errorReason(path: string, error: unknown, what: string): Reason {
  const errno = errnoOf(error)
  const why = error instanceof Error ? error.message : String(error)
  const denied = errno === 'EACCES' || errno === 'EPERM'
  return {
    code: denied ? 'permission' : 'registry-unreadable',
    object: path,
    reason: `${what}: ${why}`,
    ...(errno === 'ENOENT' ? { next: 'is the registry mounted, and its path right?' } : {}),
    ...(denied ? { next: 'give linkspan the right to it' } : {}),
  }
}

function unreadable(path: string, reason: string, next: string): Reason {
  return { code: 'registry-unreadable', object: path, reason, next }
}

async function namesOf(directory: string): Promise<string[] | Reason> {
  try {
    return await readdir(directory)
  } catch (error) {
    return errorReason(directory, error, 'cannot be listed')
  }
}

/** What does not exist; undefined: both do, as far as one can see. A symbolic link to nothing does exist. */
async function missingPart(path: string): Promise<'file' | 'folder' | undefined> {
  if (!(await isMissing(path))) return undefined
  return (await isMissing(dirname(path))) ? 'folder' : 'file'
}

async function isMissing(path: string): Promise<boolean> {
  try {
    await lstat(path)
    return false
  } catch (error) {
    return errnoOf(error) === 'ENOENT'
  }
}

/** Of the file that the stamp is of, in bytes. */
export function sizeOf(stamp: string): number {
  return Number(stamp.split(' ')[2])
}

function stampOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join(' ')
}
