/**
 * Files that hold keys: written whole or not at all, readable by their owner alone, and gone for good once they are removed.
 * Nothing about their content goes into an error.
 */
import { constants } from 'node:fs'
import { open, readdir, rename, stat, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { syncDirectory, writeAtomically } from '../atomic-file.ts'
import { errnoOf, LinkspanError } from '../errors.ts'

/** Mode 0600; on disk once this has resolved. */
export async function save(file: string, secret: string | Buffer): Promise<void> {
  await guarded(file, () => writeAtomically(file, secret, 0o600))
}

/** On disk once this has resolved; one that is gone already was moved by a try that failed behind it. */
export async function moveKey(from: string, to: string): Promise<void> {
  await guarded(from, async () => {
    await rename(from, to).catch((error: unknown) => {
      if (errnoOf(error) !== 'ENOENT') throw error
    })
    await syncDirectory(dirname(to))
  })
}

/** On disk once this has resolved; one that is gone already is no error. */
export async function removeKey(file: string): Promise<void> {
  await guarded(file, async () => {
    await unlink(file).catch((error: unknown) => {
      if (errnoOf(error) !== 'ENOENT') throw error
    })
    await syncDirectory(dirname(file))
  })
}

/** What a death in the middle of a write left behind: a secret that nobody uses. */
export async function removeHalfWritten(directory: string): Promise<void> {
  const names = await guarded(directory, () => readdir(directory))
  for (const name of names) {
    if (/^\.(generation-[0-9]+|identity\.pem)\.[0-9a-f]+\.tmp$/.test(name))
      await removeKey(join(directory, name))
  }
}

/** Throws `permission` where others could look into it. */
export async function checkDirectory(directory: string): Promise<void> {
  const stats = await guarded(directory, () => stat(directory))
  if (!stats.isDirectory()) throw damaged(directory, 'is not a directory')
  checkMode(directory, stats.mode, 0o700)
}

/** Reads a key file that only its owner may read. The mode is that of the opened file, not of a name that may change. */
export async function readSecret(file: string): Promise<Buffer> {
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

export function damaged(path: string, reason: string): LinkspanError {
  const next = 'restore it from a backup, or remove the keys directory and have the gateway certified anew'
  return new LinkspanError({ code: 'state-unreadable', object: path, reason, next })
}

/** What fails there says which file it was, with our own codes. */
export async function guarded<T>(path: string, action: () => Promise<T>): Promise<T> {
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
