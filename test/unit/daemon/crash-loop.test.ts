import path from 'node:path'
import t from 'tap'
import { CrashLoop, held, holdReason } from '../../../agent/daemon/crash-loop.ts'
import type { Start } from '../../../agent/daemon/crash-loop.ts'
import { documents, Rig } from '../../support/rig.ts'
import type { Kernel } from '../../../agent/kernel/port.ts'
import type { Op } from '../../../agent/model/op.ts'

const forgotten = { crashes: 0, waitMs: 0, hold: false }

/** The start of the process after those that had this run directory before. */
function next(directory: string): { readonly loop: CrashLoop; readonly start: Start } {
  const loop = new CrashLoop(directory)
  return { loop, start: loop.begin() }
}

/** What eight processes in a row were told at their start, each of which ended as `end` says. */
function row(directory: string, end: (loop: CrashLoop) => void): readonly Start[] {
  return Array.from({ length: 8 }, () => {
    const { loop, start } = next(directory)
    end(loop)
    return start
  })
}

const waits = [0, 0, 0, 1000, 2000, 4000, 8000, 16_000]
const holds = [false, false, false, false, false, false, true, true]

for (const [what, end] of [
  [
    'errors',
    (loop: CrashLoop): void => {
      loop.crashed()
    },
  ],
  [
    'errors after the first audit',
    (loop: CrashLoop): void => {
      loop.settled()
      loop.crashed()
    },
  ],
  ['ends without a word before the first audit', (): void => undefined],
] as const) {
  void t.test(`three ${what} make the next start wait, longer each time; six make it hold`, (t) => {
    const directory = path.join(t.testdir(), 'run')
    const starts = row(directory, end)
    t.strictSame(
      starts.map(({ waitMs }) => waitMs),
      waits,
    )
    t.strictSame(
      starts.map(({ hold }) => hold),
      holds,
    )
    next(directory).loop.forget()
    t.strictSame(next(directory).start, forgotten)
    t.end()
  })
}

void t.test('being killed after the first audit is no crash, and ends a row of early ends', (t) => {
  const directory = path.join(t.testdir(), 'run')
  const killed = row(directory, (loop) => {
    loop.settled()
  })
  t.ok(
    killed.every(({ crashes }) => crashes === 0),
    'never',
  )
  for (let i = 0; i < 4; i++) next(directory)
  const { loop, start } = next(directory)
  t.equal(start.crashes, 4)
  loop.settled()
  t.equal(next(directory).start.crashes, 0)
  t.end()
})

void t.test('an audit that was held back proves nothing', (t) => {
  const directory = path.join(t.testdir(), 'run')
  for (let i = 0; i < 6; i++) next(directory)
  const { loop, start } = next(directory)
  t.ok(start.hold)
  loop.settled()
  t.ok(next(directory).start.hold)
  t.end()
})

void t.test('a torn file begins the count anew', (t) => {
  const directory = t.testdir({ 'crashes.json': '{"crashes":', 'starts.json': '' })
  t.strictSame(next(directory).start, forgotten)
  t.end()
})

void t.test('a run directory that cannot be written keeps nobody from starting', (t) => {
  const directory = path.join(t.testdir({ file: '' }), 'file', 'run')
  const { loop, start } = next(directory)
  t.match(start, { crashes: 0, hold: false, uncounted: /ENOTDIR/ })
  loop.crashed()
  t.end()
})

void t.test('a held kernel answers every op with the reason and carries out none', async (t) => {
  const kernel = {
    apply: () => {
      throw new Error('must not be called')
    },
  } as unknown as Kernel
  const op: Op = { verb: 'add', object: { kind: 'sysctl', name: 'net/ipv4/ip_forward', value: '1' } }
  const [result] = await held(kernel, holdReason(6)).apply([op], new AbortController().signal)
  t.match(result?.error?.reason, /crashed 6 times/)
})

void t.test('a held agent says so even where it has nothing to write', async (t) => {
  const rig = new Rig()
  rig.deliver(documents(2))
  await rig.turn()
  const view = rig.view({ startedAt: performance.now(), hindrance: holdReason(6) })
  const { health, failures } = await view.status()
  t.equal(health, 'degraded')
  t.match(failures, [{ reason: /crashed 6 times/ }])
})
