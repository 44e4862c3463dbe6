/** A name server that knows one name and its IPv4 address (RFC 1035, as much of it as a stub resolver asks). */
import { createSocket } from 'node:dgram'
import type { Socket } from 'node:dgram'
import { once } from 'node:events'

const typeA = 1

export class NameServer {
  readonly #socket: Socket
  /** How often it was asked for the name. */
  asked = 0

  private constructor(socket: Socket, name: string, address: string) {
    this.#socket = socket
    socket.on('message', (query, { port, address: from }) => {
      const [text, end] = questionOf(query)
      const isName = text.toLowerCase() === name
      if (isName) this.asked++
      const hasAnswer = isName && query.readUInt16BE(end) === typeA
      const header = Buffer.from(query.subarray(0, 12))
      header.writeUInt16BE(isName ? 0x8400 : 0x8403, 2) // an authoritative answer, or: no such name
      for (const [i, count] of [1, hasAnswer ? 1 : 0, 0, 0].entries()) header.writeUInt16BE(count, 4 + 2 * i)
      const answer = Buffer.from([
        0xc0,
        12,
        0,
        typeA,
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        4,
        ...address.split('.').map(Number),
      ])
      const parts = [header, query.subarray(12, end + 4), ...(hasAnswer ? [answer] : [])]
      socket.send(Buffer.concat(parts), port, from)
    })
  }

  /** Listens at `at`, and says that `name` has `address`. */
  static async start(at: string, name: string, address: string): Promise<NameServer> {
    const socket = createSocket('udp4')
    socket.bind(53, at)
    await once(socket, 'listening')
    return new NameServer(socket, name, address)
  }

  end(): Promise<void> {
    return new Promise((resolve) => {
      this.#socket.close(resolve)
    })
  }
}

/** The name that is asked for, and where it ends. */
function questionOf(query: Buffer): [string, number] {
  const labels: string[] = []
  let at = 12
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length))
    at += 1 + length
  }
  return [labels.join('.'), at + 1]
}
