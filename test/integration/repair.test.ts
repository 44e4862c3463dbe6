/**
 * What somebody changes of ours is put back while the agent runs: every kind of object, deleted, altered or added to. The
 * kernel tells of most changes, and they are repaired within a second; of WireGuard's peers and of some sysctls it tells
 * nobody, so an audit finds those.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { ask } from '../../agent/cli/client.ts'
import { dump, dumpDiff } from '../support/dump.ts'
import { isolated } from '../support/isolate.ts'
import type { Machine } from '../support/machine.ts'
import { addLan, lanConfig, lanFabric, makePair } from '../support/pair.ts'

const inGuest = process.env['LINKSPAN_GUEST'] !== undefined
/** From the last command of the damage until a dump shows nothing of it. The guest is emulated. */
const limitMs = inGuest ? 5000 : 1000
/** A machine that is busy with other things gets another try. */
const tries = 3
/** Of a core, while somebody fights with the agent. */
const fightShare = 0.5
const fightSeconds = 10
const ticksPerSecond = 100

/** `ip rule flush` spares only priority 0; these are the kernel's others. */
const kernelRules = [
  'ip rule add priority 32766 lookup main protocol kernel',
  'ip rule add priority 32767 lookup default protocol kernel',
  'ip -6 rule add priority 32766 lookup main protocol kernel',
]

