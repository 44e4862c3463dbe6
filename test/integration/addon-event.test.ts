/** The addon's subscriptions and sd_notify, and how a process that uses the addon ends. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { addon } from '../../agent/kernel/addon.ts'
import { routeFilter } from '../../agent/kernel/event-filter.ts'
import { flag, forEachMessage, MessageWriter } from '../../agent/kernel/message.ts'
import { run } from '../support/command.ts'
import { isolated } from '../support/isolate.ts'

const route = 0
const linkGroup = 1
const route4Group = 7
const newRoute = 24
const MiB = 1 << 20

interface Seen {
  readonly types: Map<number, number>
  chunks: number
  overflows: number
  close(): void
}

function watch(groups: readonly number[], bufferBytes: number, filter?: Uint8Array): Seen {
  const seen: Seen = { types: new Map(), chunks: 0, overflows: 0, close: () => undefined }
  const subscription = addon().subscribe(
    route,
    groups,
    bufferBytes,
    (chunk) => {
      seen.chunks++
      forEachMessage(chunk, (type) => seen.types.set(type, (seen.types.get(type) ?? 0) + 1))
    },
    () => seen.overflows++,
    filter,
  )
  seen.close = () => {
    subscription.close()
  }
  return seen
}

/** Routes over lo in table 19539, of distinct /32s. */
function routes(from: number, count: number): Uint8Array {
  const writer = new MessageWriter()
  for (let n = from; n < from + count; n++) {
    writer.begin(newRoute, flag.create)
    writer.bytes(Uint8Array.of(2, 32, 0, 0, 252, 76, 253, 1, 0, 0, 0, 0))
    writer.attr(1, Uint8Array.of(10, n >> 16, n >> 8, n))
    writer.attrU32(15, 19539)
    writer.attrU32(4, 1)
    writer.end()
  }
  return writer.take()
}

/** Until `done`, for two seconds at most. */
async function settle(done: () => boolean): Promise<void> {
  for (let i = 0; i < 200 && !done(); i++) await new Promise((resolve) => setTimeout(resolve, 10))
}

/** The main thread stands still: nothing is read meanwhile. */
function stall(seconds: number): void {
  execFileSync('sleep', [String(seconds)])
}

/** Runs a module in a process of its own, `api` being the addon. */
async function child(
  code: string,
): Promise<{ status: number | null; signal: string | null; output: string }> {
  const api = new URL('../../agent/kernel/addon.js', import.meta.url).href
  const preamble = `import { addon } from ${JSON.stringify(api)}; const api = addon();`
  const process_ = spawn(process.execPath, ['--expose-gc', '--input-type=module', '-e', preamble + code], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 20_000,
    env: { PATH: process.env['PATH'] ?? '' },
  })
  let output = ''
  process_.stdout.on('data', (data: Buffer) => (output += data.toString()))
  process_.stderr.on('data', (data: Buffer) => (output += data.toString()))
  const [status, signal] = (await once(process_, 'close')) as [number | null, string | null]
  return { status, signal, output }
}

const datagramReader = `
  $| = 1;
  alarm 10;
  my $name = $ARGV[0];
  $name =~ s/^@/\\0/;
  socket(my $socket, AF_UNIX, SOCK_DGRAM, 0) or die;
  bind($socket, pack('Sa*', AF_UNIX, $name)) or die $!;
  print 'ready';
  recv($socket, my $data, 65536, 0);
  print $data;
  sleep 60;
`

