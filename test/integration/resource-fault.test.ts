/**
 * Things run out: connections, descriptors, a reader of the log. The data plane stays, the reconcile goes on or comes back,
 * and nothing that cannot be looked at is taken to be gone.
 */
import type { ChildProcess } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { run } from '../support/command.ts'
import { dump, dumpDiff } from '../support/dump.ts'
import { guest, paperGateway, publish, untilDump, untilLine } from '../support/fault.ts'
import { isolated } from '../support/isolate.ts'
import type { Machine } from '../support/machine.ts'
import { Meter } from '../support/meter.ts'
import { makePair } from '../support/pair.ts'

const perSecond = guest ? 200 : 1000
const patienceMs = guest ? 120_000 : 20_000
const connections = 1000
/** More memory than this, in MB, is a leak; 1,000 connections that are held would take it. */
const growth = 48

/** Keeps so many connections to a socket open, silent; what is closed is opened again. Prints how many it has opened. */
const flooder = `
const { connect } = require('node:net')
const where = JSON.parse(process.argv[1])
let opened = 0
const open = () => {
  const socket = connect(where, () => opened++)
  socket.on('error', () => undefined)
  socket.on('close', () => setTimeout(open, 500))
}
for (let i = 0; i < ${connections}; i++) open()
setInterval(() => console.log(opened), 100)
`

const listeners = {
  'the control socket': { path: '/run/linkspan/linkspan.sock' },
  'the metrics listener': { port: 9586, host: '127.0.0.1' },
} as const

const main = fileURLToPath(new URL('../../agent/main.js', import.meta.url))

/** The agent with a FIFO for its log, which is full, and whose reader does not read. */
const blocked = `
mkfifo /run/log
sleep infinity </run/log &
exec 2>/run/log
head -c 65536 /dev/zero >&2
exec '${process.execPath}' '${main}' agent --verbose
`

/** A route of ours in the dump. */
function through(prefix: string): RegExp {
  return new RegExp(`^route[46]\t1 ${prefix.replaceAll('.', '\\.')} .*table 19539`)
}

