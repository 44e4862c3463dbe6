/**
 * Somebody adds and deletes 20,000 routes of his own while the agent runs, or stands still. Most of it never reaches the
 * agent's socket (event-filter.ts); what overruns it all the same is said, and answered by a look at everything: what was
 * lost of ours meanwhile comes back, and nothing of theirs is touched.
 */
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { setTimeout as pause } from 'node:timers/promises'
import { dump, dumpDiff, dumpLines } from '../support/dump.ts'
import { guest, untilDump } from '../support/fault.ts'
import { isolated } from '../support/isolate.ts'
import { Meter } from '../support/meter.ts'
import { makePair } from '../support/pair.ts'

/** Few, because wireguard-go drops what it has no turn for while bursts and starts want the machine. */
const perSecond = 200
const patienceMs = guest ? 120_000 : 20_000
const routes = 20_000
/** Above 255, so that the filter cannot tell it from ours; and one it can. */
const tables = { 'of a large table': 29_539, 'of a small table': 99 } as const
/** Events of 8 MiB, several times: what a stopped agent cannot have held. */
const rounds = 6

await isolated(import.meta.url, async (directory) => {
  const { left, right, leftHost, rightHost } = await makePair(directory)
  const gateway = left.machine
  gateway.ip('link add name foreign0 type veth peer name foreign1')
  gateway.ip('address add 198.18.0.1/24 dev foreign0')
  gateway.ip('link set dev foreign0 up')
  gateway.ip('link set dev foreign1 up')
  gateway.ip('route add 203.0.113.0/24 dev foreign0 table 29539 proto 99')
  await left.untilUp(1)
  // The agent keeps out of the way of a network that is now connected, as soon as it has seen it.
  for (let i = 0; i < 400 && !gateway.ip('route show table 19539').includes('198.18.0.0/24'); i++)
    await pause(50)
  const group = /nexthop\tid ([0-9]+) group/.exec(dump(gateway).join('\n'))?.[1] ?? ''

  /** A file for `ip -batch`. */
  const batch = (verb: 'add' | 'del', table: number): string => {
    const file = path.join(directory, `${verb}-${table}`)
    const lines = Array.from(
      { length: routes },
      (_, i) =>
        `route ${verb} 172.${16 + (i >> 12)}.${(i >> 4) & 255}.${(i & 15) << 4}/28 dev foreign0 table ${table} proto 99`,
    )
    writeFileSync(file, `${lines.join('\n')}\n`)
    return file
  }
  /** Starts `ip -batch`, so often, and resolves when it is over. */
  const burst = async (table: number, times: number): Promise<number> => {
    const began = performance.now()
    const files = [batch('add', table), batch('del', table)]
    const commands = Array.from({ length: times }, () => files.map((file) => `ip -batch ${file}`)).flat()
    const [code] = (await once(gateway.spawn('sh', ['-ec', commands.join('\n')]), 'exit')) as [number | null]
    if (code !== 0) throw new Error(`ip -batch: exit ${code}`)
    return performance.now() - began
  }
  /** A route, a nexthop with all that points at it, a rule of ours. */
  const damage = (): void => {
    gateway.ip('route del fd00:2::/48 table 19539')
    gateway.ip(`nexthop del id ${group}`)
    gateway.ip('rule del priority 19531')
  }
  /** All that damage() touches; a dump would list the burst, too. */
  const ours = (): readonly string[] =>
    ['-N route show table 19539', '-N -6 route show table 19539', '-N nexthop', '-N rule'].flatMap((line) =>
      dumpLines(gateway.ip(line)),
    )
  const intact = ours()
  const whole = dump(gateway)
  const foreign = whole.filter((line) => /foreign|29539|proto 99/.test(line))
  t.match(foreign.join('\n'), /203\.0\.113\.0\/24 .*29539/, 'there is something of theirs')

  for (const [what, table] of Object.entries(tables)) {
    await t.test(`${routes} routes ${what} come and go`, async (t) => {
      const from = left.log.length
      const cpu = metric('process_cpu_seconds_total')
      const over = burst(table, 1)
      await pause(50)
      damage()
      const { missing, ms: repaired } = await untilOurs()
      const ms = await over
      t.strictSame(missing, [], `all of ours is there, ${repaired} ms later`)
      t.strictSame(await untilDump(gateway, whole, patienceMs), [], 'all is as before')
      const used = metric('process_cpu_seconds_total') - cpu
      t.ok(
        guest || used < 2,
        `${Math.round(used * 1000)} ms of CPU while ${2 * routes} events came in ${Math.round(ms)} ms`,
      )
      t.notMatch(left.log.slice(from), /172\.\d+\.\d+\.\d+\/28|203\.0\.113/, 'no op about theirs')
      t.equal((await left.status())?.failures.length, 0)
    })
  }

  await t.test('an agent that stood still meanwhile looks at everything', async (t) => {
    const meter = await Meter.start(leftHost, rightHost, '10.2.0.10', { perSecond })
    const from = left.log.length
    left.signal('SIGSTOP')
    await burst(29_539, 1)
    // Whoever reads later is told of no more than the socket held: the damage is behind that.
    await burst(29_539, rounds - 1)
    const { sent, lost } = await meter.stop()
    t.equal(lost, 0, `lost of ${sent}`)
    damage()
    const frozen = dump(gateway)
    await pause(500)
    t.strictSame(dumpDiff(frozen, dump(gateway)), [], 'nobody repairs yet')
    const began = performance.now()
    left.signal('SIGCONT')
    t.strictSame(await untilDump(gateway, whole, patienceMs), [], 'all is as before')
    const ms = performance.now() - began
    t.ok(guest || ms < 3000, `${Math.round(ms)} ms after it went on`)
    await left.untilLogged('kernel-events-overflow', patienceMs / 1000)
    t.notMatch(left.log.slice(from), /172\.\d+\.\d+\.\d+\/28|203\.0\.113/, 'no op about theirs')
    const again = left.log.length
    gateway.ip('route del 10.2.0.0/16 table 19539')
    t.strictSame(await untilDump(gateway, whole, patienceMs), [], 'events come again')
    // What it says may come after what it does.
    for (let i = 0; i < 100 && !left.log.slice(again).includes('10.2.0.0'); i++) await pause(50)
    t.match(left.log.slice(again), /drift-repaired .*10\.2\.0\.0/)
  })

  for (const each of [left, right]) t.equal(await each.stop(), 0, `${each.name} stops`)

  /** Waits until all of ours is there; what differs, and after how many ms. */
  async function untilOurs(): Promise<{ missing: readonly string[]; ms: number }> {
    const began = performance.now()
    for (;;) {
      const missing = dumpDiff(intact, ours())
      const ms = Math.round(performance.now() - began)
      if (missing.length === 0 || ms > patienceMs) return { missing, ms }
      await pause(20)
    }
  }

  function metric(name: string): number {
    const text = gateway.run('curl', '-sS', '-m', '30', 'http://127.0.0.1:9586/metrics')
    const value = new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]
    if (value === undefined) throw new Error(`no ${name} in\n${text}`)
    return Number(value)
  }
})
