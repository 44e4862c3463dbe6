/**
 * What is not ours stays as it is: while the agent works, while the fabric changes, while damage is repaired, when the agent
 * dies and comes again, and when `down` has removed all that linkspan made. Others' things stand as near to ours as they
 * can: names, tables, priorities, ids, protocols and link groups one off, or in one point the same.
 *
 * The dumps are taken by the kernel's own tools. A monitor runs beside them, and nftables' handles are compared, because
 * what is deleted and made again looks the same in two dumps.
 */
import type { ChildProcess } from 'node:child_process'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { dump, dumpDiff } from '../support/dump.ts'
import { guest, paperGateway, publish, startSettled } from '../support/fault.ts'
import { isolated } from '../support/isolate.ts'
import { wanFabric } from '../support/lab.ts'
import type { Machine } from '../support/machine.ts'
import { addLan, lanConfig, lanFabric, makePair } from '../support/pair.ts'

const links = ['foreign0', 'foreign1', 'ls-wg31', 'ls-wg64', 'ls-foo', 'ls-br7002', 'vxlan5']

/** Link group 19539 and protocol 76 are ours; ids from 0x4c000000 to 0x4cffffff, priorities 19529 to 19531. */
const stage = [
  // Links: under our names but not in our way, almost under our names, and in our group under another name.
  'ip link add name foreign0 group 19539 type veth peer name foreign1',
  'ip link add name ls-wg31 type veth peer name ls-wg64',
  'ip link add name ls-foo type bridge',
  'ip link add name ls-br7002 type bridge',
  'ip link add name vxlan5 type vxlan id 5 local 192.0.2.1 dstport 4790 nolearning',
  'ip link set dev foreign0 alias linkspan',
  ...links.map((link) => `ip link set dev ${link} up`),
  'ip link set dev foreign1 master ls-br7002',
  'ip address add 198.18.0.1/24 dev foreign0',
  'ip address add 2001:db8:18::1/64 dev foreign0',
  'ip address add 100.64.0.1/32 dev ls-wg31',
  'ip address add fe80::77/64 dev ls-wg31',
  'ip neighbour add 198.18.0.9 lladdr 02:00:00:00:00:09 dev foreign0 nud permanent',
  'bridge fdb append 00:00:00:00:00:00 dev vxlan5 dst 192.0.2.99',
  'bridge fdb add 02:00:00:00:00:05 dev vxlan5 dst 192.0.2.98',
  'bridge fdb add 02:00:00:00:00:06 dev foreign1 master static',
  // Nexthops and groups: one below and above our range (0x4c000000 and on), and inside it by another protocol.
  'ip nexthop add id 7 via 198.18.0.2 dev foreign0 proto 186',
  'ip nexthop add id 8 group 7 proto 186 type resilient buckets 64',
  'ip nexthop add id 1275068415 via 198.18.0.3 dev foreign0 proto kernel',
  'ip nexthop add id 1291845632 blackhole proto kernel',
  'ip nexthop add id 1275133696 via 198.18.0.4 dev foreign0 proto 186',
  'ip nexthop add id 1275133697 group 1275133696 proto 186',
  // Routes: in our tables by others, by our protocol in others' tables, over and inside the overlay's prefixes.
  'ip route add 10.0.0.0/8 via 198.18.0.2',
  'ip route add 10.2.5.0/24 via 198.18.0.2 proto 76',
  'ip route add 203.0.113.0/24 nhid 8 proto 186',
  'ip route add 203.0.113.0/24 via 198.18.0.2 table 100 proto 99 metric 5',
  'ip route add 10.2.0.0/16 via 198.18.0.2 table 19538 proto 76',
  'ip route add 198.19.0.0/16 via 198.18.0.2 table 19539 proto 99',
  'ip route add 198.20.0.0/16 nhid 7 table 19539 proto 186',
  'ip route add 10.2.0.0/16 via 198.18.0.2 table 19544 proto 76',
  'ip route add default via 198.18.0.2 table 19540 proto 99',
  'ip -6 route add 2001:db8:99::/48 via 2001:db8:18::2 proto 186',
  'ip -6 route add 2001:db8:98::/48 via 2001:db8:18::2 table 19539 proto 99',
  // Rules: beside ours, and by our protocol.
  'ip rule add priority 5210 fwmark 0x80000/0xff0000 lookup main',
  'ip rule add priority 19528 fwmark 0x4c5399 lookup 100 protocol 76',
  'ip rule add priority 19532 lookup 19539 suppress_prefixlength 31',
  'ip -6 rule add priority 19528 from 2001:db8:18::/64 lookup 100',
  // nftables: our name in another family, almost our name, a hook before ours, a set named as one of ours.
  'nft add table ip linkspan',
  'nft add table inet linkspan2',
  'nft add table inet foreign',
  "nft add chain inet foreign input '{ type filter hook input priority -310; }'",
  'nft add rule inet foreign input udp dport 4789 counter accept',
  "nft add set inet foreign remote4_16 '{ type ipv4_addr; flags interval; }'",
  "nft add element inet foreign remote4_16 '{ 10.2.0.0/16 }'",
  "nft add map ip linkspan marks '{ type ipv4_addr : mark; }'",
  "nft add element ip linkspan marks '{ 10.2.0.1 : 0x4c5300 }'",
  // Sysctls, some of which linkspan will want otherwise.
  'sysctl -qw net.ipv4.conf.foreign0.forwarding=1 net.ipv4.conf.foreign0.rp_filter=1 net.ipv4.conf.site0.rp_filter=1',
  'sysctl -qw net.ipv4.conf.wan0.rp_filter=1 net.ipv6.conf.foreign0.forwarding=1 net.ipv6.conf.site0.accept_ra=0',
]

