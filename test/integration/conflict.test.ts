/**
 * A name, id, priority or route that somebody else took first: the agent refuses, says what and whose, leaves the other's
 * object alone, does all that does not depend on it, and goes on by itself when it is free.
 */
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { dump } from '../support/dump.ts'
import { guest, startSettled } from '../support/fault.ts'
import { isolated } from '../support/isolate.ts'
import { makePair } from '../support/pair.ts'

interface Taken {
  readonly what: string
  readonly take: readonly string[]
  readonly free: readonly string[]
  /** What the agent must name. */
  readonly named: RegExp
  /** A line of the dump that is the other's object. */
  readonly line: RegExp
  /** The prefix of the other site can still be reached. */
  readonly reachable: boolean
}

const deviceNexthop = 0x4c000000
const firstGroup = 0x4c001000

const cases: readonly Taken[] = [
  {
    what: 'the name of a link',
    take: ['ip link add name ls-wg0 type veth peer name other0', 'ip link set dev ls-wg0 mtu 1234'],
    free: ['ip link del dev ls-wg0'],
    named: /ls-wg0/,
    line: /^link\tls-wg0: .* mtu 1234 .*veth/,
    reachable: false,
  },
  {
    what: 'the id of a nexthop',
    take: [`ip nexthop add id ${deviceNexthop} via 10.1.0.77 dev site0 proto 186`],
    free: [`ip nexthop del id ${deviceNexthop}`],
    named: /nexthop 0x4c000000/,
    line: new RegExp(`^nexthop\tid ${deviceNexthop} via 10.1.0.77 dev site0 .*186`),
    reachable: false,
  },
  {
    what: 'the id of a group',
    take: [
      'ip nexthop add id 77 via 10.1.0.77 dev site0 proto 186',
      `ip nexthop add id ${firstGroup} group 77 proto 186`,
    ],
    free: [`ip nexthop del id ${firstGroup}`, 'ip nexthop del id 77'],
    named: /group 0x4c001000/,
    line: new RegExp(`^nexthop\tid ${firstGroup} group 77 .*186`),
    // Group ids are the allocator's: whether this one is the other site's depends on the order. Not judged.
    reachable: true,
  },
  {
    what: 'the priority of a rule',
    take: ['ip rule add priority 19531 from 198.18.0.0/16 lookup main protocol 186'],
    free: ['ip rule del priority 19531 from 198.18.0.0/16 lookup main protocol 186'],
    named: /rule.*19531|19531.*rule/,
    line: /^rule4\t19531: from 198.18.0.0\/16 lookup (main|254) .*186/,
    reachable: false,
  },
  {
    what: 'a route in our table',
    take: ['ip route add 10.2.0.0/16 via 10.1.0.77 table 19539 proto 186'],
    free: ['ip route del 10.2.0.0/16 via 10.1.0.77 table 19539 proto 186'],
    named: /10\.2\.0\.0\/16/,
    line: /^route4\t.*10\.2\.0\.0\/16 via 10\.1\.0\.77 .*table 19539 .*186/,
    reachable: false,
  },
]

await isolated(import.meta.url, async (directory) => {
  const { left, right, leftHost } = await makePair(directory)
  const { machine } = left
  const run = (commands: readonly string[]): void => {
    for (const command of commands) machine.run('sh', '-c', command)
  }
  await left.stop()

  for (const { what, take, free, named, line, reachable } of cases) {
    await t.test(`${what} is taken`, async (t) => {
      const down = left.cli('down')
      t.equal(down.status, 0, 'down')
      run(take)
      await startSettled(left)
      const status = await until(async () => {
        const answer = await left.status()
        return answer !== undefined && answer.conflicts.length > 0 ? answer : undefined
      })
      t.equal(status?.health, 'degraded', 'it says that it is not well')
      const texts = status?.conflicts.map(({ object, reason }) => `${object}: ${reason}`) ?? []
      t.ok(
        texts.some((text) => named.test(text)),
        `names it: ${texts.join('; ')}`,
      )
      t.match(left.cli('status').stdout, named, 'as linkspan status does')
      await pause(guest ? 3000 : 1000)
      t.ok(
        dump(machine).some((each) => line.test(each)),
        'the other’s object is as it was',
      )
      if (!reachable) t.notOk(leftHost.pings('10.2.0.10'), 'what depends on it does not work')

      run(free)
      const healed = await until(async () => {
        const answer = await left.status()
        return answer?.health === 'ok' && leftHost.pings('10.2.0.10') ? answer : undefined
      })
      t.equal(healed?.health, 'ok', 'it goes on by itself when it is free')
      await left.stop()
    })
  }

  await t.test('down leaves the other’s object alone', async (t) => {
    for (const { what, take, free, line } of cases) {
      left.cli('down')
      run(take)
      await startSettled(left)
      await left.stop()
      t.equal(left.cli('down').status, 0, what)
      t.ok(
        dump(machine).some((each) => line.test(each)),
        `${what}: is there`,
      )
      run(free)
    }
  })
  t.equal(await right.stop(), 0)
})

/** Asks until there is an answer, or undefined after the next audit had its time. */
async function until<T>(question: () => Promise<T | undefined>): Promise<T | undefined> {
  for (const end = performance.now() + (guest ? 120_000 : 45_000); performance.now() < end;) {
    const answer = await question()
    if (answer !== undefined) return answer
    await pause(100)
  }
  return undefined
}
