/**
 * Passphrases: from a file that the operator names, or typed at the terminal without an echo. Never from an argument or the
 * environment, where other users and logs see them.
 *
 * The terminal is /dev/tty and not stdin: `ca issue -` reads a request there, and a script's stdin is not the operator.
 * Without a terminal there is nobody to ask, and the command says which option is missing.
 */
import { closeSync, constants, openSync, writeSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { ReadStream } from 'node:tty'
import { LinkspanError } from '../errors.ts'

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
      throw new LinkspanError({ code: 'usage', object: what, reason: `${attempts} times two different passphrases` })
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
    new LinkspanError({ code: 'permission', object: what, reason: 'cannot be decrypted: wrong passphrase', next })
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
    new LinkspanError({ code: 'usage', object: file, reason, next: 'write the passphrase into its first line' })
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
    const denied = error instanceof Error && 'code' in error && (error.code === 'EACCES' || error.code === 'EPERM')
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

/** The operator's terminal, in raw mode from the first question to the last. */
class Terminal {
  readonly #stream: ReadStream
  readonly #out: number
  #typed: number[] = []
  #ended = false
  #more: () => void = () => undefined

  /** `input` and `output`: descriptors of the terminal, two of them because the stream closes its own. */
  constructor(input: number, output: number) {
    this.#stream = new ReadStream(input)
    this.#out = output
    this.#stream.setRawMode(true)
    this.#stream.on('data', (chunk: Buffer) => {
      this.#typed.push(...chunk)
      chunk.fill(0)
      this.#more()
    })
    for (const event of ['end', 'error', 'close']) {
      this.#stream.on(event, () => {
        this.#ended = true
        this.#more()
      })
    }
  }

  say(text: string): void {
    writeSync(this.#out, `${text}\r\n`)
  }

  /** One line, not echoed. Ctrl-C, and Ctrl-D on an empty line, end the process. */
  async ask(question: string): Promise<Buffer> {
    writeSync(this.#out, question)
    const line: number[] = []
    for (;;) {
      const byte = this.#typed.shift()
      if (byte === undefined) {
        if (this.#ended) throw new LinkspanError({ code: 'usage', object: '/dev/tty', reason: 'the terminal is gone' })
        await new Promise<void>((resolve) => {
          this.#more = resolve
        })
      } else if (byte === interrupt || (byte === endOfFile && line.length === 0)) {
        this.close()
        process.exit(130)
      } else if (byte === lineFeed || byte === carriageReturn || byte === endOfFile) {
        this.say('')
        const answer = Buffer.from(line)
        line.fill(0)
        return answer
      } else edit(line, byte)
    }
  }

  close(): void {
    if (!this.#stream.destroyed) this.#stream.setRawMode(false)
    this.#stream.destroy()
  }
}

/** Keys as a terminal that is not raw takes them (termios(3), VINTR, VEOF, VERASE, VKILL). */
const interrupt = 0x03
const endOfFile = 0x04
const lineFeed = 0x0a
const carriageReturn = 0x0d
const kill = 0x15
const erase = [0x08, 0x7f]

function edit(line: number[], byte: number): void {
  if (byte === kill) line.length = 0
  // A character of UTF-8 goes as a whole.
  else if (erase.includes(byte)) while (((line.pop() ?? 0) & 0xc0) === 0x80);
  else if (byte >= 0x20 && line.length < maxBytes) line.push(byte)
}

async function withTerminal<T>(
  work: (terminal: Terminal) => Promise<T>,
  missing: () => LinkspanError,
): Promise<T> {
  const descriptors: number[] = []
  try {
    for (let i = 0; i < 2; i++) descriptors.push(openSync('/dev/tty', constants.O_RDWR | constants.O_NOCTTY))
  } catch {
    // No terminal: a script, cron, a container.
    throw missing()
  }
  const [input = -1, output = -1] = descriptors
  const terminal = new Terminal(input, output)
  try {
    return await work(terminal)
  } finally {
    terminal.close()
    closeSync(output)
  }
}
