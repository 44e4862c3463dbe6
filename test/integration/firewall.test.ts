/**
 * The guards with packets: a gateway between its site, two tunnels (veth links under the names of tunnels: the guards go
 * by name) and an underlay. Meters behind the guards count what got through.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import { exec, stdinFile } from '../../agent/kernel/exec.ts'
import { replacement } from '../../agent/kernel/nft-ruleset.ts'
import { address, prefix } from '../../agent/model/prefix.ts'
import { guardElement, prefixElement } from '../../agent/plan/firewall-element.ts'
import { ruleset } from '../../agent/plan/firewall.ts'
import type { FirewallInput } from '../../agent/plan/firewall.ts'
import { ip, run, runIn } from '../support/command.ts'
import { isolated } from '../support/isolate.ts'
import { linkWith, ownWith } from '../support/plan-input.ts'
import { smallSnapshot } from '../support/small-fabric.ts'

const input: FirewallInput = {
  snapshot: smallSnapshot(
    [
      { name: 'here', prefixes: ['10.1.0.0/16', 'fd00:1::/48'], networks: ['lan'] },
      { name: 'far', prefixes: ['10.2.0.0/16', 'fd00:2::/48', '10.1.7.0/24'] },
      { name: 'third', prefixes: ['10.3.0.0/16', 'fd00:3::/48'] },
    ],
    [{ name: 'lan', vni: 7001, kind: 'l2' }],
  ),
  own: ownWith('here-a', 'here', {
    networks: [{ name: 'lan', interfaces: [] }],
    services: [{ protocol: 'tcp', port: 8080 }],
    registryAddresses: [address('10.2.0.99')],
  }),
  facts: { links: ['lan0 10.1.0.1/24 fd00:1::1/64', 'eth0 192.0.2.1/24 2001:db8::1/64'].map(linkWith) },
}

/** The gateway is the process's own namespace. */
function build(): void {
  for (const name of ['far', 'third', 'host', 'out']) run('ip', 'netns', 'add', name)
  ip(`
    link add ls-wg0 type veth peer name up0 netns far
    link add ls-wg1 type veth peer name up0 netns third
    link add lan0 type veth peer name up0 netns host
    link add eth0 type veth peer name up0 netns out
    link set dev ls-wg0 addrgenmode none
    link set dev ls-wg1 addrgenmode none
    addr add 100.127.0.1/32 dev ls-wg0
    addr add 100.127.0.1/32 dev ls-wg1
    addr add fe80::1/64 dev ls-wg0 nodad
    addr add fd4c:53aa:bb00::1/128 dev ls-wg0 nodad
    addr add 10.1.0.1/24 dev lan0
    addr add fd00:1::1/64 dev lan0 nodad
    addr add 192.0.2.1/24 dev eth0
    addr add 2001:db8::1/64 dev eth0 nodad
    link set ls-wg0 up
    link set ls-wg1 up
    link set lan0 up
    link set eth0 up
    route add 10.2.0.0/16 dev ls-wg0
    route add 100.127.0.2/32 dev ls-wg0
    route add 10.3.0.0/16 dev ls-wg1
    route add default via 192.0.2.2
    route add fd00:2::/48 dev ls-wg0
    route add fd00:3::/48 dev ls-wg1
    route add default via 2001:db8::2
    route add 169.254.169.254/32 via 192.0.2.2
    route add 198.51.100.0/24 via 192.0.2.2
  `)
  const ends: readonly [string, readonly string[], string, string][] = [
    [
      'far',
      ['10.2.0.10/16', '10.1.7.5/32', '100.127.0.2/32', 'fd00:2::10/48', 'fe80::2/64'],
      '100.127.0.1',
      'fe80::1',
    ],
    ['third', ['10.3.0.10/16', 'fd00:3::10/48'], '100.127.0.1', 'fd00:1::1'],
    ['host', ['10.1.0.10/24', '10.1.0.11/24', 'fd00:1::10/64'], '10.1.0.1', 'fd00:1::1'],
    [
      'out',
      ['192.0.2.2/24', '169.254.169.254/32', '198.51.100.1/24', '2001:db8::2/64'],
      '192.0.2.1',
      '2001:db8::1',
    ],
  ]
  for (const [namespace, addresses, four, six] of ends) {
    runIn(namespace, 'ip', 'link', 'set', 'dev', 'lo', 'up')
    runIn(namespace, 'ip', 'link', 'set', 'dev', 'up0', 'up')
    for (const text of addresses) {
      const more = text.includes(':') ? ['nodad'] : []
      runIn(namespace, 'ip', 'address', 'add', text, 'dev', 'up0', ...more)
    }
    runIn(namespace, 'ip', 'route', 'add', 'default', 'via', four, 'dev', 'up0', 'onlink')
    runIn(namespace, 'ip', '-6', 'route', 'add', 'default', 'via', six, 'dev', 'up0', 'onlink')
  }
  // Tunnels have no neighbour discovery, and the guards drop it.
  for (const [far, addresses] of [
    ['far', ['fd00:2::10', 'fe80::2']],
    ['third', ['fd00:3::10']],
  ] as const) {
    const device = far === 'far' ? 'ls-wg0' : 'ls-wg1'
    const mac = (text: string): string => /link\/ether (\S+)/.exec(text)?.[1] ?? ''
    const ours = mac(run('ip', 'link', 'show', 'dev', device))
    const theirs = mac(runIn(far, 'ip', 'link', 'show', 'dev', 'up0'))
    for (const to of addresses) ip(`neighbour add ${to} lladdr ${theirs} dev ${device} nud permanent`)
    for (const to of ['fe80::1', 'fd00:1::1']) {
      runIn(far, 'ip', 'neighbour', 'add', to, 'lladdr', ours, 'dev', 'up0', 'nud', 'permanent')
    }
  }
  for (const name of ['ipv4/ip_forward', 'ipv6/conf/all/forwarding']) {
    run('sysctl', '-qw', `net.${name.replaceAll('/', '.')}=1`)
  }
  for (const name of ['all', 'default', 'ls-wg0', 'ls-wg1', 'lan0', 'eth0']) {
    run('sysctl', '-qw', `net.ipv4.conf.${name}.rp_filter=0`)
  }
}

