/**
 * A traffic meter: numbered UDP packets at a steady rate from one machine to another, and a count of those that did not
 * arrive. It runs itself as two programs, one at each end.
 *
 *   node meter.js receive PORT
 *   node meter.js send ADDRESS PORT PER_SECOND
 */
import { createSocket } from 'node:dgram'
import type { ChildProcess } from 'node:child_process'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Machine } from './machine.ts'

const file = fileURLToPath(import.meta.url)

export interface Count {
  readonly sent: number
  readonly received: number
  readonly lost: number
  /** Longest time without a packet at the receiver, ms. */
  readonly gapMs: number
}

export class Meter {
  readonly #sender: ChildProcess
  readonly #receiver: ChildProcess
  #sent = ''
  #received = ''

  private constructor(sender: ChildProcess, receiver: ChildProcess) {
    this.#sender = sender
    this.#receiver = receiver
    sender.stdout?.on('data', (chunk: Buffer) => (this.#sent += chunk.toString()))
    receiver.stdout?.on('data', (chunk: Buffer) => (this.#received += chunk.toString()))
  }

  static async start(
    from: Machine,
    to: Machine,
    address: string,
    perSecond = 1000,
    port = 9000,
  ): Promise<Meter> {
    const stdio = ['ignore', 'pipe', 'inherit'] as ('ignore' | 'pipe' | 'inherit')[]
    const receiver = to.spawn(process.execPath, [file, 'receive', String(port)], { stdio })
    await new Promise((resolve) => receiver.stdout?.once('data', resolve)) // bound
    const sender = from.spawn(process.execPath, [file, 'send', address, String(port), String(perSecond)], {
      stdio,
    })
    return new Meter(sender, receiver)
  }

  /** Stops sending, lets what is under way arrive, and counts. */
  async stop(): Promise<Count> {
    const ended = (child: ChildProcess): Promise<unknown> =>
      new Promise((resolve) => child.once('close', resolve))
    const senderEnd = ended(this.#sender)
    this.#sender.kill('SIGTERM')
    await senderEnd
    await pause(500)
    const receiverEnd = ended(this.#receiver)
    this.#receiver.kill('SIGTERM')
    await receiverEnd
    const sent = Number(this.#sent)
    const [received = 0, gapMs = 0] = (this.#received.split('\n').at(-2) ?? '').split(' ').map(Number)
    return { sent, received, lost: sent - received, gapMs }
  }
}

function receive(port: number): void {
  const socket = createSocket('udp6')
  const seen = new Set<number>()
  let last = 0
  let gap = 0
  socket.on('message', (message) => {
    const now = performance.now()
    if (last > 0) gap = Math.max(gap, now - last)
    last = now
    seen.add(message.readUInt32LE(0))
  })
  socket.bind(port, () => {
    socket.setRecvBufferSize(1 << 20)
    process.stdout.write('bound\n')
  })
  process.on('SIGTERM', () => {
    process.stdout.write(`${seen.size} ${Math.round(gap)}\n`, () => process.exit(0))
  })
}

function send(address: string, port: number, perSecond: number): void {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
  const started = performance.now()
  let sent = 0
  let stopped = false
  const beat = setInterval(() => {
    const due = Math.floor(((performance.now() - started) * perSecond) / 1000)
    // Never a burst: after a stall the rate goes on, it does not catch up.
    for (let i = 0; i < 20 && sent < due && !stopped; i++) {
      const packet = Buffer.alloc(100)
      packet.writeUInt32LE(sent++)
      // An error (no route) is a packet lost, which is what is counted.
      socket.send(packet, port, address, () => undefined)
    }
  }, 1)
  process.on('SIGTERM', () => {
    stopped = true
    clearInterval(beat)
    setTimeout(() => process.stdout.write(`${sent}\n`, () => process.exit(0)), 100)
  })
}

if (process.argv[1] === file) {
  const [verb, ...args] = process.argv.slice(2)
  if (verb === 'receive') receive(Number(args[0]))
  else if (verb === 'send') send(args[0] ?? '', Number(args[1]), Number(args[2]))
}
