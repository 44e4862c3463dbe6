/**
 * The operator's terminal, for what must not be seen: lines are read without an echo. It is /dev/tty, whatever stdin and
 * stdout are connected to.
 */
import { closeSync, constants, openSync, writeSync } from 'node:fs'
import { ReadStream } from 'node:tty'
import { LinkspanError } from '../errors.ts'

/** Bytes of a line; what is typed after them is dropped. */
const maxLine = 1024

/** The operator's terminal, in raw mode from the first question to the last. */
export class Terminal {
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
        if (this.#ended)
          throw new LinkspanError({ code: 'usage', object: '/dev/tty', reason: 'the terminal is gone' })
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
  else if (byte >= 0x20 && line.length < maxLine) line.push(byte)
}

export async function withTerminal<T>(
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
