import path from 'node:path'
import t from 'tap'
import { CrashLoop, held } from '../../../agent/daemon/crash-loop.ts'
import type { Kernel } from '../../../agent/kernel/port.ts'
import type { Op } from '../../../agent/model/op.ts'

void t.test('three crashes make the next start wait, longer each time; six make it hold', (t) => {
  const loop = new CrashLoop(path.join(t.testdir(), 'run'))
  const starts = []
  for (let crashes = 0; crashes < 8; crashes++) {
    starts.push(loop.start)
    loop.crashed()
  }
  t.strictSame(
    starts.map(({ waitMs }) => waitMs),
    [0, 0, 0, 1000, 2000, 4000, 8000, 16_000],
  )
  t.strictSame(
    starts.map(({ hold }) => hold),
    [false, false, false, false, false, false, true, true],
  )
  loop.forget()
  t.strictSame(loop.start, { crashes: 0, waitMs: 0, hold: false })
  t.end()
})

void t.test('a torn file begins the count anew', (t) => {
  const directory = t.testdir({ 'crashes.json': '{"crashes":' })
  t.equal(new CrashLoop(directory).start.crashes, 0)
  t.end()
})

void t.test('a held kernel answers every op with the reason and carries out none', async (t) => {
  const kernel = {
    apply: () => {
      throw new Error('must not be called')
    },
  } as unknown as Kernel
  const op: Op = { verb: 'add', object: { kind: 'sysctl', name: 'net/ipv4/ip_forward', value: '1' } }
  const [result] = await held(kernel, 6).apply([op], new AbortController().signal)
  t.match(result?.error?.reason, /crashed 6 times/)
})
