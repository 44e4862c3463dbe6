/** A listener without descriptors, in a process of its own whose limit is taken away. */
import { execFileSync, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { shortDirectory } from '../../support/short-directory.ts'

t.setTimeout(120_000)

const program = `
const { httpServer, json, listen } = await import('${new URL('../../../agent/daemon/http.js', import.meta.url).href}')
const server = httpServer({ 'GET /': () => json({}) })
await server.keepListening(() => listen(server, { path: process.argv[1] }))
const alive = setInterval(() => undefined, 100_000)
process.once('SIGTERM', () => {
  clearInterval(alive)
  server.close()
})
console.log('listens')
`

/** CPU seconds that a process has used (proc(5): utime and stime, in ticks of 10 ms). */
function used(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}

void t.test('lets go while there are no descriptors, and comes back', async (t) => {
  const file = path.join(shortDirectory(t), 's')
  const child = spawn(process.execPath, ['--input-type=module', '-e', program, file])
  t.teardown(() => child.kill('SIGKILL'))
  const exited = new Promise((resolve) => child.once('exit', resolve))
  await new Promise((resolve) => child.stdout.once('data', resolve))
  const pid = child.pid ?? 0
  const limits = /Max open files +\d+ +(\d+)/.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))
  const limit = (soft: string): void => {
    execFileSync('prlimit', ['--pid', String(pid), `--nofile=${soft}:${limits?.[1] ?? ''}`])
  }
  t.ok(await answers(file))

  limit('4')
  const waiting = Array.from({ length: 3 }, () => connect(file).on('error', () => undefined))
  for (let i = 0; i < 200 && (await accepts(file)); i++) await pause(50)
  t.notOk(await accepts(file), 'who connects is refused')
  const before = used(pid)
  const began = performance.now()
  await pause(2000)
  const share = ((used(pid) - before) * 1000) / (performance.now() - began)
  t.ok(share < 0.1, `${Math.round(share * 100)} % of a core`)
  for (const socket of waiting) socket.destroy()

  limit(limits?.[1] ?? '')
  for (let i = 0; i < 200 && !(await accepts(file)); i++) await pause(50)
  t.ok(await answers(file), 'it answers again')
  child.kill('SIGTERM')
  t.equal(await exited, 0, 'and a closed one stays closed')
})

function accepts(file: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(file)
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => {
      resolve(false)
    })
  })
}

function answers(file: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(file)
    socket.on('error', () => undefined)
    socket.on('data', (data: Buffer) => {
      socket.destroy()
      resolve(data.toString().startsWith('HTTP/1.1 200'))
    })
    socket.on('close', () => {
      resolve(false)
    })
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
  })
}
