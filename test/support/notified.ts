/** A notification socket in place of systemd's, in a machine; notified.c listens. */
import type { ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Machine } from './machine.ts'

/** Made by scripts/build. */
const program = ((): string => {
  let folder = path.dirname(fileURLToPath(import.meta.url))
  while (!existsSync(path.join(folder, 'package.json'))) folder = path.dirname(folder)
  return path.join(folder, 'native', 'build', 'notified')
})()

export interface Notification {
  /** Unix ms. */
  readonly atMs: number
  readonly text: string
}

export class NotifySocket {
  readonly path: string
  readonly #listener: ChildProcess
  #said = ''

  private constructor(at: string, listener: ChildProcess) {
    this.path = at
    this.#listener = listener
    listener.stdout?.on('data', (piece: Buffer) => (this.#said += piece.toString()))
  }

  static async open(machine: Machine, at = '/run/notify'): Promise<NotifySocket> {
    const listener = machine.spawn(program, [at], { stdio: ['pipe', 'pipe', 'inherit'] })
    const socket = new NotifySocket(at, listener)
    for (let i = 0; i < 500 && socket.#said === ''; i++) await pause(20)
    return socket
  }

  /** What came so far, or from `sinceMs` to `untilMs`, Unix ms. */
  said(sinceMs = 0, untilMs = Infinity): readonly Notification[] {
    return this.#said
      .split('\n')
      .slice(1, -1)
      .map((line) => {
        const [, at, text] = /^([0-9]+) (.*)$/.exec(line) ?? []
        return { atMs: Number(at), text: text ?? '' }
      })
      .filter(({ atMs }) => atMs >= sinceMs && atMs <= untilMs)
  }

  /** Waits for a message since then that has this text in it. */
  async until(text: string, sinceMs: number, seconds: number): Promise<boolean> {
    for (let i = 0; i < seconds * 50; i++) {
      if (this.said(sinceMs).some((each) => each.text.includes(text))) return true
      await pause(20)
    }
    return false
  }

  close(): void {
    this.#listener.stdin?.end()
  }
}
