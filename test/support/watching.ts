/** `linkspan registry watch` as a process, whose lines a test waits for one after another. */
import { spawn } from 'node:child_process'
import type { ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

const main = fileURLToPath(new URL('../../agent/main.js', import.meta.url))
const patienceMs = 60_000

export class Watching {
  stderr = ''
  readonly #child: ChildProcessByStdio<null, Readable, Readable>
  readonly #lines: string[] = []
  readonly #exit: Promise<number | undefined>
  #wake: () => void = () => undefined

  constructor(t: Test, options: readonly string[]) {
    const line = [main, 'registry', 'watch', ...options]
    this.#child = spawn(process.execPath, line, { stdio: ['ignore', 'pipe', 'pipe'] })
    t.teardown(() => this.#child.kill('SIGKILL'))
    this.#child.stderr.on('data', (bytes: Buffer) => {
      this.stderr += bytes.toString()
    })
    createInterface(this.#child.stdout).on('line', (said) => {
      this.#lines.push(said)
      this.#wake()
    })
    this.#exit = once(this.#child, 'close').then(([code]) => {
      this.#wake()
      return typeof code === 'number' ? code : undefined
    })
  }

  /** The next line like this, and none before it is looked at again. */
  async line(like: RegExp): Promise<string> {
    const skipped: string[] = []
    for (const until = performance.now() + patienceMs; ;) {
      for (let said = this.#lines.shift(); said !== undefined; said = this.#lines.shift()) {
        if (like.test(said)) return said
        skipped.push(said)
      }
      const left = until - performance.now()
      if (left <= 0 || this.#child.exitCode !== null)
        throw new Error(`no line like ${String(like)} in:\n${skipped.join('\n')}\n${this.stderr}`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  /** As Ctrl-C does; the exit code. */
  interrupt(signal: 'SIGINT' | 'SIGTERM' = 'SIGINT'): Promise<number | undefined> {
    this.#child.kill(signal)
    return this.#exit
  }

  ended(): Promise<number | undefined> {
    return this.#exit
  }
}