await isolated(import.meta.url, async (directory) => {
  const { lab, left, right, leftHost, rightHost } = await makePair(directory)
  const gateway = left.machine
  let serial = 1
  const news = (prefixes: readonly string[]): Promise<void> =>
    publish(lab.registry, paperGateway('a', ++serial, { prefixes }))

  for (const [what, where] of Object.entries(listeners)) {
    await t.test(`${connections} connections to ${what}`, async (t) => {
      const rssBefore = residentMb(left.pid)
      const flood = await startFlood(gateway, where)
      t.teardown(() => flood.kill('SIGKILL'))
      const began = performance.now()
      const next = serial % 2 === 0 ? '10.51.0.0/16' : '10.52.0.0/16'
      await news([next])
      await untilLine(gateway, through(next))
      const ms = performance.now() - began
      t.ok(guest || ms < 1500, `a change was in the kernel after ${Math.round(ms)} ms`)
      let held = 0
      for (let i = 0; i < 40; i++) {
        held = Math.max(held, readdirSync(`/proc/${left.pid}/fd`).length)
        await pause(50)
      }
      t.ok(held < 200, `${held} descriptors were open at most`)
      await end(flood)
      const answered = await until(() =>
        Promise.resolve([0, 3].includes(left.cli('status').status) || undefined),
      )
      t.ok(answered, 'status answers again')
      t.match(gateway.run('curl', '-sS', '-m', '10', 'http://127.0.0.1:9586/healthz'), 'ok', 'metrics, too')
      const rss = residentMb(left.pid)
      t.ok(rss - rssBefore < growth, `${rssBefore} MB before, ${rss} MB after`)
    })
  }

  await t.test('no descriptor is left', async (t) => {
    await news(['10.50.0.0/16'])
    await untilLine(gateway, through('10.50.0.0/16'))
    const meter = await Meter.start(leftHost, rightHost, '10.2.0.10', { perSecond })
    const whole = dump(gateway)
    const limits = /Max open files +(\d+) +(\d+)/.exec(readFileSync(`/proc/${left.pid}/limits`, 'utf8'))
    const limit = (soft: number): void => {
      run('prlimit', '--pid', String(left.pid), `--nofile=${soft}:${limits?.[2] ?? ''}`)
    }
    const from = left.log.length
    const flood = await startFlood(gateway, listeners['the control socket'], 100)
    t.teardown(() => flood.kill('SIGKILL'))
    // What is open stays open; nothing more can be opened, no connection accepted, no program run. A limit below what
    // poll(2) is given would make it fail.
    limit(4)
    gateway.ip('route del 100.127.0.50 table 19539')
    await news(['10.51.0.0/16'])
    t.ok(
      await until(() =>
        Promise.resolve(/EMFILE|too many open files/i.test(left.log.slice(from)) || undefined),
      ),
      `it is told: ${left.log.slice(from)}`,
    )
    await pause(2000) // its listeners look once a second
    const used = cpuSeconds(left.pid)
    const since = performance.now()
    await pause(3000)
    const share = ((cpuSeconds(left.pid) - used) * 1000) / (performance.now() - since)
    t.ok(guest || share < 0.25, `${Math.round(share * 100)} % of a core meanwhile`)
    const gone = dumpDiff(whole, dump(gateway)).filter((line) => line.startsWith('- '))
    t.strictSame(
      gone.filter((line) => !/100\.127\.0\.50 |nh_info/.test(line)),
      [],
      'nothing was removed for want of a look',
    )
    t.ok(left.running, 'it runs')
    await end(flood)
    limit(Number(limits?.[1]))
    const began = performance.now()
    const repaired = await until(() =>
      Promise.resolve(dump(gateway).some((line) => through('100.127.0.50').test(line)) || undefined),
    )
    t.ok(repaired, `the damage is repaired after ${Math.round(performance.now() - began)} ms`)
    t.ok(await untilLine(gateway, through('10.51.0.0/16')), 'what could not be read is read again')
    await news(['10.50.0.0/16'])
    t.strictSame(await untilDump(gateway, whole, patienceMs), [], 'and all is as before')
    t.equal((await left.untilUp(1)).failures.length, 0)
    const { sent, lost } = await meter.stop()
    t.equal(lost, 0, `lost of ${sent}`)
  })

  await t.test('nobody reads the log, and the pipe is full', async (t) => {
    t.equal(await left.stop(), 0)
    const agent = gateway.spawn('sh', ['-c', blocked], { stdio: 'ignore' })
    const exited = new Promise<number | null>((resolve) => agent.once('exit', resolve))
    t.ok(await until(() => left.status()), 'it answers')
    await left.untilUp(1)
    for (const n of [51, 52]) {
      await news([`10.${n}.0.0/16`])
      await untilLine(gateway, through(`10.${n}.0.0/16`))
    }
    gateway.ip('route del 10.2.0.0/16 table 19539')
    await untilLine(gateway, through('10.2.0.0/16'))
    t.ok(true, 'changes are followed, damage is repaired')
    const { events } = (await left.ask('/events')) as {
      readonly events: readonly { readonly event: string }[]
    }
    t.ok(
      events.some(({ event }) => event === 'drift-repaired'),
      'events are kept',
    )
    t.ok(leftHost.pings('10.2.0.10'))
    const began = performance.now()
    agent.kill('SIGTERM')
    t.equal(await exited, 0, 'exit code')
    const ms = performance.now() - began
    t.ok(guest || ms <= 2000, `it stopped within ${Math.round(ms)} ms`)
  })

  t.equal(await right.stop(), 0)
})

/** What the function answers at last; undefined where patience ended. */
async function until<T>(look: () => Promise<T | undefined>): Promise<T | undefined> {
  const began = performance.now()
  while (performance.now() - began < patienceMs) {
    const found = await look()
    if (found !== undefined) return found
    await pause(100)
  }
  return undefined
}

async function startFlood(machine: Machine, where: object, wanted = connections): Promise<ChildProcess> {
  const flood = machine.spawn(process.execPath, ['-e', flooder, JSON.stringify(where)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let opened = 0
  flood.stdout?.on('data', (chunk: Buffer) => {
    opened = Number(chunk.toString().trim().split('\n').at(-1))
  })
  // A listener's queue holds what it has not accepted yet; a closed one is opened again.
  if ((await until(() => Promise.resolve(opened >= wanted || undefined))) === undefined) {
    flood.kill('SIGKILL')
    throw new Error(`only ${opened} connections could be opened`)
  }
  return flood
}

async function end(flood: ChildProcess): Promise<void> {
  const gone = once(flood, 'exit')
  flood.kill('SIGKILL')
  await gone
}

/** proc(5): utime and stime, in ticks of 10 ms. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}

function residentMb(pid: number): number {
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024)
}
