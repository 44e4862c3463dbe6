/**
 * The agent's process dies: at every write to the kernel, when it is told to, when another one runs already. What is in the
 * kernel goes on working, and the next start ends where an undisturbed one would have.
 *
 * Failpoints come from outside (test/support/failpoint.ts); LINKSPAN_TEST_LONG takes every write instead of a sample.
 */
import { existsSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { dump, dumpDiff } from '../support/dump.ts'
import {
  guest,
  paperGateway,
  publish,
  samples,
  startSettled,
  startWith,
  sweep,
  untilDead,
  untilDump,
  untilLine,
} from '../support/fault.ts'
import type { Gateway } from '../support/gateway.ts'
import { isolated } from '../support/isolate.ts'
import { Meter } from '../support/meter.ts'
import { makePair } from '../support/pair.ts'

const perSecond = guest ? 200 : 1000
const sampled = guest ? 4 : 12

/** What others have on the host of `left`, near to ours and not in our way. */
const others = [
  'ip link add name foreign0 type veth peer name foreign1',
  'ip address add 198.18.0.1/24 dev foreign0',
  'ip link set dev foreign0 up',
  'ip link set dev foreign1 up',
  'ip route add 203.0.113.0/24 via 198.18.0.2 table 19600 proto 99',
  'ip route add 203.0.113.0/24 via 198.18.0.2 proto 186',
  'ip rule add priority 19528 fwmark 0x77 lookup 19600',
  'ip nexthop add id 77 via 198.18.0.2 dev foreign0 proto 186',
  'nft add table inet foreign',
  "nft add chain inet foreign input '{ type filter hook input priority 0; }'",
  'nft add rule inet foreign input counter accept',
]

await isolated(import.meta.url, async (directory) => {
  let untouched: readonly string[] = []
  const { lab, left, right, leftHost, rightHost } = await makePair(directory, {
    before: async ({ left: { machine } }) => {
      for (const line of others) machine.run('sh', '-c', line)
      // Link-local addresses are tentative for about two seconds.
      do await pause(200)
      while (machine.ip('address show tentative') !== '')
      untouched = dump(machine)
    },
  })
  let serial = 1
  const settled = dump(left.machine)

  await t.test('SIGTERM: the process ends within 2 s and leaves the kernel as it is', async (t) => {
    const began = performance.now()
    t.equal(await left.stop(), 0, 'exit code')
    const ms = performance.now() - began
    t.ok(guest || ms <= 2000, `${Math.round(ms)} ms`)
    t.strictSame(dumpDiff(settled, dump(left.machine)), [])
  })

  await t.test(
    'killed at every write of a cold start, the next start ends as an undisturbed one',
    async (t) => {
      sweep(left.machine)
      t.strictSame(dumpDiff(untouched, dump(left.machine)), [], 'the host is as before')
      await startSettled(left, {})
      t.strictSame(await untilDump(left.machine, settled), [], 'undisturbed')
      const writes = await writesOf(left)
      t.ok(writes > 30, `${writes} writes`)
      for (const [i, n] of samples(writes - 1, sampled).entries()) {
        sweep(left.machine)
        await die(left, n)
        // Some die again on their way back.
        if (i % 5 === 2) await die(left, 2)
        await startSettled(left)
        t.strictSame(await untilDump(left.machine, settled), [], `killed when ${n} writes were done`)
        await left.stop('SIGKILL')
      }
    },
  )

  await t.test('killed at every write of a change, no packet of others is lost', async (t) => {
    await startSettled(left)
    const states: Record<'a' | 'b', readonly string[]> = { a: [], b: [] }
    const writes = { a: 0, b: 0 }
    const through = { a: '10.51.0.0/16', b: '10.52.0.0/16' }
    const change = async (to: 'a' | 'b'): Promise<void> => {
      await publish(lab.registry, paperGateway(to, ++serial))
    }
    await change('a')
    await untilLine(left.machine, /10\.51\.0\.0\/16/)
    await left.stop()
    const meter = await Meter.start(leftHost, rightHost, '10.2.0.10', { perSecond })
    for (const to of ['b', 'a'] as const) {
      await startSettled(left, { FAILPOINT_ARM: 'signal' })
      left.signal('SIGUSR2')
      await change(to)
      await untilLine(left.machine, new RegExp(`^route4.*${through[to].replaceAll('.', '\\.')}`))
      await left.untilLogged('pass shares')
      writes[to] = await writesOf(left)
      t.ok(writes[to] > 5, `${writes[to]} writes to ${to}`)
      states[to] = dump(left.machine)
    }
    t.not(dumpDiff(states.a, states.b).length, 0, 'a and b differ')
    let to: 'a' | 'b' = 'b'
    for (const n of samples(Math.min(writes.a, writes.b) - 1, sampled)) {
      await startSettled(left, { FAILPOINT_ARM: 'signal', FAILPOINT_KILL: String(n) })
      left.signal('SIGUSR2')
      await change(to)
      await untilDead(left)
      await startSettled(left)
      t.strictSame(
        await untilDump(left.machine, states[to]),
        [],
        `killed when ${n} writes to ${to} were done`,
      )
      await left.stop('SIGKILL')
      to = to === 'a' ? 'b' : 'a'
    }
    const { sent, lost, gapMs } = await meter.stop()
    t.equal(lost, 0, `lost of ${sent}, longest gap ${gapMs} ms`)
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

/** Starts an agent that dies when it has done so many writes. */
async function die(gateway: Gateway, writes: number): Promise<void> {
  startWith(gateway, { FAILPOINT_KILL: String(writes) })
  await untilDead(gateway)
  t.match(gateway.log, /started version/, 'it had begun')
}

/** Stops an agent that counts and does not die; its writes. */
async function writesOf(gateway: Gateway): Promise<number> {
  await gateway.stop()
  await gateway.untilLogged('failpoint writes=')
  return Number(/failpoint writes=([0-9]+)/.exec(gateway.log)?.[1])
}
