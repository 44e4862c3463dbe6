/**
 * The guards, against whole agents. The attacker is a whole gateway: gw-1, whose agent is stopped and whose WireGuard
 * sends everything to gw-2. Every attack is made twice: with the guard of gw-2, where nothing may arrive, and without it,
 * where it does arrive, or the first result would say nothing.
 *
 *   host-1 ── gw-1 (attacker) ─┐                       ┌─ metadata 169.254.169.254
 *                              ├── wan ── gw-2 (us) ───┤
 *   host-3 ── gw-3 (third) ────┤                       └─ host-2
 *                              └── world 203.0.113.10: everybody's default route
 */
import t from 'tap'
import { setTimeout as pause } from 'node:timers/promises'
import { capture } from '../support/capture.ts'
import type { Gateway } from '../support/gateway.ts'
import { isolated } from '../support/isolate.ts'
import type { Machine } from '../support/machine.ts'
import { sendUdp, vxlanFrame } from '../support/packet.ts'
import { makeTrio } from '../support/trio.ts'

const metadata = '169.254.169.254'
const outside = '203.0.113.10'
const forged = '10.3.0.99'
const vni = 7001

await isolated(import.meta.url, async (directory) => {
  const { lab, sites } = await makeTrio(directory, {
    config: [
      'services: [ { protocol: tcp, port: 8080 } ]',
      'networks: [ { name: lan, interfaces: [ lan0 ] } ]',
    ],
    fabric: [`networks: [ { name: lan, vni: ${vni}, kind: l2 } ]`],
    prepare: (gateway, n, lab) => {
      lab.underlay(`lan-${n}`)
      lab.plug(gateway.machine, 'lan0', `lan-${n}`)
      gateway.machine.ip('route add default via 192.0.2.254')
    },
  })
  const [attacker, us, third] = [sites[0].gateway, sites[1].gateway, sites[2].gateway]
  const [hostA, hostB, hostC] = [sites[0].host, sites[1].host, sites[2].host]
  const world = await lab.hostOn('world', 'wan', ['192.0.2.254/24', `${outside}/32`])
  for (const n of [1, 2, 3]) world.ip(`route add 10.${n}.0.0/16 via 192.0.2.${n}`)
  const cloud = await lab.hostOn('cloud', 's-site-2', [`${metadata}/32`])
  cloud.ip('route add 10.0.0.0/8 dev eth0')
  us.machine.ip(`route add ${metadata}/32 dev site0`)
  // We are the site's router to the world, too.
  us.machine.run('sysctl', '-qw', 'net.ipv4.conf.wan0.forwarding=1')
  for (const port of [22, 8080]) listen(us.machine, port)
  listen(hostB, 80)
  for (const [machine, port] of [
    [us.machine, 22],
    [us.machine, 8080],
    [hostB, 80],
  ] as const) {
    for (let i = 0; i < 200 && !machine.run('ss', '-Hltn', `sport = ${port}`).includes(`:${port}`); i++)
      await pause(50)
  }

  await t.test('what is allowed passes', async (t) => {
    t.ok(hostA.pings('10.2.0.10'), 'a host')
    t.ok(await opens(hostA, '10.2.0.10', 80), 'its port')
    t.ok(hostA.pings('10.2.0.1'), 'the gateway answers echo requests')
    t.ok(await opens(hostA, '10.2.0.1', 8080), 'a configured service of the gateway')
    t.ok(await opens(hostA, 'fd00:2::1', 8080), 'over IPv6 too')
    t.ok(await opens(hostB, '10.2.0.1', 22), 'SSH from its own site')
    t.ok(hostB.pings(outside), 'its own site reaches the world through it')
    t.ok(us.machine.pings(metadata), 'the gateway reaches its metadata service')
    t.ok(hostB.pings('10.3.0.10'), 'its own site reaches the third')
  })

  // Everything below leaves the attacker by its tunnel to us, and is what WireGuard itself lets through.
  attacker.signal('SIGSTOP')
  attacker.machine.run('nft', 'delete', 'table', 'inet', 'linkspan')
  // The third site's prefixes by name: its own peer holds them, and the longest match decides.
  const everything = '0.0.0.0/0,::/0,10.3.0.0/16,fd00:3::/48'
  const key = us.machine.run('wg', 'show', 'ls-wg0', 'public-key').trim()
  attacker.machine.run('wg', 'set', 'ls-wg0', 'peer', key, 'allowed-ips', everything)
  for (const to of [`${metadata}/32`, `${outside}/32`])
    attacker.machine.ip(`route add ${to} dev ls-wg0 table 19539`)

  const gates = ['10.2.0.1', 'fd00:2::1', overlayOf(us), '192.0.2.2']
  const attack = async (): Promise<Readonly<Record<string, number>>> => {
    const at = {
      metadata: await capture(cloud, 'eth0', `host ${metadata} and net 10.1.0.0/16`),
      // One hop further than it came in: tcpdump knows no direction on a tunnel.
      'third site': await capture(us.machine, 'ls-wg0', 'dst host 10.3.0.10 and ip[8] = 62'),
      'third site, IPv6': await capture(us.machine, 'ls-wg0', 'dst host fd00:3::10 and ip6[7] = 62'),
      outside: await capture(world, 'eth0', `host ${outside} and src net 10.1.0.0/16`),
      'forged source': await capture(hostB, 'eth0', `host ${forged}`),
    }
    for (const to of [metadata, '10.3.0.10', 'fd00:3::10', outside]) sendUdp(hostA, { to, port: 9 })
    sendUdp(attacker.machine, { to: '10.2.0.10', port: 9, source: forged })
    const ssh = await Promise.all(gates.map((to) => opens(hostA, to, 22)))
    const arrived: Record<string, number> = { ssh: ssh.filter((open) => open).length }
    for (const [place, seen] of Object.entries(at)) arrived[place] = (await seen.stop()).length
    return arrived
  }
  attacker.machine.ip(`address add ${forged}/32 dev lo`)
  attacker.machine.ip('route add 192.0.2.2/32 dev ls-wg0 table 19539')

  await t.test('what is not allowed is delivered nowhere', async (t) => {
    const arrived = await attack()
    t.ok(Object.keys(arrived).length >= 6)
    for (const [place, count] of Object.entries(arrived)) t.equal(count, 0, place)
    t.ok(hostA.pings('10.2.0.10'), 'while the hosts talk')
    t.ok(await opens(hostA, '10.2.0.1', 8080), 'and the service answers')
  })

  await t.test('control: without the guard the same packets arrive', async (t) => {
    us.signal('SIGSTOP')
    us.machine.run('nft', 'delete', 'table', 'inet', 'linkspan')
    const arrived = await attack()
    t.ok((arrived['metadata'] ?? 0) >= 10, 'the metadata service')
    t.ok((arrived['third site'] ?? 0) >= 10, 'the third site')
    t.ok((arrived['third site, IPv6'] ?? 0) >= 10, 'over IPv6')
    t.ok((arrived['outside'] ?? 0) >= 10, 'the world')
    t.ok((arrived['ssh'] ?? 0) >= 3, 'SSH')
    t.equal(arrived['forged source'], 0, 'a forged source is refused by WireGuard itself')
    us.signal('SIGCONT')
    await untilGuarded(us)
  })

  await t.test('VXLAN frames from the underlay are dropped', async (t) => {
    const frames = async (): Promise<number> => {
      const seen = await capture(us.machine, `ls-vx${vni}`, 'ether src 02:00:00:00:66:66')
      for (const to of ['192.0.2.2', '10.2.0.1']) {
        sendUdp(world, { to, port: 4789, payload: vxlanFrame(vni) })
      }
      return (await seen.stop()).length
    }
    t.equal(await frames(), 0, '20 of 20, to the underlay and to the site address')
    us.signal('SIGSTOP')
    us.machine.run('nft', 'delete', 'table', 'inet', 'linkspan')
    t.ok((await frames()) >= 10, 'control: without the guard Linux takes them')
    us.signal('SIGCONT')
    await untilGuarded(us)
  })

  await t.test('nothing leaves in clear, whatever is flushed', async (t) => {
    const cuts: Readonly<Record<string, () => void>> = {
      rules: () => {
        for (const family of ['-4', '-6']) {
          for (const priority of ['19531', '19530', '19529']) {
            us.machine.run('ip', family, 'rule', 'del', 'priority', priority)
          }
        }
      },
      routes: () => {
        for (const family of ['-4', '-6']) flush(us.machine, family)
      },
      links: () => {
        us.machine.ip('link del dev ls-wg0')
      },
      table: () => {
        us.machine.run('nft', 'delete', 'table', 'inet', 'linkspan')
      },
    }
    for (const names of [['rules'], ['routes'], ['links'], ['table'], ['rules', 'routes', 'links']]) {
      us.signal('SIGSTOP')
      t.equal(
        await plaintext(hostB, us, () => {
          for (const name of names) cuts[name]?.()
        }),
        0,
        `${names.join(', ')} flushed`,
      )
      us.signal('SIGCONT')
      await untilGuarded(us)
      t.ok(await hostB.reaches('10.3.0.10'), 'its own site reaches the third again')
      t.pass('and the agent repairs it')
    }
    us.signal('SIGSTOP')
    const seen = await plaintext(hostB, us, () => {
      for (const name of ['routes', 'table']) cuts[name]?.()
    })
    t.ok(seen >= 20, `control: with the guard gone as well, ${seen} packets are seen in clear`)
    us.signal('SIGCONT')
    await untilGuarded(us)
  })

  for (const gateway of [attacker, us, third]) gateway.signal('SIGCONT')
  for (const gateway of [attacker, us, third]) t.equal(await gateway.stop(), 0, `${gateway.name} stops`)
  t.ok(hostC.pings('10.2.0.10'), 'the others talk on')
})

