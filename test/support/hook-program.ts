/** The programs for hooks, run as the agent does, against a service of the test's own on 127.0.0.1. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

export interface Asked {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

export interface Said {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/** Undefined: 404. */
export type Service = (asked: Asked) => Said | undefined

export interface Serving {
  readonly url: string
  /** `METHOD /path`, in order. */
  readonly asked: Asked[]
}

/** Gone with the test. On a free port of this host, unless told where. */
export async function serve(
  t: Test,
  service: Service,
  { host, port } = { host: '127.0.0.1', port: 0 },
): Promise<Serving> {
  const asked: Asked[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const { method = '', headers } = request
      const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost')
      const one = {
        method,
        path: pathname,
        query: searchParams,
        headers,
        body: Buffer.concat(chunks).toString(),
      }
      asked.push(one)
      const { status = 200, headers: more = {}, body = '' } = service(one) ?? { status: 404 }
      response.writeHead(status, { 'content-type': 'text/plain', ...more })
      response.end(body)
    })
  }).listen(port, host)
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return { url: `http://${host}:${(server.address() as AddressInfo).port}`, asked }
}

export interface Ran {
  readonly status: number
  /** Lines of stdout. */
  readonly said: readonly string[]
  readonly stderr: string
}

/** `config`: its file, without the addresses of `serving`. */
export async function runHookProgram(
  t: Test,
  name: string,
  config: readonly string[],
  prefixes: readonly string[],
  ...options: readonly string[]
): Promise<Ran> {
  const file = path.join(t.testdir(), `${name}.yml`)
  writeFileSync(file, `${config.join('\n')}\n`)
  const program = fileURLToPath(new URL(`../../agent/hook/${name}.js`, import.meta.url))
  const child = spawn(process.execPath, [program, '--config', file, ...options], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'] ?? '', HTTP_PROXY: 'http://127.0.0.1:1', NODE_USE_ENV_PROXY: '' },
    timeout: 120_000,
  })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (piece: Buffer) => (stdout += piece.toString()))
  child.stderr.on('data', (piece: Buffer) => (stderr += piece.toString()))
  child.stdin.on('error', () => undefined) // it may end before it reads
  child.stdin.end(
    JSON.stringify({ schema: 1, cause: 'takeover', fabric: 'prod', site: 'here', gateway: 'gw-b', prefixes }),
  )
  const [status] = (await once(child, 'close')) as [number | null]
  return { status: status ?? -1, said: stdout.split('\n').filter((line) => line !== ''), stderr }
}
