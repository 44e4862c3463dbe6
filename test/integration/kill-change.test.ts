/**
 * kill -9 at any write to the kernel, in a change: the next start completes it, and no packet of others is lost meanwhile.
 * The change (test/support/paper-change.ts) is gone through there and back, and killed at some of its writes; at each one
 * with LINKSPAN_TEST_LONG. The start that recovers from one death is the one that dies next.
 */
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { dumpDiff } from '../support/dump.ts'
import { guest, publish, samples, startSettled, untilDump } from '../support/fault.ts'
import type { Gateway } from '../support/gateway.ts'
import { isolated } from '../support/isolate.ts'
import { look, writesOf } from '../support/kill.ts'
import { Meter } from '../support/meter.ts'
import { addLan, lanConfig, lanFabric, makePair } from '../support/pair.ts'
import { paperChange } from '../support/paper-change.ts'

type State = 'a' | 'b'
/** What there is in one of the states alone. */
const marks: Readonly<Record<State, readonly RegExp[]>> = {
  a: [/^route4.* 10\.51\.0\.0\/16/],
  b: [/^route4.* 10\.52\.0\.0\/16/, /^route4.* 100\.127\.0\.51 /, /^fdb.* 100\.127\.0\.60 /],
}
const sampled = guest ? 4 : 16
const patienceMs = guest ? 240_000 : 60_000

await isolated(import.meta.url, async (directory) => {
  const { lab, left, right, leftHost, rightHost } = await makePair(directory, {
    fabric: lanFabric,
    config: lanConfig,
    before: async (pair) => {
      await addLan(pair)
    },
  })
  let serial = 1
  const change = async (to: State): Promise<void> => {
    await publish(lab.registry, paperChange(to, ++serial))
  }
  await change('a')
  await untilStill(left, 'a')
  await left.stop()
  await leftHost.reaches('10.2.0.10')
  const meter = await Meter.start(leftHost, rightHost, '10.2.0.10', { perSecond: guest ? 200 : 500 })

  const states: Record<State, readonly string[]> = { a: [], b: [] }
  const writes = { a: 0, b: 0 }
  await t.test('undisturbed', async (t) => {
    for (const to of ['b', 'a'] as const) {
      await startSettled(left, { FAILPOINT_ARM: 'signal' })
      left.signal('SIGUSR2')
      await change(to)
      states[to] = await untilStill(left, to)
      writes[to] = await writesOf(left)
      t.ok(writes[to] > 15, `${writes[to]} writes to ${to}`)
    }
    t.not(dumpDiff(states.a, states.b).length, 0, 'a and b differ')
  })

  await t.test('killed at a write, the next start completes the change', async (t) => {
    // Where one direction has no such write, the way goes on without a death.
    const way = samples(Math.max(writes.a, writes.b) - 1, sampled).flatMap((n) =>
      (['b', 'a'] as const).map((to) => ({ to, n: n < writes[to] ? n : Infinity })),
    )
    const startToDie = async (from: number): Promise<void> => {
      const { n } = way.slice(from).find((each) => each.n < Infinity) ?? { n: Infinity }
      await startSettled(left, { FAILPOINT_ARM: 'signal', FAILPOINT_KILL: String(n) })
    }
    let survived = 0
    await startToDie(0)
    for (const [i, { to, n }] of way.entries()) {
      const dies = n < Infinity
      if (dies) left.signal('SIGUSR2')
      await change(to)
      if (dies) {
        // How many writes there are depends a little on which documents come in one turn.
        if (!(await diesIn(left, states[to]))) survived++
        await left.stop('SIGKILL')
        await startToDie(i + 1)
      }
      t.strictSame(
        await untilDump(left.machine, states[to], dies ? undefined : patienceMs, look),
        [],
        dies ? `killed when ${n} writes to ${to} were done` : `back to ${to}`,
      )
    }
    t.ok(survived <= way.length / 5, `${survived} of ${way.length} changes took fewer writes`)
  })

  await t.test('no packet of others was lost', async (t) => {
    const { sent, lost, gapMs } = await meter.stop()
    t.equal(lost, 0, `lost of ${sent}, longest gap ${gapMs} ms`)
  })
  for (const gateway of [left, right]) await gateway.stop()
})

/** Waits for one of the states, and until nothing changes any more; that state. */
async function untilStill(gateway: Gateway, to: State): Promise<readonly string[]> {
  let before: readonly string[] = []
  for (const until = performance.now() + patienceMs; performance.now() < until;) {
    const lines = look(gateway.machine)
    const seen = (state: State) => marks[state].filter((mark) => lines.some((line) => mark.test(line))).length
    const isThere = seen(to) === marks[to].length && seen(to === 'a' ? 'b' : 'a') === 0
    if (isThere && dumpDiff(before, lines).length === 0) return lines
    before = lines
    await pause(500)
  }
  throw new Error(`the change to ${to} has not come:\n${gateway.log}`)
}

/** Waits until the agent is dead, and true; or until it lives on with the change done, and false. */
async function diesIn(gateway: Gateway, state: readonly string[]): Promise<boolean> {
  const began = performance.now()
  let next = began + 2000
  while (performance.now() < began + patienceMs) {
    if (!gateway.running) return true
    if (performance.now() > next) {
      if (dumpDiff(state, look(gateway.machine)).length === 0) return false
      next = performance.now() + 1000
    }
    await pause(20)
  }
  throw new Error(`${gateway.name} neither died nor did the change:\n${gateway.log}`)
}
