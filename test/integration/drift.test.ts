/**
 * What others delete or change of ours is back within a second: for every kind of object that the kernel reports changes
 * of. WireGuard reports none of its peers, so the audit finds those.
 *
 * The agent is stopped (SIGSTOP) while the damage is done, so that the damage is seen, and the clock begins with SIGCONT.
 */
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { dump, dumpDiff } from '../support/dump.ts'
import { isolated } from '../support/isolate.ts'
import { addLan, lanConfig, lanFabric, makePair } from '../support/pair.ts'
import type { Machine } from '../support/machine.ts'

/** `ip rule flush` spares only priority 0; these are the kernel's others. */
const kernelRules = [
  'ip rule add priority 32766 lookup main',
  'ip rule add priority 32767 lookup default',
  'ip -6 rule add priority 32766 lookup main',
]

const inGuest = process.env['LINKSPAN_GUEST'] !== undefined
/** The guest is emulated: no absolute times are taken there. */
const eventMs = inGuest ? 30_000 : 1000
const auditMs = inGuest ? 120_000 : 40_000

await isolated(import.meta.url, async (directory) => {
  const lanHosts: Machine[] = []
  const { left, leftHost } = await makePair(directory, {
    fabric: lanFabric,
    config: lanConfig,
    before: async (pair) => {
      lanHosts.push(...(await addLan(pair)))
    },
  })
  const gateway = left.machine
  await settled(gateway)
  const whole = dump(gateway)
  const group = /nexthop\tid ([0-9]+) group/.exec(whole.join('\n'))?.[1] ?? ''
  const peer = gateway.run('wg', 'show', 'ls-wg0', 'peers').trim()
  t.match(group, /^[0-9]+$/, 'there is a group')

  const damages: readonly (readonly [what: string, ...commands: string[]])[] = [
    ['a route deleted', 'ip route del 10.2.0.0/16 table 19539'],
    ['an IPv6 route deleted', 'ip -6 route del fd00:2::/48 table 19539'],
    ['a route replaced', 'ip route replace 10.2.0.0/16 via 192.0.2.2 table 19539'],
    ['the table flushed', 'ip route flush table 19539', 'ip -6 route flush table 19539'],
    ['a rule deleted', 'ip rule del priority 19531', 'ip -6 rule del priority 19530'],
    ['all rules flushed', 'ip rule flush', 'ip -6 rule flush', ...kernelRules],
    ['a group deleted', `ip nexthop del id ${group}`],
    [
      'a group replaced by a blackhole',
      `ip nexthop replace id ${group} group 1275068670 type resilient buckets 64`,
    ],
    ['all nexthops flushed', 'ip nexthop flush'],
    ['an address deleted', 'ip address del 100.127.0.1/32 dev ls-wg0'],
    ['a link down', 'ip link set dev ls-wg0 down'],
    ['a link of another MTU', 'ip link set dev ls-wg0 mtu 1300'],
    ['a link deleted', 'ip link del dev ls-wg0'],
    ['the bridge deleted', 'ip link del dev ls-br7001'],
    ['the VXLAN link deleted', 'ip link del dev ls-vx7001'],
    ['a port taken out of the bridge', 'ip link set dev lan0 nomaster'],
    ['an FDB entry deleted', 'bridge fdb del 00:00:00:00:00:00 dev ls-vx7001 dst 100.127.0.2'],
    ['the nft table deleted', 'nft delete table inet linkspan'],
    ['nft flush ruleset', 'nft flush ruleset'],
    ['an nft chain flushed', 'nft flush chain inet linkspan forward'],
  ]
  for (const [what, ...commands] of damages) {
    await t.test(what, async (t) => {
      const { repairedMs, left: missing } = await damage(commands, eventMs)
      t.strictSame(missing, [], 'all is as before')
      t.ok(repairedMs <= eventMs, `within ${eventMs} ms: ${Math.round(repairedMs)} ms`)
    })
  }
  await t.test('peers, prefixes and sysctls, which no event tells of', async (t) => {
    const { left: missing } = await damage(
      [
        `wg set ls-wg0 peer ${peer} remove`,
        'sysctl -qw net.ipv4.conf.ls-wg0.rp_filter=1',
        'sysctl -qw net.ipv4.conf.site0.forwarding=0',
      ],
      auditMs,
    )
    t.strictSame(missing, [], 'an audit has put all back')
  })
  await t.test('traffic flows after all that', (t) => {
    t.ok(leftHost.pings('10.2.0.10'))
    t.ok(leftHost.pings('fd00:2::10'))
    t.ok(lanHosts[0]?.pings('192.168.50.2'))
    t.end()
  })
  await left.stop()

  async function damage(
    commands: readonly string[],
    limitMs: number,
  ): Promise<{ repairedMs: number; left: readonly string[] }> {
    left.signal('SIGSTOP')
    let done: readonly string[]
    try {
      for (const command of commands) gateway.run(...(command.split(' ') as [string, ...string[]]))
      done = dump(gateway)
    } finally {
      left.signal('SIGCONT')
    }
    const began = performance.now()
    if (dumpDiff(whole, done).length === 0) throw new Error(`${commands.join('; ')}: changed nothing`)
    for (;;) {
      const now = performance.now() - began
      const missing = dumpDiff(whole, dump(gateway))
      // The dump takes time too: what it shows was so when it began.
      if (missing.length === 0 || now > limitMs + 2000) return { repairedMs: now, left: missing }
      await pause(50)
    }
  }
})

/** Waits until two dumps in a row are equal. */
async function settled(machine: Machine): Promise<void> {
  let before = dump(machine)
  for (let i = 0; i < 20; i++) {
    await pause(500)
    const after = dump(machine)
    if (dumpDiff(before, after).length === 0) return
    before = after
  }
}
