/** Small HTTP: a table of routes, limits against floods and slow readers, JSON out. Used by the control socket and the metrics port. */
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { reasonOf } from '../errors.ts'

export interface Answer {
  readonly status?: number
  readonly type?: string
  readonly body: string
}

/** `GET /status` -> answer. */
export type Routes = Readonly<Record<string, (query: URLSearchParams) => Answer | Promise<Answer>>>

const connections = 64
const requestMs = 5000
const idleMs = 10_000

/** `allow`: refuses a request before it is routed, e.g. by its Host header. */
export function httpServer(routes: Routes, allow: (request: IncomingMessage) => boolean = () => true): Server {
  const server = createServer({ requestTimeout: requestMs, headersTimeout: requestMs, keepAliveTimeout: 1000 })
  // Floods end here: what is above the count is closed at once, and a reader that does not read is cut off.
  server.maxConnections = connections
  server.setTimeout(idleMs, (socket) => socket.destroy())
  server.on('request', (request, response) => {
    request.resume()
    if (!allow(request)) {
      send(response, { status: 403, body: 'forbidden\n', type: 'text/plain' })
      return
    }
    void answer(routes, request, response)
  })
  server.on('clientError', (_error, socket) => socket.destroy())
  return server
}

async function answer(routes: Routes, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://localhost')
  const handler = Object.hasOwn(routes, `${request.method ?? ''} ${url.pathname}`)
    ? routes[`${request.method ?? ''} ${url.pathname}`]
    : undefined
  try {
    send(response, handler === undefined ? { status: 404, body: 'not found\n' } : await handler(url.searchParams))
  } catch (error) {
    const { code, object, reason, next } = reasonOf(error, url.pathname)
    send(response, json({ error: { code, object, reason, next } }, 500))
  }
}

function send(response: ServerResponse, { status = 200, type = 'text/plain; charset=utf-8', body }: Answer): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) })
  response.end(body)
}

export function json(value: unknown, status = 200): Answer {
  return { status, type: 'application/json', body: `${JSON.stringify(value)}\n` }
}

/** Resolves when the server listens. */
export function listen(server: Server, where: { path: string } | { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(where, () => {
      server.off('error', reject)
      resolve()
    })
  })
}
