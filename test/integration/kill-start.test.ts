/**
 * kill -9 at any write to the kernel, in a cold start: the next start ends where an undisturbed one would have, and what
 * others have is as it was. Writes evenly spread are taken, in an emulated guest a few; each one with LINKSPAN_TEST_LONG,
 * which takes minutes.
 *
 * Failpoints come from outside (test/support/failpoint.ts). Node's own start is most of the time, so several machines are
 * killed side by side.
 */
import t from 'tap'
import { kinds } from '../../agent/model/kernel-object.ts'
import type { Op } from '../../agent/model/op.ts'
import { dump, dumpDiff } from '../support/dump.ts'
import { guest, samples, startSettled, startWith, sweep, untilDead, untilDump } from '../support/fault.ts'
import type { Gateway } from '../support/gateway.ts'
import { isolated } from '../support/isolate.ts'
import { look, writesOf } from '../support/kill.ts'
import { makeLoneGateway } from '../support/lone-gateway.ts'

const machines = guest ? 1 : 2
const sampled = guest ? 4 : 24

await isolated(import.meta.url, async (directory) => {
  const names = Array.from({ length: machines }, (_, i) => `lone-${i + 1}`)
  const all = await Promise.all(names.map((name) => makeLoneGateway(directory, name)))
  let writes = Infinity
  let settled: (readonly string[])[] = []

  await t.test('undisturbed, it makes objects of every kind', async (t) => {
    const undisturbed = all.map(async ({ gateway, untouched }) => {
      await startSettled(gateway)
      await gateway.stop()
      sweep(gateway.machine)
      t.strictSame(dumpDiff(untouched, dump(gateway.machine)), [], 'the host is as before')
      t.strictSame(kindsWithout(gateway), [])
      await startSettled(gateway, {})
      writes = Math.min(writes, await writesOf(gateway))
      return look(gateway.machine)
    })
    settled = await Promise.all(undisturbed)
    t.ok(writes > 60, `${writes} writes`)
  })

  await t.test('killed at a write, the next start ends as an undisturbed one', async (t) => {
    const queue = [...samples(writes - 1, sampled)]
    const deaths = all.map(async ({ gateway }, i) => {
      for (let n = queue.shift(); n !== undefined; n = queue.shift()) {
        sweep(gateway.machine)
        await die(gateway, n)
        // Some die again on their way back.
        if (n % 10 === 2) await die(gateway, 2)
        await startSettled(gateway)
        t.strictSame(
          await untilDump(gateway.machine, settled[i] ?? [], undefined, look),
          [],
          `killed when ${n} writes were done`,
        )
        await gateway.stop('SIGKILL')
      }
    })
    await Promise.all(deaths)
  })

  for (const { gateway } of all) gateway.cli('down')

  /** Starts an agent that dies when it has done so many writes. */
  async function die(gateway: Gateway, writes: number): Promise<void> {
    gateway.log = ''
    startWith(gateway, { FAILPOINT_KILL: String(writes) })
    await untilDead(gateway)
    t.match(gateway.log, /started version/, 'it had begun')
  }
})

/** Kinds of objects that a start on the host as it is now would not make. */
function kindsWithout(gateway: Gateway): readonly string[] {
  const { ops } = JSON.parse(gateway.cli('plan', '--json').stdout) as { readonly ops: readonly Op[] }
  const covered = new Set(ops.map(({ object }) => object.kind))
  return kinds.filter((kind) => !covered.has(kind))
}
