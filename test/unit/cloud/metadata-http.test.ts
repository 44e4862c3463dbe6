import { createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import t from 'tap'
import type { Test } from 'tap'
import type { MetadataClient, MetadataFailure } from '../../../agent/cloud/metadata-http.ts'
import { MetadataServer, serve } from '../../support/metadata-server.ts'

async function failureOf(client: MetadataClient, path = '/a'): Promise<MetadataFailure> {
  return (await client.ask({ path, headers: {} }).then(
    ({ status }) => Promise.reject(new Error(`answered ${status}`)),
    (error: unknown) => error,
  )) as MetadataFailure
}

void t.test('asks with the headers given, and only that', async (t) => {
  const server = await serve(t, () => ({ body: 'i-0123\n' }))
  const answer = await server.client().ask({ path: '/a?b=c', headers: { 'X-Token': 'secret' } })
  t.same(answer, { status: 200, text: 'i-0123\n' })
  t.same(server.paths, ['GET /a?b=c'])
  t.same(server.asked[0]?.headers, { 'x-token': 'secret', host: '169.254.169.254', connection: 'close' })
})

void t.test('404 is nothing; other statuses are failures', async (t) => {
  let status = 404
  const server = await serve(t, () => ({ status, body: 'no' }))
  const get = (): Promise<string | undefined> => server.client().get({ path: '/a', headers: {} })
  t.equal(await get(), undefined)
  for (status of [400, 401, 403, 410, 429, 500, 503]) {
    await t.rejects(get(), { name: 'MetadataFailure', reason: `answered ${status} to /a` })
  }
})

void t.test('a redirect is not followed', async (t) => {
  const target = await serve(t, () => ({ body: 'stolen' }))
  for (const status of [301, 302, 303, 307, 308]) {
    const location = `http://127.0.0.1:${target.port}/`
    const server = await serve(t, () => ({ status, headers: { location } }))
    t.match((await failureOf(server.client())).reason, /^answered with a redirect to "http:/)
  }
  t.same(target.asked, [])
})

void t.test('a web page is no answer of the service', async (t) => {
  const server = await serve(t, () => ({
    headers: { 'content-type': 'text/html; charset=utf-8' },
    body: '<html>Welcome to the hotel network</html>',
  }))
  t.match((await failureOf(server.client())).reason, /web page/)
})

void t.test('an answer without the header that it must have', async (t) => {
  let flavor = 'Google'
  const server = await serve(t, () => ({ headers: { 'metadata-flavor': flavor }, body: 'x' }))
  const request = { path: '/a', headers: {}, signature: ['Metadata-Flavor', 'Google'] } as const
  t.equal((await server.client().ask(request)).text, 'x')
  flavor = 'Vanilla'
  await t.rejects(server.client().ask(request), /without Metadata-Flavor: Google/)
  server.become(() => ({ status: 404 }))
  await t.rejects(server.client().get(request), /without Metadata-Flavor/, 'a 404 either')
})

void t.test('256 KiB are read, and no byte more', async (t) => {
  const most = 256 * 1024
  let length = most
  const server = await serve(t, () => ({ body: 'x'.repeat(length) }))
  t.equal((await server.client().ask({ path: '/a', headers: {} })).text.length, most)
  length = most + 1
  t.match((await failureOf(server.client())).reason, /more than 262144 bytes/)
})

/** A server of bytes. */
async function bytes(t: Test, serve: (socket: Socket) => void): Promise<Server> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined) // the client hangs up on purpose
    socket.once('data', () => {
      serve(socket)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return server
}

async function clientOf(
  t: Test,
  server: Server,
  signal = new AbortController().signal,
): Promise<MetadataClient> {
  const { connect } = await import('node:net')
  const port = (server.address() as AddressInfo).port
  const other = await MetadataServer.listen(() => undefined)
  t.teardown(() => {
    other.close()
  })
  return other.client({ dial: () => connect({ host: '127.0.0.1', port }), signal })
}

void t.test('an endless answer ends at the limit, not with the memory', async (t) => {
  let sent = 0
  const server = await bytes(t, (socket) => {
    const more = (): void => {
      while (!socket.destroyed && sent < 1 << 30) {
        sent += 65_536
        if (!socket.write('x'.repeat(65_536))) {
          socket.once('drain', more)
          return
        }
      }
    }
    socket.write('HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n')
    more()
  })
  t.match((await failureOf(await clientOf(t, server))).reason, /more than 262144 bytes/)
  t.ok(sent < 1 << 26, `${sent} bytes sent`)
})

void t.test('answers that are no HTTP, or break off', async (t) => {
  const head = 'HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n'
  const table: readonly (readonly [string, RegExp])[] = [
    ['SSH-2.0-OpenSSH_9.2\r\n', /Parse Error/],
    ['', /hang up|ECONNRESET/],
    [`${head}content-length: 9\r\n\r\nshort`, /broke off|ECONNRESET|aborted/],
    [`${head}transfer-encoding: chunked\r\n\r\nzz\r\n`, /Parse Error|broke off/],
    [`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(100_000)}\r\n\r\n`, /overflow/i],
  ]
  for (const [text, reason] of table) {
    const server = await bytes(t, (socket) => {
      socket.end(text)
    })
    t.match((await failureOf(await clientOf(t, server))).reason, reason, JSON.stringify(text.slice(0, 40)))
  }
})

void t.test('nobody answers: refused, silent, and no time left', async (t) => {
  const end = new AbortController()
  const server = await serve(t, () => {
    end.abort()
    return undefined
  })
  const client = server.client({ signal: end.signal })
  const silent = await failureOf(client)
  t.match(silent, { reason: 'no answer to /a in time', silent: true })
  t.match(await failureOf(client), { reason: /no time left/, silent: false })
  server.close()
  const refused = await failureOf(server.client())
  t.match(refused, { silent: false, object: 'metadata service', reason: /ECONNREFUSED/ })
})

void t.test('a deadline that ends in the middle of an answer', async (t) => {
  const server = await bytes(t, (socket) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nslow')
  })
  const end = new AbortController()
  setTimeout(() => {
    end.abort()
  }, 50)
  t.match(await failureOf(await clientOf(t, server, end.signal)), { reason: /in time/ })
})

void t.test('no proxy is used, whatever the environment says', async (t) => {
  const proxy = await serve(t, () => ({ body: 'proxied' }))
  const server = await serve(t, () => ({ body: 'direct' }))
  const before = { ...process.env }
  t.teardown(() => {
    process.env = before
  })
  for (const name of ['http_proxy', 'HTTP_PROXY', 'all_proxy']) {
    process.env[name] = `http://127.0.0.1:${proxy.port}`
  }
  process.env['NODE_USE_ENV_PROXY'] = '1'
  t.equal((await server.client().ask({ path: '/a', headers: {} })).text, 'direct')
  t.same(proxy.asked, [])
})
