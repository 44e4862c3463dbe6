import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { request } from 'node:http'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { shortDirectory } from '../../support/short-directory.ts'
import { httpServer, json, jsonList, listen } from '../../../agent/daemon/http.ts'
import { LinkspanError } from '../../../agent/errors.ts'

/** Status and body of one request. */
function ask(socketPath: string, target: string, method = 'GET'): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, path: target, method, agent: false }, (answer) => {
      let body = ''
      answer.setEncoding('utf8')
      answer.on('data', (piece: string) => (body += piece))
      answer.on('end', () => {
        resolve({ status: answer.statusCode ?? 0, body })
      })
    })
    call.on('error', reject)
    call.end()
  })
}

function open(socketPath: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(socketPath, () => {
      resolve(socket)
    })
    socket.on('error', reject)
  })
}

async function* many(): AsyncGenerator<readonly unknown[]> {
  for (let i = 0; i < 2000; i++) {
    await Promise.resolve()
    yield Array.from({ length: 100 }, (_, n) => ({ row: i * 100 + n, text: 'x'.repeat(100) }))
  }
}

void t.test('http', async (t) => {
  const file = path.join(shortDirectory(t), 's')
  const server = httpServer({
    'GET /ok': (query) => json({ said: query.get('word') }),
    'GET /bad': () => {
      throw new LinkspanError({ code: 'conflict', object: 'link a', reason: 'is taken', next: 'rename it' })
    },
    'GET /many': () => jsonList({ schema: 1 }, 'rows', many()),
    'POST /do': () => json({ done: true }),
  })
  await listen(server, { path: file })
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })

  t.match(await ask(file, '/ok?word=hi'), { status: 200, body: '{"said":"hi"}\n' })
  t.match(await ask(file, '/none'), { status: 404 })
  t.match(await ask(file, '/do'), { status: 404 }, 'a POST is no GET')
  t.match(await ask(file, '/constructor'), { status: 404 })
  t.match(await ask(file, '/do', 'POST'), { status: 200 })
  const bad = await ask(file, '/bad')
  t.equal(bad.status, 500)
  t.same(JSON.parse(bad.body), {
    error: { code: 'conflict', object: 'link a', reason: 'is taken', next: 'rename it' },
  })

  await t.test('a long answer comes whole, in pieces', async (t) => {
    const { body } = await ask(file, '/many')
    const { schema, rows } = JSON.parse(body) as { schema: number; rows: readonly { row: number }[] }
    t.equal(schema, 1)
    t.equal(rows.length, 200_000)
    t.equal(rows.at(-1)?.row, 199_999)
  })

  await t.test('1,000 idle connections keep nobody out for long', async (t) => {
    const flood = await Promise.all(Array.from({ length: 1000 }, () => open(file).catch(() => undefined)))
    t.teardown(() => {
      for (const socket of flood) socket?.destroy()
    })
    for (const socket of flood) socket?.on('error', () => undefined)
    await pause(300) // connected is not yet accepted
    const count = await new Promise<number>((resolve, reject) => {
      server.getConnections((error, connections) => {
        if (error === null) resolve(connections)
        else reject(error)
      })
    })
    t.ok(count <= 64, `${count} connections are held`)
    const until = performance.now() + 8000
    let answered = false
    while (!answered && performance.now() < until) {
      answered = await ask(file, '/ok').then(
        ({ status }) => status === 200,
        () => false,
      )
      await pause(50)
    }
    t.ok(answered, 'an honest request is answered within the timeouts')
  })

  await t.test('a reader that does not read is cut off', async (t) => {
    const socket = await open(file)
    socket.on('error', () => undefined)
    socket.pause()
    socket.write('GET /many HTTP/1.1\r\nhost: x\r\n\r\n')
    const at = performance.now()
    const open64 = (): Promise<number> =>
      new Promise((resolve) => {
        server.getConnections((_error, connections) => {
          resolve(connections)
        })
      })
    while ((await open64()) > 0 && performance.now() - at < 12_000) await pause(100)
    t.equal(await open64(), 0)
    socket.destroy()
  })

  await t.test('half a request is cut off', async (t) => {
    const socket = await open(file)
    socket.on('error', () => undefined)
    const closed = new Promise((resolve) => socket.on('close', resolve))
    socket.resume()
    socket.write('GET /ok HT')
    const at = performance.now()
    await closed
    t.ok(performance.now() - at < 5000)
  })
})

void t.test('a request that is not allowed is not routed', async (t) => {
  const file = path.join(shortDirectory(t), 's')
  const server = httpServer({ 'GET /ok': () => json({}) }, ({ headers }) => headers.host === 'me')
  await listen(server, { path: file })
  t.match(await ask(file, '/ok'), { status: 403 })
  server.close()
  server.closeAllConnections()
})