async function load(): Promise<void> {
  await exec.run('nft', ['-j', '-f', stdinFile], { input: replacement(ruleset(input), undefined) })
  const elements = [
    ...['10.1.0.0/16', 'fd00:1::/48'].flatMap((text) => [
      prefixElement('own', prefix(text)),
      prefixElement('local', prefix(text)),
    ]),
    ...['192.0.2.0/24', '10.1.0.0/24'].map((text) => prefixElement('local', prefix(text))),
    ...['10.2.0.0/16', '10.1.7.0/24', '10.3.0.0/16', 'fd00:2::/48', 'fd00:3::/48', '100.127.0.0/16'].map(
      (text) => prefixElement('remote', prefix(text)),
    ),
    guardElement(address('100.127.0.2'), 7001),
  ]
  for (const { set, key } of elements) run('nft', 'add', 'element', 'inet', 'linkspan', set, `{ ${key} }`)
}

/** Counts in `namespace` ('' is the gateway) what matches, at the hook, after the guards. */
function meter(namespace: string, hook: string, match: string): () => number {
  const table = `meter${meters++}`
  const text = `table inet ${table} {
    chain c { type filter hook ${hook} priority 300; policy accept; ${match} counter; }
  }`
  if (namespace === '') run('nft', text)
  else runIn(namespace, 'nft', text)
  return () => {
    const list = ['nft', '-j', 'list', 'table', 'inet', table] as const
    const listing = namespace === '' ? run(...list) : runIn(namespace, ...list)
    return Number(/"packets": (\d+)/.exec(listing)?.[1])
  }
}
let meters = 0

/** Sends UDP datagrams from a namespace. */
function send(namespace: string, from: string, to: string, port: number, count = 1, payload = '00'): void {
  const script = `
    const s = require('dgram').createSocket(${JSON.stringify(to.includes(':') ? 'udp6' : 'udp4')})
    s.on('error', () => process.exit(0))
    s.bind({ address: ${JSON.stringify(from)}, port: 0 }, () => {
      let left = ${count}
      for (let i = 0; i < ${count}; i++) s.send(Buffer.from(${JSON.stringify(payload)}, 'hex'), ${port}, ${JSON.stringify(to)}, () => { if (--left === 0) s.close() })
    })`
  if (namespace === '') run(process.execPath, '-e', script)
  else runIn(namespace, process.execPath, '-e', script)
}

/** The gateway's own packets to 203.0.113.1 go to far instead. */
function translate(): void {
  const chain = 'type nat hook output priority -100; ip daddr 203.0.113.1 dnat to 10.2.0.10;'
  run('nft', `table ip tested { chain c { ${chain} }; }`)
}

/** Whether an echo is answered. */
function ping(namespace: string, to: string, ...more: readonly string[]): boolean {
  return echo(namespace, to, '3', more)
}

