/**
 * Files that the operator names, read with a limit. `/dev/zero` has no end and a FIFO may have no writer, so only regular
 * files are read, and of those one byte more than allowed at most: the file may grow while it is read.
 */
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { LinkspanError } from '../errors.ts'

/**
 * The whole file, of at most `most` bytes. Throws LinkspanError `config-invalid` where it is longer or no regular file,
 * and the system's error where it cannot be opened or read.
 */
export async function readBounded(path: string, most: number): Promise<Buffer> {
  const refuse = (reason: string, next: string): LinkspanError =>
    new LinkspanError({ code: 'config-invalid', object: path, reason, next })
  // Not blocking: opening a FIFO would wait for a writer.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const stats = await file.stat()
    if (!stats.isFile()) throw refuse('is not a regular file', 'name a regular file')
    if (stats.size > most)
      throw refuse(`is ${stats.size} bytes long, expected at most ${most}`, 'is it the right file?')
    // Files of /proc say that they are empty, so the size only says how much to begin with.
    let buffer = Buffer.alloc(Math.min(most, Math.max(stats.size, 4096)) + 1)
    let length = 0
    for (;;) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, length)
      if (bytesRead === 0) return buffer.subarray(0, length)
      length += bytesRead
      if (length > most) throw refuse(`is longer than ${most} bytes`, 'is it the right file?')
      if (length === buffer.length) buffer = Buffer.concat([buffer], Math.min(most + 1, buffer.length * 2))
    }
  } finally {
    await file.close()
  }
}
