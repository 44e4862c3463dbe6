/** A bulk transfer over TCP between two machines of the lab. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { Machine } from './machine.ts'

const serve = `
  const server = require('node:net').createServer({ allowHalfOpen: true }, (socket) => {
    let bytes = 0
    socket.on('data', (data) => (bytes += data.length))
    socket.on('end', () => socket.end(String(bytes)))
    socket.on('error', () => undefined)
  })
  server.listen(Number(process.argv[1]), '::', () => process.stdout.write('ready'))`
const send = `
  const [address, port, bytes] = process.argv.slice(1)
  const socket = require('node:net').connect(Number(port), address)
  let said = ''
  socket.on('data', (data) => (said += data))
  socket.on('end', () => process.exit(said === bytes ? 0 : 1))
  socket.end(Buffer.alloc(Number(bytes)))`

/** Takes what comes, and says how much it was; answers what ends it. */
export async function sink(machine: Machine, port = 9100): Promise<() => void> {
  const server = machine.spawn(process.execPath, ['-e', serve, String(port)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  server.unref()
  if (server.stdout !== null) await once(server.stdout, 'data')
  return () => server.kill('SIGKILL')
}

export class Bulk {
  readonly #client: ChildProcess
  readonly #exit: Promise<unknown>

  /** `bytes` from a machine to the sink at an address. */
  constructor(from: Machine, address: string, bytes = 2_000_000, port = 9100) {
    const argv = ['-e', send, address, String(port), String(bytes)]
    this.#client = from.spawn(process.execPath, argv, { stdio: ['ignore', 'ignore', 'inherit'] })
    this.#exit = once(this.#client, 'exit')
  }

  /** True when all of it has arrived, within so many seconds. */
  async arrives(seconds: number): Promise<boolean> {
    const late = new Promise((resolve) => setTimeout(resolve, seconds * 1000).unref())
    await Promise.race([this.#exit, late])
    return this.#client.exitCode === 0
  }

  end(): void {
    this.#client.kill('SIGKILL')
  }
}
