/** A TCP relay in front of a server: what a network between does to connections. It closes its port, or passes bytes on. */
import { connect, createServer } from 'node:net'
import type { Server, Socket } from 'node:net'

export class Relay {
  readonly #host: string
  readonly #port: number
  readonly #target: number
  readonly #sockets = new Set<Socket>()
  #server: Server | undefined

  /** From HOST:PORT to a port of 127.0.0.1. Closed at first. */
  constructor(host: string, port: number, target: number) {
    this.#host = host
    this.#port = port
    this.#target = target
  }

  async open(): Promise<void> {
    const server = createServer((near) => {
      const far = connect(this.#target, '127.0.0.1')
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(from)
        from.on('error', () => to.destroy())
        from.once('close', () => {
          this.#sockets.delete(from)
          to.destroy()
        })
        from.pipe(to)
      }
    })
    this.#server = server
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(this.#port, this.#host, resolve)
    })
  }

  /** Connections are cut, and new ones refused. */
  async close(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server === undefined) return
    const closed = new Promise((resolve) => server.close(resolve))
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }
}
