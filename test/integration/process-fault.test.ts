/**
 * The agent's process ends: when it is told to, when another one runs already, when `down` wants all of it gone. (Killed at
 * its writes: kill-start and kill-change.)
 */
import { existsSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { dump, dumpDiff } from '../support/dump.ts'
import { guest, startSettled, untilDead, untilDump } from '../support/fault.ts'
import { isolated } from '../support/isolate.ts'
import { others } from '../support/others.ts'
import { makePair } from '../support/pair.ts'

await isolated(import.meta.url, async (directory) => {
  let untouched: readonly string[] = []
  const { left, right } = await makePair(directory, {
    before: async ({ left: { machine } }) => {
      for (const line of others) machine.run('sh', '-c', line)
      // Link-local addresses are tentative for about two seconds.
      do await pause(200)
      while (machine.ip('address show tentative') !== '')
      untouched = dump(machine)
    },
  })
  const settled = dump(left.machine)

  await t.test('SIGTERM: the process ends within 2 s and leaves the kernel as it is', async (t) => {
    const began = performance.now()
    t.equal(await left.stop(), 0, 'exit code')
    const ms = performance.now() - began
    t.ok(guest || ms <= 2000, `${Math.round(ms)} ms`)
    t.strictSame(dumpDiff(settled, dump(left.machine)), [])
  })

  await t.test('a second agent ends and writes nothing, not even its state directory', async (t) => {
    await startSettled(left)
    const before = dump(left.machine)
    const second = left.cli('agent', '--state-directory', '/var/lib/second', '--run-directory', '/run/second')
    t.equal(second.status, 1, 'exit code')
    t.match(second.stderr, /another agent runs in this network namespace/)
    t.notOk(existsSync(left.machine.path('/var/lib/second')), 'no state directory')
    t.notOk(existsSync(left.machine.path('/run/second')), 'no socket')
    t.strictSame(dumpDiff(before, dump(left.machine)), [])
    t.ok(left.running, 'the first one runs on')
  })

  await t.test('down removes ours and nothing else', async (t) => {
    const { status, stderr } = left.cli('down')
    t.equal(status, 0, stderr)
    await untilDead(left)
    t.strictSame(await untilDump(left.machine, untouched), [], 'as before the first start')
    t.equal(left.cli('down').status, 0, 'down again has nothing to do')
  })

  await t.test('down removes ours although the state directory was lost', async (t) => {
    await startSettled(left)
    await left.stop('SIGKILL')
    left.machine.run('sh', '-c', 'rm -rf /var/lib/linkspan/*')
    const { status, stderr } = left.cli('down')
    t.equal(status, 0, stderr)
    // What a sysctl was before is known to nobody now; a host that forwards IPv6 has anycast addresses (route type 4).
    const network = (lines: readonly string[]): readonly string[] =>
      lines.filter((line) => !/^(sysctl|fdb\t33:33:|route6\t4)/.test(line))
    t.strictSame(dumpDiff(network(untouched), network(dump(left.machine))), [])
  })

  t.equal(await right.stop(), 0)
})