await isolated(import.meta.url, async (directory) => {
  const socket = addon().openSocket(route)

  await t.test('events come, in chunks, and know who caused them', async (t) => {
    const seen = watch([linkGroup, route4Group], 8 * MiB)
    const muted = watch([linkGroup, route4Group], 8 * MiB, routeFilter(socket.portId))
    const from = performance.now()
    t.same(await socket.request(routes(0, 20_000)), [])
    run('ip', 'link', 'add', 'name', 'lst-a', 'type', 'bridge')
    run('ip', 'route', 'add', '192.0.2.0/24', 'dev', 'lo')
    await settle(() => (seen.types.get(newRoute) ?? 0) > 20_000 && (muted.types.get(newRoute) ?? 0) > 0)
    t.equal(seen.types.get(newRoute), 20_001)
    t.ok((seen.types.get(16) ?? 0) >= 1, 'the link')
    const elapsed = performance.now() - from
    // 2 ms are gathered, and 2 MB of events are some 20 full chunks.
    t.ok(seen.chunks < elapsed / 2 + 30, `${seen.chunks} chunks in ${elapsed.toFixed()} ms`)
    t.equal(muted.types.get(newRoute), 1, 'own routes were dropped in the kernel, the foreign one was not')
    t.ok((muted.types.get(16) ?? 0) >= 1)
    t.same([seen.overflows, muted.overflows], [0, 0])
    seen.close()
    seen.close()
    muted.close()
    const { chunks } = seen
    run('ip', 'route', 'del', '192.0.2.0/24', 'dev', 'lo')
    await new Promise((resolve) => setTimeout(resolve, 50))
    t.equal(seen.chunks, chunks, 'silence after close()')
  })

  await t.test('a stalled reader is told what it lost, and hears the next event', async (t) => {
    const small = watch([route4Group], 64 * 1024)
    const large = watch([route4Group], 32 * MiB)
    const pending = socket.request(routes(100_000, 60_000))
    await new Promise((resolve) => setImmediate(resolve)) // it is under way
    stall(1.5)
    t.same(await pending, [])
    await settle(() => small.overflows > 0 && (large.types.get(newRoute) ?? 0) === 60_000)
    t.ok(small.overflows > 0, `${small.overflows} overflows`)
    t.ok((small.types.get(newRoute) ?? 0) < 60_000)
    t.equal(large.overflows, 0)
    t.equal(large.types.get(newRoute), 60_000)
    const before = small.types.get(newRoute) ?? 0
    t.same(await socket.request(routes(0x900000, 1)), [])
    await settle(() => (small.types.get(newRoute) ?? 0) > before)
    t.equal(small.types.get(newRoute), before + 1)
    small.close()
    large.close()
  })

  await t.test('subscriptions come and go without leaving a thread or a descriptor', (t) => {
    const count = (): number => readdirSync('/proc/self/fd').length + readdirSync('/proc/self/task').length
    const before = count()
    for (let i = 0; i < 100; i++) watch([route4Group], MiB).close()
    t.ok(count() < before + 20)
    t.throws(() => watch([4_000_000], MiB), { code: 'netlink', object: /groups 4000000/ })
    t.end()
  })

  await t.test('a subscription keeps no process alive and survives its opener’s neglect', async (t) => {
    const quiet = await child(`api.subscribe(0, [1], 65536, () => {}, () => {})`)
    t.same(quiet, { status: 0, signal: null, output: '' })
    const neglected = child(`
      api.subscribe(0, [1], 65536, () => { console.log('heard'); clearTimeout(wait) }, () => {})
      const wait = setTimeout(() => {}, 15000)
      for (let i = 0; i < 3; i++) { gc(); await new Promise(setImmediate) }
      console.log('ready')`)
    let tries = 0
    const again = setInterval(() => {
      run('ip', 'link', tries++ % 2 === 0 ? 'add' : 'del', 'name', 'lst-b', 'type', 'bridge')
    }, 200)
    const { status, output } = await neglected
    clearInterval(again)
    t.equal(status, 0)
    t.match(output, /heard/)
  })

  await t.test('what a callback throws is an uncaught exception', async (t) => {
    const { status, output } = await child(`
      const { execFileSync } = await import('node:child_process')
      process.on('uncaughtException', (error) => { console.log('caught', error.message); process.exit(7) })
      api.subscribe(0, [1], 65536, () => { throw new Error('mine') }, () => {})
      execFileSync('ip', ['link', 'add', 'name', 'lst-c', 'type', 'bridge'])
      setTimeout(() => {}, 5000)`)
    t.equal(output, 'caught mine\n')
    t.equal(status, 7)
  })

  await t.test('a process, and a worker, may end in the middle of everything', async (t) => {
    const middle = `
      const dump = Buffer.from('1c0000001a000103000000000000000002000000000000000000000000', 'hex')
      const socket = api.openSocket(0)
      api.subscribe(0, [1, 7], 65536, () => {}, () => {})
      void socket.dump(dump.subarray(0, 28), () => {})
      void socket.dump(dump.subarray(0, 28), () => {})
      await new Promise((resolve) => setTimeout(resolve, 5))
      `
    for (const ending of ['process.exit(3)', 'process.kill(process.pid, "SIGTERM")']) {
      const { status, signal, output } = await child(middle + ending)
      t.equal(output, '')
      t.ok(status === 3 || signal === 'SIGTERM', `${String(status)} ${String(signal)}`)
    }
    const api = new URL('../../agent/kernel/addon.js', import.meta.url).href
    const inWorker = `import { addon } from ${JSON.stringify(api)}; const api = addon(); ${middle} setTimeout(() => {}, 60000)`
    const worker = await child(`
      const { Worker } = await import('node:worker_threads')
      for (let i = 0; i < 5; i++) {
        const worker = new Worker(new URL('data:text/javascript,' + encodeURIComponent(${JSON.stringify(inWorker)})))
        worker.on('error', (error) => { console.log(error); process.exit(1) })
        await new Promise((resolve) => setTimeout(resolve, 40 + 10 * i))
        await worker.terminate()
      }
      console.log('done')`)
    t.equal(worker.output, 'done\n')
    t.equal(worker.status, 0)
  })

  await t.test('sd_notify reaches a path and an abstract name', async (t) => {
    const file = path.join(directory, 'notify')
    for (const name of [file, `@linkspan-test-${process.pid}`]) {
      // Node has no datagram sockets of this family; perl is part of every Debian.
      const reader = spawn('perl', ['-MSocket', '-e', datagramReader, name], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      await once(reader.stdout, 'data')
      const state = `READY=1\nSTATUS=${'three sites talk; '.repeat(100)}`
      t.equal(addon().notify(name, state), 0)
      const [said] = (await once(reader.stdout, 'data')) as [Buffer]
      t.equal(said.toString(), state)
      reader.kill()
      await once(reader, 'close')
    }
    t.equal(addon().notify(file, 'READY=1'), 111, 'ECONNREFUSED')
    t.equal(addon().notify(path.join(directory, 'none'), 'READY=1'), 2, 'ENOENT')
    t.equal(addon().notify('', 'READY=1'), 22)
    t.equal(addon().notify('x'.repeat(200), 'READY=1'), 22)
  })
  socket.close()
})
