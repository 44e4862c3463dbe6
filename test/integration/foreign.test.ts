/**
 * What is not ours stays as it is: while the agent works, while the fabric changes, when the agent dies, and when `down`
 * has removed all that linkspan made. Others' things stand as near to ours as they can: names, tables, priorities, ids,
 * protocols and link groups one off, or in one point the same.
 *
 * The dumps are taken by the kernel's own tools. A monitor runs beside them, because what is deleted and made again looks
 * the same in two dumps.
 */
import type { ChildProcess } from 'node:child_process'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { dump, dumpDiff } from '../support/dump.ts'
import { paperGateway, publish, untilLine } from '../support/fault.ts'
import { isolated } from '../support/isolate.ts'
import type { Machine } from '../support/machine.ts'
import { addLan, lanConfig, lanFabric, makePair } from '../support/pair.ts'

const inGuest = process.env['LINKSPAN_GUEST'] !== undefined

const links = ['foreign0', 'foreign1', 'ls-wg31', 'ls-wg64', 'ls-vx5', 'ls-br7002', 'vxlan5']

/** Link group 19539 and protocol 76 are ours; ids from 0x4c000000 to 0x4cffffff, priorities 19529 to 19531. */
const stage = [
  // Links: by our names but not in our way, almost by our names, and in our group under another name.
  'ip link add name foreign0 group 19539 type veth peer name foreign1',
  'ip link add name ls-wg31 type veth peer name ls-wg64',
  'ip link add name ls-vx5 type veth peer name ls-br',
  'ip link add name ls-br7002 type bridge',
  'ip link add name vxlan5 type vxlan id 5 local 192.0.2.1 dstport 4790 nolearning',
  'ip link set dev foreign0 alias linkspan',
  ...links.map((link) => `ip link set dev ${link} up`),
  'ip link set dev foreign1 master ls-br7002',
  'ip address add 198.18.0.1/24 dev foreign0',
  'ip address add 2001:db8:18::1/64 dev foreign0 nodad',
  'ip address add 100.64.0.1/32 dev ls-wg31',
  'ip address add fe80::77/64 dev ls-wg31 nodad',
  'ip neighbour add 198.18.0.9 lladdr 02:00:00:00:00:09 dev foreign0 nud permanent',
  'bridge fdb append 00:00:00:00:00:00 dev vxlan5 dst 192.0.2.99',
  'bridge fdb add 02:00:00:00:00:05 dev vxlan5 dst 192.0.2.98',
  // Nexthops and groups: around our range, and inside it by another protocol.
  'ip nexthop add id 7 via 198.18.0.2 dev foreign0 proto 186',
  'ip nexthop add id 8 group 7 proto 186',
  `ip nexthop add id ${0x4bffffff} via 198.18.0.3 dev foreign0 proto kernel`,
  `ip nexthop add id ${0x4d000000} blackhole proto kernel`,
  `ip nexthop add id ${0x4c00ff00} via 198.18.0.4 dev foreign0 proto 186`,
  `ip nexthop add id ${0x4c00ff01} group ${0x4c00ff00} proto 186`,
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
  // nftables: our name in another family, almost our name, and a hook before ours.
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

await isolated(import.meta.url, async (directory) => {
  let before: readonly string[] = []
  const processes: ChildProcess[] = []
  let events = ''
  const { lab, left, leftHost } = await makePair(directory, {
    fabric: lanFabric,
    config: lanConfig,
    before: async (pair) => {
      const { machine } = pair.left
      await addLan(pair)
      machine.run('sh', '-ec', stage.join('\n'))
      for (const name of ['wg0', 'ls-wg9']) processes.push(...(await addWireGuard(machine, name)))
      // Link-local addresses are tentative for about two seconds.
      do await pause(200)
      while (machine.ip('address show tentative') !== '')
      before = wholeDump(machine)
      const argv = ['-o', '-N', 'monitor', 'link', 'address', 'route', 'rule', 'nexthop']
      const monitor = machine.spawn('ip', argv, { stdio: ['ignore', 'pipe', 'ignore'] })
      monitor.stdout?.on('data', (chunk: Buffer) => {
        events += chunk.toString()
      })
      processes.push(monitor)
    },
  })
  const { machine } = left
  /** Lines of before that are gone, save for what linkspan changes on purpose. */
  const gone = (): readonly string[] =>
    dumpDiff(before, wholeDump(machine)).filter((line) => line.startsWith('- ') && !isIntended(line))

  await t.test('beside a working agent', (t) => {
    t.ok(leftHost.pings('10.2.0.10'), 'traffic flows')
    t.strictSame(gone(), [])
    t.end()
  })

  await t.test('while the fabric changes', async (t) => {
    await publish(lab.registry, paperGateway('a', 1))
    await untilLine(machine, /^route4.*10\.51\.0\.0\/16/)
    t.strictSame(gone(), [])
    await publish(lab.registry, paperGateway('b', 2))
    await untilLine(machine, /^route4.*10\.52\.0\.0\/16/)
    t.strictSame(gone(), [])
  })

  await t.test('while drift is repaired', async (t) => {
    const from = left.log.length
    machine.run(
      'sh',
      '-c',
      'ip link del dev ls-wg0; nft delete table inet linkspan; ip rule del priority 19531; true',
    )
    await untilLine(machine, /^rule4\t19531:/)
    await untilLine(machine, /^route4.*10\.2\.0\.0\/16 nhid.* table 19539/)
    for (let i = 0; i < 100 && machine.attempt('nft', 'list', 'table', 'inet', 'linkspan').status !== 0; i++) {
      await pause(50)
    }
    t.match(left.log.slice(from), /drift-repaired/)
    t.strictSame(gone(), [])
  })

  await t.test('when the agent died and came again', async (t) => {
    await left.stop('SIGKILL')
    t.strictSame(gone(), [])
    left.log = ''
    left.start()
    await left.untilLogged('first-audit', 60)
    t.strictSame(gone(), [])
  })

  await t.test('what others write meanwhile is theirs as well', async (t) => {
    const write = 'ip route add 198.51.100.0/24 via 198.18.0.2 table 19539 proto 99'
    machine.run('sh', '-ec', `sysctl -qw net.ipv4.conf.foreign1.forwarding=1; ${write}`)
    await pause(800)
    const added = dumpDiff(before, wholeDump(machine))
    t.ok(added.includes('+ sysctl\tipv4/conf/foreign1/forwarding:1'))
    t.ok(added.some((line) => line.includes('198.51.100.0/24')))
    const unwrite = write.replace(' add ', ' del ')
    machine.run('sh', '-ec', `sysctl -qw net.ipv4.conf.foreign1.forwarding=0; ${unwrite}`)
  })

  await t.test('down removes all of ours and nothing else', async (t) => {
    const { status, stdout, stderr } = left.cli('down')
    t.equal(status, 0, stderr)
    t.match(stdout, /link ls-wg0/, 'there was something to remove')
    let difference: readonly string[] = []
    for (let i = 0; i < 20; i++) {
      difference = dumpDiff(before, wholeDump(machine))
      if (difference.length === 0) break
      await pause(inGuest ? 500 : 100)
    }
    t.strictSame(difference, [], 'the dump of before is the dump of after')
    const again = left.cli('down')
    t.equal(again.status, 0)
    t.equal(again.stdout, '', 'nothing is left')
  })

  await t.test('nothing of theirs was deleted and made again', (t) => {
    const theirs =
      /foreign|\bwg0\b|ls-wg(9|31|64)\b|ls-vx5|ls-br7002|ls-br[@:]|198\.(18|19|20)\.|203\.0\.113|2001:db8:/
    const deleted = events.split('\n').filter((line) => line.includes('Deleted '))
    t.ok(deleted.length > 10, `the monitor saw ${deleted.length} deletions`)
    const touched = deleted
      .map((line) => line.replaceAll('ls-wg0', 'ours'))
      .filter((line) => theirs.test(line) && !line.includes('198.51.100.0/24'))
    t.strictSame(touched, [])
    t.end()
  })

  for (const each of lab.gateways) await each.stop()
  for (const each of processes) each.kill('SIGKILL')
})

/** A WireGuard device of somebody else's that claims what the overlay has; what must be ended after the test. */
async function addWireGuard(machine: Machine, name: string): Promise<readonly ChildProcess[]> {
  const processes: ChildProcess[] = []
  if (inGuest) machine.ip(`link add name ${name} type wireguard`)
  else {
    processes.push(machine.spawn('wireguard-go', ['-f', name], { stdio: 'ignore' }))
    for (let i = 0; i < 200 && machine.attempt('wg', 'show', name).status !== 0; i++) await pause(25)
  }
  machine.run(
    'sh',
    '-ec',
    `
    wg genkey | wg set ${name} private-key /dev/stdin listen-port 0 fwmark 0x4c5301
    wg set ${name} peer $(wg genkey | wg pubkey) endpoint 192.0.2.77:51820 allowed-ips 10.2.0.0/16,fd00:2::/48
    wg set ${name} peer $(wg genkey | wg pubkey) allowed-ips 100.127.0.0/16 persistent-keepalive 0
    ip address add 198.18.77.1/24 dev ${name}
    ip link set dev ${name} up
    `,
  )
  return processes
}

/** dump(), and what only a test of everything needs: every sysctl of every link, permanent neighbours, queues. */
function wholeDump(machine: Machine): readonly string[] {
  const sysctls =
    'cd /proc/sys/net && grep -rH . ipv4/conf ipv6/conf ipv4/ip_forward ipv4/fib_* ipv6/fib_* 2>/dev/null; true'
  const more = {
    sysctl: machine.run('sh', '-c', sysctls),
    neighbour: machine.ip('-o neighbour show nud permanent'),
    queue: machine.run('tc', 'qdisc', 'show'),
  }
  return [
    ...dump(machine).filter((line) => !line.startsWith('sysctl\t')),
    ...Object.entries(more).flatMap(([part, text]) =>
      text.split('\n').map((line) => `${part}\t${line.trim()}`),
    ),
  ]
}

/** DESIGN "Kernel objects", row sysctls; and a port of our bridge is a link with a master. */
function isIntended(line: string): boolean {
  return (
    /^- sysctl\tipv4\/(conf\/site0\/forwarding|conf\/wan0\/rp_filter|fib_multipath_hash_policy):/.test(line) ||
    /^- sysctl\tipv6\/(conf\/[^/]+\/(forwarding|accept_ra)|fib_multipath_hash_policy):/.test(line) ||
    /^- link\tlan0:/.test(line)
  )
}
