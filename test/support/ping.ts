/**
 * A stream of echo requests, and those that were never answered: where the far end is a gateway, whose guard lets no other
 * traffic in. What is still under way when it ends does not count.
 */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { Machine } from './machine.ts'

export class Pings {
  readonly #ping: ChildProcess
  #said = ''

  constructor(from: Pick<Machine, 'spawn'>, address: string) {
    this.#ping = from.spawn('ping', ['-n', '-i', '0.1', address], { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#ping.stdout?.on('data', (piece: Buffer) => {
      this.#said += piece.toString()
    })
  }

  async stop(): Promise<{ readonly sent: number; readonly lost: number }> {
    const end = once(this.#ping, 'close')
    this.#ping.kill('SIGINT')
    await end
    const answered = [...this.#said.matchAll(/icmp_seq=(\d+) ttl=/g)].map((match) => Number(match[1]))
    const sent = Math.max(0, ...answered)
    return { sent, lost: sent - new Set(answered).size }
  }
}
