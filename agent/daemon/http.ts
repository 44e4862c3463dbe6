/**
 * Small HTTP for the control socket and the metrics port: a table of routes, and limits, because whoever may connect may
 * also flood, dawdle or never read. Long answers are made and sent in pieces, so that none stalls the event loop or piles
 * up in memory before a slow reader.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { once } from 'node:events'
import { LinkspanError, reasonOf } from '../errors.ts'
import { Listener } from './listener.ts'

/** The control socket, in the run directory. */
export const socketName = 'linkspan.sock'

export interface Answer {
  readonly status?: number
  readonly type?: string
  readonly body: string | AsyncIterable<string>
}

/** `GET /status` -> answer. The signal aborts when the asker is gone or has had its time. */
export type Routes = Readonly<
  Record<string, (query: URLSearchParams, signal: AbortSignal) => Answer | Promise<Answer>>
>

/** Connections at once; what comes above is closed. */
const connections = 64
/** For the headers of a request to come in, and for the rest of it, in ms. */
const requestMs = 2000
/** Without a byte either way. */
const idleMs = 5000
/** For an answer to be made and taken, in ms. */
const answerMs = 60_000

/** `allow`: refuses a request before it is routed, e.g. by its Host header. */
export function httpServer(
  routes: Routes,
  allow: (request: IncomingMessage) => boolean = () => true,
): Listener {
  const server = new Listener({
    headersTimeout: requestMs,
    requestTimeout: requestMs,
    connectionsCheckingInterval: 1000,
    keepAliveTimeout: 1000,
    maxHeaderSize: 8192,
  })
  server.maxConnections = connections
  server.on('connection', (socket) => {
    socket.setTimeout(requestMs, () => socket.destroy())
  })
  server.on('request', (request, response) => {
    request.resume()
    response.on('error', () => response.destroy())
    if (allow(request)) void answer(routes, request, response)
    else response.writeHead(403, { 'content-type': 'text/plain' }).end('forbidden\n')
  })
  server.on('clientError', (_error, socket) => socket.destroy())
  return server
}

async function answer(routes: Routes, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const gone = new AbortController()
  const timer = setTimeout(() => response.destroy(), answerMs)
  response.socket?.setTimeout(0)
  response.once('close', () => {
    clearTimeout(timer)
    gone.abort(
      new LinkspanError({ code: 'internal', object: 'request', reason: 'nobody waits for the answer' }),
    )
  })
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost')
  const name = `${request.method ?? ''} ${pathname}`
  try {
    const handler = Object.hasOwn(routes, name) ? routes[name] : undefined
    const made =
      handler === undefined ? { status: 404, body: 'not found\n' } : await handler(searchParams, gone.signal)
    await send(response, made)
  } catch (error) {
    const { code, object, reason, next } = reasonOf(error, pathname)
    if (response.headersSent) response.destroy()
    else await send(response, json({ error: { code, object, reason, next } }, 500))
  }
}

async function send(
  response: ServerResponse,
  { status = 200, type = 'text/plain; charset=utf-8', body }: Answer,
): Promise<void> {
  if (response.destroyed) return
  // From here on silence is the reader's.
  response.socket?.setTimeout(idleMs)
  response.setHeader('content-type', type)
  response.statusCode = status
  if (typeof body === 'string') {
    response.setHeader('content-length', Buffer.byteLength(body))
    response.end(body)
    return
  }
  for await (const piece of body) {
    if (isGone(response)) return
    if (!response.write(piece)) await Promise.race([once(response, 'drain'), once(response, 'close')])
  }
  response.end()
}

/** Through a function, because the compiler takes a property to stay as it was across an await. */
function isGone(response: ServerResponse): boolean {
  return response.destroyed
}

export function json(value: unknown, status = 200): Answer {
  return { status, type: 'application/json', body: `${JSON.stringify(value)}\n` }
}

/** `{"schema":1,"routes":[...]}` in pieces: `head` is the object, `name` the list's. */
export function jsonList(
  head: Readonly<Record<string, unknown>>,
  name: string,
  items: AsyncIterable<readonly unknown[]>,
): Answer {
  async function* body(): AsyncGenerator<string> {
    yield `${JSON.stringify(head).slice(0, -1)},${JSON.stringify(name)}:[`
    let separator = ''
    for await (const piece of items) {
      yield `${separator}${JSON.stringify(piece).slice(1, -1)}`
      separator = ','
    }
    yield ']}\n'
  }
  return { type: 'application/json', body: body() }
}

/** Resolves when the server listens. */
export function listen(
  server: Server,
  where: { readonly path: string } | { readonly host: string; readonly port: number },
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(where, () => {
      server.off('error', reject)
      resolve()
    })
  })
}
