/**
 * A traffic meter: numbered UDP packets at a steady pace from one machine to another, and a count of those that did not
 * arrive. The two ends are a C program (meter.c): a collection of garbage must not look like loss.
 */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Machine } from './machine.ts'

/** Made by scripts/build. */
const program = ((): string => {
  let folder = path.dirname(fileURLToPath(import.meta.url))
  while (!existsSync(path.join(folder, 'package.json'))) folder = path.dirname(folder)
  return path.join(folder, 'native', 'build', 'meter')
})()

export interface Count {
  readonly sent: number
  readonly received: number
  readonly lost: number
  readonly duplicates: number
  /** Arrived behind a later one. */
  readonly late: number
  /** Longest time without a packet at the receiver, and when it began after the first packet, ms. */
  readonly gapMs: number
  readonly gapAtMs: number
}

export interface MeterOptions {
  readonly perSecond?: number
  readonly port?: number
  /** Source ports, taken in turn. */
  readonly flows?: number
  readonly bytes?: number
}

export class Meter {
  readonly #sender: ChildProcess
  readonly #receiver: ChildProcess
  readonly #sent: Promise<string>
  readonly #received: Promise<string>

  private constructor(sender: ChildProcess, receiver: ChildProcess, received: Promise<string>) {
    this.#sender = sender
    this.#receiver = receiver
    this.#sent = textOf(sender)
    this.#received = received
  }

  /** Packets flow once this has resolved. */
  static async start(
    from: Machine,
    to: Machine,
    address: string,
    { perSecond = 1000, port = 9000, flows = 1, bytes = 64 }: MeterOptions = {},
  ): Promise<Meter> {
    const any = address.includes(':') ? '::' : '0.0.0.0'
    const receiver = to.spawn(program, ['receive', String(port), any], { stdio: ['pipe', 'pipe', 'inherit'] })
    const received = textOf(receiver)
    if (receiver.stdout === null) throw new Error('no pipe')
    await Promise.race([once(receiver.stdout, 'data'), once(receiver, 'exit')])
    if (receiver.exitCode !== null) throw new Error(`the meter on ${to.name} did not start`)
    const argv = ['send', address, String(port), String(perSecond), String(flows), String(bytes)]
    return new Meter(from.spawn(program, argv, { stdio: ['pipe', 'pipe', 'inherit'] }), receiver, received)
  }

  /** Stops sending, lets what is under way arrive, and counts. */
  async stop(): Promise<Count> {
    this.#sender.stdin?.end()
    const { sent } = JSON.parse(await this.#sent) as { sent: number }
    await pause(500)
    this.#receiver.stdin?.end()
    const last = (await this.#received).trimEnd().split('\n').at(-1) ?? ''
    const { received, duplicates, late, longestGapMs, gapAtMs } = JSON.parse(last) as Record<string, number>
    if (received === undefined) throw new Error(`the meter says ${last}`)
    return {
      sent,
      received,
      lost: sent - received,
      duplicates: duplicates ?? 0,
      late: late ?? 0,
      gapMs: longestGapMs ?? 0,
      gapAtMs: gapAtMs ?? 0,
    }
  }
}

async function textOf(child: ChildProcess): Promise<string> {
  let text = ''
  child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  await once(child, 'close')
  return text
}
