/**
 * Passphrases: from a file that the operator names, or typed at the terminal without an echo. Never from an argument or the
 * environment, where other users and logs see them.
 *
 * The terminal is /dev/tty and not stdin: `ca issue -` reads a request there, and a script's stdin is not the operator.
 * Without a terminal there is nobody to ask, and the command says which option is missing.
 */
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { errnoOf, LinkspanError } from '../errors.ts'
import { withTerminal } from './terminal.ts'

export interface PassphraseSource {
  /** Holds the passphrase in its first line. */
  readonly file?: string
  /** `--no-passphrase`: keys are made without one. */
  readonly none: boolean
}

const maxBytes = 1024
const attempts = 3

/** For a key that is made: undefined where it stays unencrypted. Asked twice at a terminal. */
export async function newPassphrase(source: PassphraseSource, what: string): Promise<Buffer | undefined> {
  if (source.file !== undefined && source.none) {
    const reason = 'contradicts --passphrase-file'
    throw new LinkspanError({ code: 'usage', object: '--no-passphrase', reason, next: 'give one of the two' })
  }
  if (source.none) return undefined
  if (source.file !== undefined) return readPassphrase(source.file)
  return withTerminal(
    async (terminal) => {
      for (let i = 0; i < attempts; i++) {
        const first = await terminal.ask(`Passphrase for ${what} (empty: none): `)
        if (first.length === 0) return undefined
        const second = await terminal.ask('The same again: ')
        if (first.equals(second)) return first
        terminal.say('These were two different ones.')
      }
      throw new LinkspanError({
        code: 'usage',
        object: what,
        reason: `${attempts} times two different passphrases`,
      })
    },
    () => {
      const reason = 'there is no terminal to ask for a passphrase'
      const next = 'give --passphrase-file FILE, or --no-passphrase to store the key unencrypted'
      return new LinkspanError({ code: 'usage', object: what, reason, next })
    },
  )
}

/**
 * For a key that is there: `open` answers undefined for a wrong one. Asked three times at a terminal. Throws `permission`
 * where none fits.
 */
export async function withPassphrase<T>(
  source: PassphraseSource,
  what: string,
  open: (passphrase: Buffer) => T | undefined,
): Promise<T> {
  const attempt = (passphrase: Buffer): T | undefined => {
    const opened = open(passphrase)
    passphrase.fill(0)
    return opened
  }
  const wrong = (next: string): LinkspanError =>
    new LinkspanError({
      code: 'permission',
      object: what,
      reason: 'cannot be decrypted: wrong passphrase',
      next,
    })
  if (source.file !== undefined) {
    const opened = attempt(await readPassphrase(source.file))
    if (opened !== undefined) return opened
    throw wrong(`is ${source.file} the right file?`)
  }
  return withTerminal(
    async (terminal) => {
      for (let i = 0; i < attempts; i++) {
        const opened = attempt(await terminal.ask(`Passphrase of ${what}: `))
        if (opened !== undefined) return opened
        terminal.say('Wrong passphrase.')
      }
      throw wrong('without its passphrase a key is lost')
    },
    () => {
      const reason = 'is encrypted, and there is no terminal to ask for its passphrase'
      return new LinkspanError({ code: 'usage', object: what, reason, next: 'give --passphrase-file FILE' })
    },
  )
}

/** The first line of the file, which may be a pipe as `<(pass show linkspan)`. */
async function readPassphrase(file: string): Promise<Buffer> {
  const refuse = (reason: string): LinkspanError =>
    new LinkspanError({
      code: 'usage',
      object: file,
      reason,
      next: 'write the passphrase into its first line',
    })
  const buffer = Buffer.alloc(maxBytes + 2)
  let length = 0
  try {
    const handle = await open(file, constants.O_RDONLY | constants.O_NOCTTY)
    try {
      const stats = await handle.stat()
      if (!stats.isFile() && !stats.isFIFO()) throw refuse('is neither a regular file nor a pipe')
      while (length < buffer.length) {
        const { bytesRead } = await handle.read(buffer, length, buffer.length - length, null)
        if (bytesRead === 0) break
        length += bytesRead
      }
    } finally {
      await handle.close()
    }
  } catch (error) {
    if (error instanceof LinkspanError) throw error
    const denied = ['EACCES', 'EPERM'].includes(errnoOf(error) ?? '')
    const reason = `cannot be read: ${error instanceof Error ? error.message : String(error)}`
    throw new LinkspanError({ code: denied ? 'permission' : 'usage', object: file, reason }, { cause: error })
  }
  const text = buffer.subarray(0, length)
  const end = text.indexOf(0x0a)
  const line = text.subarray(0, end < 0 ? length : text[end - 1] === 0x0d ? end - 1 : end)
  if (line.length === 0) throw refuse('is empty')
  if (line.length > maxBytes) throw refuse(`has a first line of more than ${maxBytes} bytes`)
  return line
}