/** Damage to what is ours alone, beside others' routes, rules and nexthops. */
const damage = [
  'ip route flush table 19539 proto 76',
  'ip rule del priority 19531',
  'ip -6 rule del priority 19530',
  'ip link del dev ls-wg0',
  'nft delete table inet linkspan',
  'true',
]

await isolated(import.meta.url, async (directory) => {
  let before: readonly string[] = []
  const processes: ChildProcess[] = []
  let events = ''
  try {
    const { lab, left, right, leftHost } = await makePair(directory, {
      fabric: lanFabric,
      config: lanConfig,
      before: async (pair) => {
        const { machine } = pair.left
        await addLan(pair)
        machine.run('sh', '-ec', stage.join('\n'))
        for (const name of ['wg0', 'ls-wg9']) processes.push(...(await addWireGuard(machine, name)))
        before = await calm(machine)
        const argv = ['-o', '-N', 'monitor', 'link', 'address', 'route', 'rule', 'nexthop']
        const monitor = machine.spawn('ip', argv, { stdio: ['ignore', 'pipe', 'ignore'] })
        monitor.stdout?.on('data', (chunk: Buffer) => {
          events += chunk.toString()
        })
        processes.push(monitor)
      },
    })
    const { machine } = left
    const foreign = before.filter((line) => !isIntended(line))
    /** Of what was there, the lines that are not there as they were. */
    const gone = (now: readonly string[]): readonly string[] =>
      dumpDiff(foreign, now).filter((line) => line.startsWith('- '))
    const has = (line: RegExp) => (now: readonly string[]) => now.some((each) => line.test(each))

    await t.test('beside a working agent', (t) => {
      t.ok(leftHost.pings('10.2.0.10'), 'traffic flows')
      t.ok(before.length > 300, `${before.length} lines`)
      t.strictSame(gone(wholeDump(machine)), [])
      t.end()
    })

    await t.test('while the fabric changes', async (t) => {
      await publish(lab.registry, paperGateway('a', 1))
      t.strictSame(gone(await until(machine, has(/^route4\t.*10\.51\.0\.0\/16/))), [], 'a gateway comes')
      await publish(lab.registry, paperGateway('b', 2))
      t.strictSame(gone(await until(machine, has(/^route4\t.*10\.52\.0\.0\/16/))), [], 'it changes')
      await lab.writeFabric([...wanFabric, 'removed: [ g50 ]', ...lanFabric])
      const without = (now: readonly string[]): boolean => !has(/10\.5[02]\.0\.0/)(now)
      t.strictSame(gone(await until(machine, without)), [], 'it goes')
    })

    await t.test('while damage is repaired', async (t) => {
      const whole = wholeDump(machine)
      // Stopped, so that it is not repaired before we look.
      left.signal('SIGSTOP')
      machine.run('sh', '-c', damage.join('\n'))
      t.not(dumpDiff(whole, wholeDump(machine)).length, 0, 'there was damage')
      left.signal('SIGCONT')
      const repaired = await until(machine, (now) => dumpDiff(whole, now).length === 0, whole)
      t.strictSame(dumpDiff(whole, repaired), [], 'ours and theirs are as before')
    })

    await t.test('when the agent died, when it was told to stop, and when it came again', async (t) => {
      for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
        await left.stop(signal)
        t.strictSame(gone(wholeDump(machine)), [], signal)
        await startSettled(left)
        t.strictSame(gone(wholeDump(machine)), [], `after ${signal}`)
      }
    })

    await t.test('down removes all of ours and nothing else', async (t) => {
      const { status, stdout, stderr } = left.cli('down')
      t.equal(status, 0, stderr)
      t.match(stdout, /link delete dev ls-wg0/, 'there was something to remove')
      const after = await until(machine, (now) => dumpDiff(before, now).length === 0, before)
      t.strictSame(dumpDiff(before, after), [], 'the dump of before is the dump of after')
      const again = left.cli('down')
      t.same([again.status, again.stdout], [0, ''], 'nothing is left')
    })

    await t.test('nothing of theirs was deleted and made again', (t) => {
      const theirs =
        /foreign|\bwg0\b|ls-wg(9|31|64)\b|ls-foo|ls-br7002|vxlan5|198\.(18|19|20)\.|203\.0\.113|2001:db8:|19528:|19532:/
      const deleted = events.split('\n').filter((line) => line.includes('Deleted '))
      t.ok(deleted.length > 10, `the monitor saw ${deleted.length} deletions`)
      // Around connected networks of theirs stand throw routes of ours.
      const isOurs = (line: string): boolean => line.includes('table 19539 proto 76')
      t.strictSame(
        deleted.filter((line) => theirs.test(line.replaceAll('ls-wg0', 'ours')) && !isOurs(line)),
        [],
      )
      t.end()
    })
    t.equal(await right.stop(), 0)
  } finally {
    for (const each of processes) each.kill('SIGKILL')
  }
})