/** Inner packets on the underlay while a host and the gateway itself send to the third site and `cut` happens. */
async function plaintext(host: Machine, gateway: Gateway, cut: () => void): Promise<number> {
  const inner = 'net 10.0.0.0/8 or net 100.127.0.0/16 or net fd00::/8'
  const seen = await capture(undefined, 'wan', inner)
  const senders = [host, gateway.machine].flatMap((from) =>
    ['10.3.0.10', 'fd00:3::10'].map((to) =>
      from.spawn('ping', ['-q', '-i', '0.02', to], { stdio: 'ignore' }),
    ),
  )
  try {
    await pause(300)
    cut()
    await pause(700)
  } finally {
    for (const sender of senders) sender.kill('SIGINT')
  }
  return (await seen.stop()).length
}

/** What `ip route flush` should do; it fails on routes that name a nexthop. */
function flush(machine: Machine, family: string): void {
  const routes = machine.run('ip', family, '-json', 'route', 'show', 'table', '19539')
  for (const { type, dst } of JSON.parse(routes) as { type?: string; dst: string }[]) {
    const words = type === undefined ? [dst] : [type, dst]
    machine.run('ip', family, 'route', 'del', ...words, 'table', '19539')
  }
}

async function untilGuarded({ machine, name }: Gateway): Promise<void> {
  for (let i = 0; i < 300; i++) {
    // Its sets are filled a moment after it is made.
    if (machine.attempt('nft', 'list', 'table', 'inet', 'linkspan').stdout.includes('10.3.0.0')) return
    await pause(100)
  }
  throw new Error(`${name} has not repaired its firewall`)
}

function overlayOf({ machine }: Gateway): string {
  const found = /inet (100\.127\.\d+\.\d+)/.exec(machine.ip('-4 address show dev ls-wg0'))
  return found?.[1] ?? ''
}

/** Answers every connection by closing it. */
function listen(machine: Machine, port: number): void {
  const program = `require('node:net').createServer((socket) => socket.end()).listen(${port}, '::')`
  machine.spawn(process.execPath, ['-e', program], { stdio: 'ignore' }).unref()
}

function opens(from: Machine, to: string, port: number): Promise<boolean> {
  const program = ['1', 'bash', '-c', `exec 3<>/dev/tcp/${to}/${port}`]
  return new Promise((resolve) => {
    from.spawn('timeout', program, { stdio: 'ignore' }).once('exit', (code) => {
      resolve(code === 0)
    })
  })
}