/** The same where no answer is expected. */
function pingInVain(namespace: string, to: string, ...more: readonly string[]): boolean {
  return echo(namespace, to, '0.4', more)
}

function echo(namespace: string, to: string, wait: string, more: readonly string[]): boolean {
  try {
    const args = ['ping', '-n', '-c', '1', '-W', wait, ...more, to] as const
    if (namespace === '') run(...args)
    else runIn(namespace, ...args)
    return true
  } catch {
    return false
  }
}

function vxlan(vni: number): string {
  return `08000000${vni.toString(16).padStart(6, '0')}00${'ff'.repeat(20)}`
}

await isolated(import.meta.url, async () => {
  build()
  t.ok(ping('host', '10.2.0.10'), 'control: without the table hosts reach each other')
  t.ok(ping('far', '198.51.100.1'), 'control: without the table a far host gets out through us')
  await load()

  await t.test('what shall pass passes', (t) => {
    t.ok(ping('host', '10.2.0.10'), 'site to far')
    t.ok(ping('far', '10.1.0.10'), 'far to site')
    t.ok(ping('host', 'fd00:2::10'), 'site to far, IPv6')
    t.ok(ping('far', 'fd00:1::10'), 'far to site, IPv6')
    t.ok(ping('host', '198.51.100.1'), 'site to the internet')
    t.ok(ping('far', '100.127.0.1'), 'far to the gateway itself')
    t.ok(ping('', '10.2.0.10'), 'the gateway to far')
    t.ok(ping('', 'fe80::2%ls-wg0'), 'probe address')
    translate()
    t.ok(ping('', '203.0.113.1'), 'an address that NAT makes remote')
    run('nft', 'delete table ip tested')
    t.end()
  })

  await t.test('out of tunnels: this site only', (t) => {
    const leaks: readonly [string, string, string][] = [
      ['out', 'prerouting', 'ip daddr 169.254.169.254'],
      ['out', 'prerouting', 'ip daddr 198.51.100.1 ip saddr 10.2.0.10'],
      ['third', 'prerouting', 'ip daddr 10.3.0.10'],
      ['third', 'prerouting', 'ip6 daddr fd00:3::10'],
      ['far', 'prerouting', 'ip saddr 10.3.0.10'],
    ]
    const counts = leaks.map((leak) => meter(...leak))
    t.notOk(pingInVain('far', '169.254.169.254'), 'metadata address')
    t.notOk(pingInVain('far', '198.51.100.1'), 'public address')
    t.notOk(pingInVain('far', '10.3.0.10'), 'third site')
    t.notOk(pingInVain('far', 'fd00:3::10'), 'third site, IPv6')
    // Inside this site's prefix, but the longer one is far's.
    run('ip', 'route', 'add', '10.1.7.0/24', 'dev', 'ls-wg0')
    t.notOk(pingInVain('third', '10.1.7.5'), 'from one tunnel to another')
    run('ip', 'route', 'del', '10.1.7.0/24')
    for (const [i, count] of counts.entries()) t.equal(count(), 0, String(leaks[i]))
    t.end()
  })

  await t.test('out of tunnels: to the gateway', (t) => {
    const ports: readonly [string, number, string][] = [
      ['ssh', 22, 'tcp'],
      ['service', 8080, 'tcp'],
      ['probe', 18620, 'udp'],
      ['dns', 53, 'udp'],
    ]
    const counts = new Map(
      ports.map(([name, port, protocol]) => [
        name,
        meter('', 'input', `iifname "ls-wg*" ${protocol} dport ${port}`),
      ]),
    )
    for (const to of ['100.127.0.1', '10.1.0.1']) {
      for (const port of [22, 8080]) {
        const script = `require('net').connect({port:${port},host:'${to}',timeout:300}).on('timeout',()=>process.exit()).on('error',()=>process.exit())`
        runIn('far', process.execPath, '-e', script)
      }
    }
    send('far', '10.2.0.10', '100.127.0.1', 18620)
    send('far', 'fe80::2%up0', 'fe80::1%up0', 18620)
    send('far', '10.2.0.10', '100.127.0.1', 53)
    t.equal(counts.get('ssh')?.(), 0, 'ssh')
    t.equal(counts.get('dns')?.(), 0, 'dns')
    t.equal(counts.get('service')?.(), 2, 'configured service')
    t.equal(counts.get('probe')?.(), 2, 'probes, link-local too')
    t.end()
  })

  await t.test("replies to the gateway's own connections", async (t) => {
    const script = `require('net').createServer((s) => s.end('hello')).listen(9000, () => console.log('ready'))`
    const server = spawn('ip', ['netns', 'exec', 'far', process.execPath, '-e', script])
    await once(server.stdout, 'data')
    const client = `require('net').connect({ port: 9000, host: '10.2.0.10', timeout: 2000 }).on('data', (d) => console.log(String(d))).on('timeout', () => process.exit())`
    t.match(run(process.execPath, '-e', client), 'hello')
    server.kill('SIGKILL')
  })

  await t.test('VXLAN guard', (t) => {
    const seen = meter('', 'input', 'udp dport 4789')
    send('out', '192.0.2.2', '192.0.2.1', 4789, 10, vxlan(7001))
    t.equal(seen(), 0, 'forged on the underlay: 10 of 10 dropped')
    send('far', '10.2.0.10', '100.127.0.1', 4789, 10, vxlan(7001))
    send('far', '100.127.0.2', '100.127.0.1', 4789, 10, vxlan(7002))
    t.equal(seen(), 0, 'another source or VNI out of a tunnel: dropped')
    send('far', '100.127.0.2', '100.127.0.1', 4789, 10, vxlan(7001))
    t.equal(seen(), 10, 'the certified source and VNI: accepted')
    send('out', '192.0.2.2', '192.0.2.1', 4789, 10, vxlan(99))
    t.equal(seen(), 20, 'another VXLAN of this host is left alone')
    const transit = meter('host', 'prerouting', 'udp dport 4789')
    send('far', '10.2.0.10', '10.1.0.10', 4789, 10, vxlan(7001))
    t.equal(transit(), 10, "a tenant's own VXLAN in transit")
    t.end()
  })

  await t.test('egress guard: nothing in clear', (t) => {
    const clear = meter(
      'out',
      'prerouting',
      'ip daddr { 10.2.0.0/16, 10.1.7.0/24, 10.3.0.0/16, 100.127.0.0/16 } ip daddr != 10.2.0.99',
    )
    const clear6 = meter('out', 'prerouting', 'ip6 daddr { fd00:2::/48, fd00:3::/48 }')
    const registry = meter('out', 'prerouting', 'ip daddr 10.2.0.99')
    const marked = meter('out', 'prerouting', 'ip daddr 10.2.0.77')
    const control = meter('out', 'prerouting', 'ip daddr 198.51.100.1')
    ip(`
      route del 10.2.0.0/16
      route del 10.3.0.0/16
      route del 100.127.0.2/32
      route del fd00:2::/48
      route del fd00:3::/48
    `)
    for (const from of ['host', ''] as const) {
      for (const to of ['10.2.0.10', '10.3.0.10', '10.1.7.5', '100.127.0.2', 'fd00:2::10', 'fd00:3::10']) {
        // 10.1.7.5 would leave by lan0's supernet route otherwise: none here, so by default.
        t.notOk(pingInVain(from, to), `${from === '' ? 'gateway' : from} to ${to}`)
      }
    }
    t.equal(clear(), 0, 'IPv4')
    t.equal(clear6(), 0, 'IPv6')
    pingInVain('', '10.2.0.99')
    t.equal(registry(), 1, 'the gateway reaches the registry')
    pingInVain('host', '10.2.0.99')
    t.equal(registry(), 1, 'others do not reach it in clear')
    pingInVain('', '10.2.0.77', '-m', String(0x4c5300))
    t.equal(marked(), 1, "WireGuard's own packets leave")
    ping('host', '198.51.100.1')
    t.equal(control(), 1, 'control: the meters see')
    t.end()
  })

  await t.test('a rejected packet is answered, to programs of the gateway too', (t) => {
    const words = (work: () => string): string => {
      try {
        return work()
      } catch (error) {
        return (error as { stdout: string }).stdout
      }
    }
    const args = ['-n', '-c', '1', '-W', '1', '10.2.0.10']
    const unreachable = /Destination (Net|Host) Unreachable/
    t.match(
      words(() => runIn('host', 'ping', ...args)),
      unreachable,
    )
    t.match(
      words(() => run('ping', ...args)),
      unreachable,
    )
    t.end()
  })

  await t.test('an address that NAT makes remote does not leave in clear', (t) => {
    const clear = meter('out', 'prerouting', 'ip daddr 10.2.0.10')
    translate()
    t.notOk(pingInVain('', '203.0.113.1'))
    t.equal(clear(), 0)
    run('nft', 'delete table inet linkspan')
    pingInVain('', '203.0.113.1')
    t.equal(clear(), 1, 'control: without the table it does')
    t.end()
  })
})
