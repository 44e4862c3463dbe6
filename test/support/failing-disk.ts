/**
 * A disk that answers EIO, once, to the next call of a kind: this process's node:fs/promises, as whoever imported it has it.
 * A write that fails has written half of it.
 */
import fsPromises from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'

/** Of files; `readFile` and `rename` are those of the module. */
export type DiskCall = 'open' | 'write' | 'sync' | 'datasync' | 'close' | 'rename' | 'readFile'

export class FailingDisk {
  readonly #true = { open: fsPromises.open, rename: fsPromises.rename, readFile: fsPromises.readFile }
  #next: DiskCall | undefined
  #within = ''

  constructor() {
    const { open, rename, readFile } = this.#true
    fsPromises.open = async (...args: Parameters<typeof open>) => {
      this.#meet('open', args[0])
      return this.#watched(await open(...args), args[0])
    }
    fsPromises.rename = async (...args: Parameters<typeof rename>) => {
      this.#meet('rename', args[0])
      await rename(...args)
    }
    fsPromises.readFile = (async (...args: Parameters<typeof readFile>) => {
      this.#meet('readFile', args[0])
      return readFile(...args)
    }) as typeof readFile
    syncBuiltinESMExports()
  }

  /** The next call of this kind fails that is about something in the directory. */
  fail(call: DiskCall, directory: string): void {
    this.#next = call
    this.#within = directory
  }

  /** It came. */
  get hasFailed(): boolean {
    return this.#next === undefined
  }

  close(): void {
    Object.assign(fsPromises, this.#true)
    syncBuiltinESMExports()
  }

  #meet(call: DiskCall, path: unknown): void {
    if (!this.#isNext(call, path)) return
    this.#next = undefined
    throw Object.assign(new Error(`EIO: i/o error, ${call}`), { code: 'EIO', errno: -5, syscall: call })
  }

  #isNext(call: DiskCall, path: unknown): boolean {
    return this.#next === call && String(path).startsWith(this.#within)
  }

  #watched(file: FileHandle, path: unknown): FileHandle {
    const writeFile = file.writeFile.bind(file)
    const sync = file.sync.bind(file)
    const datasync = file.datasync.bind(file)
    const close = file.close.bind(file)
    file.writeFile = async (data, ...rest) => {
      if (this.#isNext('write', path) && typeof data === 'string')
        await writeFile(data.slice(0, data.length >> 1))
      this.#meet('write', path)
      await writeFile(data, ...rest)
    }
    file.sync = async () => {
      this.#meet('sync', path)
      await sync()
    }
    file.datasync = async () => {
      this.#meet('datasync', path)
      await datasync()
    }
    file.close = async () => {
      await close()
      this.#meet('close', path)
    }
    return file
  }
}
