/**
 * A web server that does what a test wants of it, right or wrong: it reads a request and hands the bare connection to the
 * conduct of the moment, which writes bytes. Nothing of HTTP is done behind its back.
 */
import { createServer } from 'node:tls'
import type { SecureContextOptions, Server, TLSSocket, TlsOptions } from 'node:tls'
import type { Socket } from 'node:net'
import type { KeyPair } from './certificate-authority.ts'

export interface Asked {
  readonly path: string
  readonly headers: ReadonlyMap<string, string>
  /** Subject of the client's certificate, where it showed one that is good. */
  readonly client: string | undefined
}

/** Answers one request. */
export type Conduct = (socket: TLSSocket, asked: Asked) => void

export class HttpsServer {
  conduct: Conduct = (socket) => socket.end(head(404))
  /** All requests so far. */
  readonly asked: Asked[] = []
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  private constructor(server: Server) {
    this.#server = server
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.on('error', () => undefined) // clients that turn away are part of the tests
      socket.once('close', () => this.#sockets.delete(socket))
    })
    server.on('secureConnection', (socket) => {
      this.#serve(socket)
    })
  }

  /** On 127.0.0.1 and a free port, if nothing else is said. */
  static async start(
    { certificate, key }: KeyPair,
    { port = 0, host = '127.0.0.1', ...options }: TlsOptions & { port?: number; host?: string } = {},
  ): Promise<HttpsServer> {
    const server = createServer({ ...options, cert: certificate, key })
    const made = new HttpsServer(server)
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, host, resolve)
    })
    return made
  }

  get port(): number {
    const address = this.#server.address()
    if (address === null || typeof address === 'string') throw new Error('the server does not listen')
    return address.port
  }

  url(path = '/bundle', host = 'localhost'): string {
    return `https://${host}:${this.port}${path}`
  }

  /** For connections from now on. */
  present({ certificate, key }: KeyPair, options: SecureContextOptions = {}): void {
    this.#server.setSecureContext({ ...options, cert: certificate, key })
  }

  /** Resolves when so many more requests have come. */
  async more(count: number): Promise<void> {
    const wanted = this.asked.length + count
    for (const until = performance.now() + 20_000; this.asked.length < wanted;) {
      if (performance.now() > until) throw new Error(`${this.asked.length} requests, waiting for ${wanted}`)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  #serve(socket: TLSSocket): void {
    let text = ''
    socket.on('error', () => undefined)
    socket.on('data', (piece: Buffer) => {
      const isNew = !text.includes('\r\n\r\n')
      text += piece.toString('latin1')
      if (!isNew || !text.includes('\r\n\r\n')) return
      const [line = '', ...lines] = text.split('\r\n')
      const headers = new Map(
        lines.filter(Boolean).map((each) => {
          const colon = each.indexOf(':')
          return [each.slice(0, colon).toLowerCase(), each.slice(colon + 1).trim()] as const
        }),
      )
      const client = socket.authorized ? String(socket.getPeerCertificate().subject.CN) : undefined
      const asked = { path: line.split(' ')[1] ?? '', headers, client }
      this.asked.push(asked)
      this.conduct(socket, asked)
    })
  }
}

export type Headers = Readonly<Record<string, string | number>>

/** Status line and headers, with the empty line. */
export function head(status: number, headers: Headers = {}): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  return `HTTP/1.1 ${status} Said\r\n${lines.join('')}\r\n`
}

/** A whole answer with its length. */
export function say(status: number, body: string | Uint8Array = '', headers: Headers = {}): Conduct {
  const bytes = Buffer.from(body)
  return (socket) => {
    socket.write(head(status, { 'Content-Length': bytes.length, ...headers }))
    socket.end(bytes)
  }
}

/** Bytes as they are, and then the end of the connection. */
export function bytes(...pieces: readonly (string | Uint8Array)[]): Conduct {
  return (socket) => {
    for (const piece of pieces) socket.write(piece)
    socket.end()
  }
}

/** Pieces one after another, until the client has enough; `first` at once. */
export function trickle(first: string, piece: string | Uint8Array, everyMs: number): Conduct {
  return (socket) => {
    if (first !== '') socket.write(first)
    const timer = setInterval(() => {
      // No faster than it is taken.
      if (socket.writableLength < 1_000_000) socket.write(piece)
    }, everyMs)
    socket.once('close', () => {
      clearInterval(timer)
    })
  }
}

/** Serves a body as a good web server does: 304 where the ETag is known. */
export function serve(body: string | Uint8Array, etag: string, headers: Headers = {}): Conduct {
  return (socket, asked) => {
    const isKnown = asked.headers.get('if-none-match') === etag
    say(isKnown ? 304 : 200, isKnown ? '' : body, { ETag: etag, ...headers })(socket, asked)
  }
}
