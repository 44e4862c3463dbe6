/**
 * Files that are either the old one or the new one, whatever dies meanwhile: a temporary file in the same directory, fsync,
 * rename, fsync of the directory (rename(2); a rename that is not synced may be lost with the power).
 */
import { randomBytes } from 'node:crypto'
import { open, rename, rm, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

/**
 * Writes `data` under `path`. Temporary names begin with a dot and end in `.tmp`; readers skip both. `writer`: what tells
 * this writer's temporary file from others'. One that is given belongs to the only writer of the file at a time: what a
 * death left behind under that name is removed.
 */
export async function writeAtomically(
  path: string,
  data: string | Uint8Array,
  mode = 0o644,
  writer?: string,
): Promise<void> {
  const directory = dirname(path)
  const temporary = join(directory, `.${basename(path)}.${writer ?? randomBytes(6).toString('hex')}.tmp`)
  if (writer !== undefined) await rm(temporary, { force: true })
  try {
    const file = await open(temporary, 'wx', mode)
    try {
      await file.writeFile(data)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (error) {
    // Nothing to remove where the temporary file was never made; the first error is the one that matters.
    await unlink(temporary).catch(() => undefined)
    throw error
  }
  await syncDirectory(directory)
}

export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
