/**
 * A small JSON file in the state directory, written whole: temporary file, fsync, rename, fsync of the directory
 * (a crash leaves the old content or the new one). Missing reads as undefined; torn or foreign content is an error that
 * names the file, because forgetting silently what it held would be worse.
 */
import { mkdir, open, readFile, rename } from 'node:fs/promises'
import path from 'node:path'
import { LinkspanError } from '../errors.ts'

/** The parsed content, or undefined where there is no file. Throws LinkspanError `state-unreadable`. */
export async function readState(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, 'utf8'))
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    const reason = error instanceof Error ? error.message : String(error)
    throw new LinkspanError(
      { code: 'state-unreadable', object: file, reason, next: 'restore the file or remove it' },
      { cause: error },
    )
  }
}

export async function writeState(file: string, content: unknown): Promise<void> {
  const directory = path.dirname(file)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const temporary = `${file}.next`
  const handle = await open(temporary, 'w', 0o600)
  try {
    await handle.writeFile(`${JSON.stringify(content)}\n`)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(temporary, file)
  const folder = await open(directory, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
