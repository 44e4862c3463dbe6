/**
 * A small JSON file in the state directory, written whole (atomic-file.ts). Missing reads as undefined; torn or foreign
 * content is an error that names the file, because forgetting silently what it held would be worse.
 */
import { mkdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { writeAtomically } from '../atomic-file.ts'
import { errnoOf, LinkspanError } from '../errors.ts'

/** The parsed content, or undefined where there is no file. Throws LinkspanError `state-unreadable`. */
export async function readState(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, 'utf8'))
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    const reason = error instanceof Error ? error.message : String(error)
    throw new LinkspanError(
      { code: 'state-unreadable', object: file, reason, next: 'restore the file or remove it' },
      { cause: error },
    )
  }
}

/** One write of a file at a time: the temporary file is always the same, so that deaths leave at most one behind. */
export async function writeState(file: string, content: unknown): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 })
  await writeAtomically(file, `${JSON.stringify(content)}\n`, 0o600, 'next')
}