/** A WireGuard device of somebody else's that claims what the overlay has; what must be ended after the test. */
async function addWireGuard(machine: Machine, name: string): Promise<readonly ChildProcess[]> {
  const processes: ChildProcess[] = []
  if (guest) machine.ip(`link add name ${name} type wireguard`)
  else {
    processes.push(machine.spawn('wireguard-go', ['-f', name], { stdio: 'ignore' }))
    for (let i = 0; i < 400 && machine.attempt('wg', 'show', name).status !== 0; i++) await pause(25)
  }
  machine.run(
    'sh',
    '-ec',
    `
    wg genkey | wg set ${name} private-key /proc/self/fd/0 listen-port 0 fwmark 0x4c5301
    wg set ${name} peer $(wg genkey | wg pubkey) endpoint 192.0.2.77:51820 allowed-ips 10.2.0.0/16,fd00:2::/48
    wg set ${name} peer $(wg genkey | wg pubkey) allowed-ips 100.127.0.0/16 persistent-keepalive 0
    ip address add 198.18.77.1/24 dev ${name}
    ip link set dev ${name} up
    `,
  )
  return processes
}

/** dump(), and what only a test of everything needs: every sysctl of every link, neighbours, queues, handles, indices. */
function wholeDump(machine: Machine): readonly string[] {
  const more = {
    sysctl:
      'cd /proc/sys/net && grep -rH . ipv4/conf ipv6/conf ipv4/ip_forward ipv4/fib_* ipv6/fib_* 2>/dev/null',
    neighbour: 'ip -o neighbour show nud permanent',
    queue: 'tc qdisc show',
    index: 'grep -H . /sys/class/net/*/ifindex | grep -vE "/ls-(wg0|vx7001|br7001)/"',
    handle: 'for t in "inet foreign" "inet linkspan2" "ip linkspan"; do nft -a -s list table $t; done',
  }
  return [
    ...dump(machine).filter((line) => !line.startsWith('sysctl\t')),
    ...Object.entries(more).flatMap(([part, command]) =>
      machine
        .run('sh', '-c', `${command}; true`)
        .split('\n')
        .map((line) => `${part}\t${line.trim()}`),
    ),
  ]
}

/** The dump once two in a row are equal: links of the stage come up by and by. */
async function calm(machine: Machine): Promise<readonly string[]> {
  let lines = wholeDump(machine)
  for (let i = 0; i < 20; i++) {
    await pause(300)
    const next = wholeDump(machine)
    if (dumpDiff(lines, next).length === 0) return next
    lines = next
  }
  return lines
}

/** The first dump that is as wanted. Throws where none is; what differs from `whole` tells why. */
async function until(
  machine: Machine,
  isWanted: (now: readonly string[]) => boolean,
  whole: readonly string[] = [],
): Promise<readonly string[]> {
  for (const end = performance.now() + (guest ? 120_000 : 15_000); ;) {
    const lines = wholeDump(machine)
    if (isWanted(lines)) return lines
    if (performance.now() > end) throw new Error(`never as wanted:\n${dumpDiff(whole, lines).join('\n')}`)
    await pause(50)
  }
}

/** DESIGN "Kernel objects", row sysctls; and a port of our bridge is a link with a master. */
function isIntended(line: string): boolean {
  return (
    /^sysctl\tipv4\/conf\/(site0\/forwarding|wan0\/rp_filter|all\/send_redirects):/.test(line) ||
    /^sysctl\tipv4\/fib_multipath_hash_policy:/.test(line) ||
    /^sysctl\tipv6\/(conf\/[^/]+\/(forwarding|accept_ra)|fib_multipath_hash_policy):/.test(line) ||
    /^link\tlan0:/.test(line)
  )
}