await isolated(import.meta.url, async (directory) => {
  const lanHosts: Machine[] = []
  const { lab, left, leftHost } = await makePair(directory, {
    fabric: lanFabric,
    config: lanConfig,
    before: async (pair) => {
      lanHosts.push(...(await addLan(pair)))
    },
  })
  const gateway = left.machine
  const whole = await settled(gateway)
  const group = /nexthop\tid ([0-9]+) group/.exec(whole.join('\n'))?.[1] ?? ''
  const member = /nexthop\tid ([0-9]+) dev ls-wg0/.exec(whole.join('\n'))?.[1] ?? ''
  const address = /address\tls-wg0 inet (100\.127\.[0-9.]+\/32)/.exec(whole.join('\n'))?.[1] ?? ''
  const vtep = /fdb\t00:00:00:00:00:00 dev ls-vx7001 dst ([0-9.]+)/.exec(whole.join('\n'))?.[1] ?? ''
  const peer = gateway.run('wg', 'show', 'ls-wg0', 'peers').trim()
  t.match(group, /^[0-9]+$/, 'there is a group')
  t.match(member, /^[0-9]+$/, 'and a nexthop')

  /** What is done, what the agent says it repaired, by which commands. */
  const damages: readonly (readonly [what: string, repaired: string, ...commands: string[]])[] = [
    ['a route deleted', 'route 10.2.0.0/16', 'ip route del 10.2.0.0/16 table 19539'],
    ['an IPv6 route deleted', 'route fd00:2::/48', 'ip -6 route del fd00:2::/48 table 19539'],
    [
      'a route added under our protocol',
      '10.77.0.0/16',
      'ip route add blackhole 10.77.0.0/16 table 19539 proto 76',
    ],
    [
      'a route made to be another',
      '10.2.0.0/16',
      'ip route replace blackhole 10.2.0.0/16 table 19539 proto 76',
    ],
    ['the table emptied', 'route', ...routesOf(4), ...routesOf(6)],
    ['a rule deleted', 'rule', 'ip rule del priority 19531'],
    ['an IPv6 rule deleted', 'rule', 'ip -6 rule del priority 19530'],
    ['all rules flushed', 'rule', 'ip rule flush', 'ip -6 rule flush', ...kernelRules],
    ['a nexthop deleted', 'nexthop', `ip nexthop del id ${member}`],
    ['a group deleted', 'group', `ip nexthop del id ${group}`],
    ['a group changed', 'group', `ip nexthop replace id ${group} group 1275068670 type resilient buckets 64`],
    ['all nexthops flushed', 'nexthop', 'ip nexthop flush'],
    ['an address deleted', 'address', `ip address del ${address} dev ls-wg0`],
    ['an address added', 'address 198.18.9.1', 'ip address add 198.18.9.1/32 dev ls-wg0'],
    ['a link down', 'link ls-wg0', 'ip link set dev ls-wg0 down'],
    ['a link down and up', '', 'ip link set dev ls-wg0 down', 'ip link set dev ls-wg0 up'],
    ['a link of another MTU', 'link ls-wg0', 'ip link set dev ls-wg0 mtu 1300'],
    ['the WireGuard link deleted', 'link ls-wg0', 'ip link del dev ls-wg0'],
    ['the VXLAN link deleted', 'link ls-vx7001', 'ip link del dev ls-vx7001'],
    ['the bridge deleted', 'link ls-br7001', 'ip link del dev ls-br7001'],
    ['a port taken out of the bridge', 'lan0', 'ip link set dev lan0 nomaster'],
    ['an FDB entry deleted', 'fdb', `bridge fdb del 00:00:00:00:00:00 dev ls-vx7001 dst ${vtep}`],
    ['the nft table deleted', 'nft', 'nft delete table inet linkspan'],
    ['nft flush ruleset', 'nft', 'nft flush ruleset'],
    ['an nft chain flushed', 'nft', 'nft flush chain inet linkspan forward'],
    ['an nft rule added', 'nft', 'nft insert rule inet linkspan forward accept'],
    ['an nft element deleted', '10.2.0.0', 'nft delete element inet linkspan remote4_16 { 10.2.0.0 }'],
    ['an nft element added', '10.9.0.0', 'nft add element inet linkspan own4_16 { 10.9.0.0 }'],
    ['rp_filter changed', 'rp_filter', 'sysctl -qw net.ipv4.conf.ls-wg0.rp_filter=1'],
    ['forwarding off', 'site0', 'sysctl -qw net.ipv4.conf.site0.forwarding=0'],
    ['IPv6 forwarding off', 'net/ipv6/conf/all/forwarding', 'sysctl -qw net.ipv6.conf.all.forwarding=0'],
  ]
  for (const [what, repaired, ...commands] of damages) {
    await t.test(what, async (t) => {
      let tookMs = Infinity
      for (let i = 0; i < tries && tookMs > limitMs; i++) {
        const from = left.log.length
        for (const command of commands) gateway.run(...wordsOf(command))
        const began = performance.now()
        const missing = await untilWhole(began)
        tookMs = performance.now() - began
        if (!t.strictSame(missing, [], 'all is as before')) break
        t.ok(await told(from, repaired), `the agent tells of ${repaired}: ${left.log.slice(from)}`)
      }
      t.ok(tookMs <= limitMs, `within ${limitMs} ms: ${Math.round(tookMs)} ms`)
    })
  }

  const silent: readonly (readonly [what: string, repaired: string, ...commands: string[]])[] = [
    ['a peer removed', 'peer', `wg set ls-wg0 peer ${peer} remove`],
    ['a peer added', 'peer', `wg set ls-wg0 peer ${'A'.repeat(42)}E= allowed-ips 10.9.0.0/16`],
    [
      'a prefix moved to another peer',
      '10.2.0.0/16',
      `wg set ls-wg0 peer ${'A'.repeat(42)}E= allowed-ips 10.2.0.0/16`,
    ],
    ['the prefixes of a peer replaced', '10.2.0.0/16', `wg set ls-wg0 peer ${peer} allowed-ips 10.8.0.0/16`],
    ['the listening port changed', 'ls-wg0', 'wg set ls-wg0 listen-port 4500'],
    ['the mark changed', 'ls-wg0', 'wg set ls-wg0 fwmark 7'],
    ['the hash policy changed', 'hash_policy', 'sysctl -qw net.ipv4.fib_multipath_hash_policy=0'],
  ]
  await t.test('what no event tells of, an audit finds', async (t) => {
    for (const [what, repaired, ...commands] of silent) {
      for (const command of commands) gateway.run(...wordsOf(command))
      t.not(dumpDiff(whole, stateOf(gateway)).length, 0, what)
      const { ops } = (await ask(gateway.path('/run/linkspan'), '/audit', {
        method: 'POST',
        timeoutMs: 60_000,
      })) as {
        readonly ops: readonly { readonly text: string }[]
      }
      t.strictSame(await untilWhole(performance.now()), [], 'all is as before')
      t.ok(
        ops.some(({ text }) => text.includes(repaired)),
        ops.map(({ text }) => text).join('; '),
      )
    }
  })

  await t.test('somebody who does it again and again costs little', async (t) => {
    const began = performance.now()
    const before = cpuSeconds(left.pid)
    const fight = `for i in $(seq ${fightSeconds * 10}); do ip route del 10.2.0.0/16 table 19539 && echo done; sleep 0.1; done; true`
    const fighter = gateway.spawn('sh', ['-c', fight], { stdio: ['ignore', 'pipe', 'ignore'] })
    let hits = 0
    fighter.stdout?.on('data', (chunk: Buffer) => (hits += chunk.toString().split('\n').length - 1))
    const ended = new Promise((resolve) => fighter.once('close', resolve))
    let answers = 0
    while (fighter.exitCode === null) {
      if ((await left.status()) !== undefined) answers++
      await pause(500)
    }
    await ended
    const share = (cpuSeconds(left.pid) - before) / ((performance.now() - began) / 1000)
    t.ok(hits >= (inGuest ? 2 : 5), `the route was put back ${hits} times`)
    t.ok(answers >= (inGuest ? 2 : 10), `${answers} answers meanwhile`)
    t.ok(inGuest || share <= fightShare, `${Math.round(share * 100)} % of a core`)
    t.strictSame(await untilWhole(performance.now()), [], 'in the end it is there')
  })

  await t.test('traffic flows after all that', (t) => {
    t.ok(leftHost.pings('10.2.0.10'))
    t.ok(leftHost.pings('fd00:2::10'))
    t.ok(lanHosts[0]?.pings('192.168.50.2'))
    t.end()
  })
  for (const each of lab.gateways) await each.stop()

  /** What still differs when it is whole, or when patience ends. */
  async function untilWhole(began: number): Promise<readonly string[]> {
    for (;;) {
      const missing = dumpDiff(whole, stateOf(gateway))
      if (missing.length === 0 || performance.now() - began > 10 * limitMs) return missing
      await pause(20)
    }
  }

  /** True once the log tells of a repair of this, from some place on. */
  async function told(from: number, what: string): Promise<boolean> {
    for (let i = 0; i < 40; i++) {
      if (repairs(left.log.slice(from)).some((line) => line.includes(what))) return true
      await pause(50)
    }
    return false
  }

  /** Commands that delete every route of table 19539; `ip route flush` stumbles over routes by nexthop id. */
  function routesOf(family: 4 | 6): readonly string[] {
    return gateway
      .ip(`-o -${family} route show table 19539`)
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const [first = '', second = ''] = line.split(' ')
        const what = /^[a-z]+$/.test(first) && first !== 'default' ? `${first} ${second}` : first
        return `ip -${family} route del ${what} table 19539`
      })
  }
})

/** The dump, without what a link made anew gets at random or by turn: addresses and port numbers of the bridge. */
function stateOf(machine: Machine): readonly string[] {
  return dump(machine).map((line) =>
    line
      .replace(/\b(?!00:00:00:00:00:00)[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}\b/g, 'MAC')
      .replace(/ (port_id|port_no|designated_port) \w+/g, ''),
  )
}

function wordsOf(command: string): [string, ...string[]] {
  return command.split(' ') as [string, ...string[]]
}

function repairs(log: string): readonly string[] {
  return log.split('\n').filter((line) => line.includes('drift-repaired'))
}

/** Of the process and of what it ran to its end, in user and kernel (proc_pid_stat(5), fields 14 to 17). */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / ticksPerSecond
}

/** Waits until two dumps in a row are equal. */
async function settled(machine: Machine): Promise<readonly string[]> {
  let before = stateOf(machine)
  for (let i = 0; i < 20; i++) {
    await pause(500)
    const after = stateOf(machine)
    if (dumpDiff(before, after).length === 0) return after
    before = after
  }
  return before
}
