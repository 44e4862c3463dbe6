/**
 * Stretched Ethernet segments: whole agents, bridge + VXLAN inside WireGuard over three sites.
 *
 *   lan   192.168.50.n   hosts lan-1, lan-2, lan-3      VNI 7001, all three gateways
 *   blue  192.168.60.n   hosts blue-1, blue-2           VNI 7002, gw-1 and gw-2 alone
 */
import t from 'tap'
import { setTimeout as pause } from 'node:timers/promises'
import { capture } from '../support/capture.ts'
import type { Gateway } from '../support/gateway.ts'
import { isolated } from '../support/isolate.ts'
import type { Machine } from '../support/machine.ts'
import { sendUdp, vxlanFrame } from '../support/packet.ts'
import { wanFabric } from '../support/lab.ts'
import { makeTrio } from '../support/trio.ts'

const lan = 7001
const blue = 7002

await isolated(import.meta.url, async (directory) => {
  const networks = (...lines: readonly string[]): string => `networks: [ ${lines.join(', ')} ]`
  const { lab, sites } = await makeTrio(directory, {
    config: [networks('{ name: lan, interfaces: [ lan0 ] }', '{ name: blue, interfaces: [ blue0 ] }')],
    fabric: [networks(`{ name: lan, vni: ${lan}, kind: l2 }`, `{ name: blue, vni: ${blue}, kind: l2 }`)],
    // gw-3 asks for both and is granted one.
    add: { 'gw-3': ['--network', 'lan'] },
    prepare: ({ machine }, n, lab) => {
      for (const name of ['lan', 'blue']) {
        lab.underlay(`${name}-${n}`)
        lab.plug(machine, `${name}0`, `${name}-${n}`)
      }
    },
  })
  const [one, two, three] = [sites[0].gateway, sites[1].gateway, sites[2].gateway]
  const on = (name: string, n: number, net: number): Promise<Machine> =>
    lab.hostOn(`${name}-${n}`, `${name}-${n}`, [`192.168.${net}.${n}/24`])
  const lans = [await on('lan', 1, 50), await on('lan', 2, 50), await on('lan', 3, 50)] as const
  const blues = [await on('blue', 1, 60), await on('blue', 2, 60), await on('blue', 3, 60)] as const
  for (const host of lans) host.run('sysctl', '-qw', 'net.ipv4.icmp_echo_ignore_broadcasts=0')

  await t.test('hosts of all sites are neighbours', async (t) => {
    for (const from of lans) {
      for (const [i, to] of lans.entries()) {
        if (from !== to) t.ok(await from.reaches(`192.168.50.${i + 1}`), `${from.name} to ${to.name}`)
      }
    }
    t.match(
      lans[0].ip('neighbour show 192.168.50.3'),
      macOf(lans[2], 'eth0'),
      'it is the very host that answers ARP',
    )
    t.equal(
      lans[0].attempt('ping', '-c', '1', '-W', '2', '-t', '1', '192.168.50.3').status,
      0,
      'with no router between',
    )
  })

  await t.test('a broadcast reaches every site once', async (t) => {
    const seen = await Promise.all(
      lans.slice(1).map((host) => capture(host, 'eth0', 'icmp and ether broadcast')),
    )
    lans[0].attempt('ping', '-b', '-c', '3', '-i', '0.2', '-W', '1', '192.168.50.255')
    for (const each of seen) t.equal((await each.stop()).length, 3)
  })

  await t.test('addresses are learned, and what is known is not flooded', async (t) => {
    t.ok(lans[0].pings('192.168.50.2'))
    const fdb = one.machine.run('bridge', 'fdb', 'show', 'dev', `ls-vx${lan}`)
    const known = fdb
      .split('\n')
      .find((line) => line.startsWith(macOf(lans[1], 'eth0')) && line.includes('dst'))
    t.match(known, `dst ${overlayOf(two)}`, 'behind the gateway of its site')
    const bystander = await capture(lans[2], 'eth0', 'icmp')
    t.ok(lans[0].pings('192.168.50.2'))
    t.strictSame(await bystander.stop(), [], 'the third site sees nothing of it')
  })

  await t.test('a full frame of the bridge passes whole', (t) => {
    const mtu = Number(one.machine.run('cat', `/sys/class/net/ls-br${lan}/mtu`))
    t.equal(mtu, 1390, '1500 less WireGuard and VXLAN over IPv4')
    const room = String(mtu - 28)
    t.equal(lans[0].attempt('ping', '-c', '1', '-W', '2', '-M', 'do', '-s', room, '192.168.50.2').status, 0)
    t.end()
  })

  await t.test('a network is for those who are certified for it', async (t) => {
    t.ok(await blues[0].reaches('192.168.60.2'), 'the two who are')
    t.notOk(blues[2].pings('192.168.60.1'), 'not the third')
    t.notOk(linkNames(three).includes(`ls-br${blue}`), 'which has no bridge for it')
    const { notes } = await three.untilUp(2)
    t.match(
      notes.find(({ kind, object }) => kind === 'network-not-joined' && object === 'network blue')?.reason,
      /certificate/,
      'and says why',
    )
  })

  await t.test('frames of a network the sender is not certified for are dropped', async (t) => {
    // The sender's own agent and firewall out of the way: what counts is the receiver's guard.
    three.signal('SIGSTOP')
    three.machine.run('nft', 'delete', 'table', 'inet', 'linkspan')
    const arrived = async (vni: number): Promise<number> => {
      const seen = await capture(one.machine, `ls-vx${vni}`, 'ether src 02:00:00:00:66:66')
      sendUdp(three.machine, {
        to: overlayOf(one),
        source: overlayOf(three),
        port: 4789,
        payload: vxlanFrame(vni),
      })
      return (await seen.stop()).length
    }
    t.equal(await arrived(blue), 0, '10 of 10 dropped')
    t.equal(await arrived(lan), 10, 'while those of its own network arrive')
    one.signal('SIGSTOP')
    one.machine.run('nft', 'delete', 'table', 'inet', 'linkspan')
    t.equal(await arrived(blue), 10, 'control: without the guard all arrive')
    for (const gateway of [one, three]) gateway.signal('SIGCONT')
    await until(
      'the firewall is back',
      () => one.machine.attempt('nft', 'list', 'table', 'inet', 'linkspan').status === 0,
    )
  })

  await t.test('a network that leaves the fabric document leaves the gateways', async (t) => {
    await lab.writeFabric([...wanFabric, networks(`{ name: blue, vni: ${blue}, kind: l2 }`)])
    for (const gateway of [one, two, three]) {
      await until(
        `${gateway.name} has removed it`,
        () => !linkNames(gateway).some((name) => name.endsWith(String(lan))),
      )
    }
    t.strictSame(
      linkNames(one)
        .filter((name) => name.startsWith('ls-'))
        .sort(),
      [`ls-br${blue}`, `ls-vx${blue}`, 'ls-wg0'].sort(),
      'bridge and VXLAN link of it, nothing else',
    )
    t.notMatch(one.machine.ip('link show dev lan0'), /master/, 'the site link is free again')
    t.notOk(lans[0].pings('192.168.50.2'))
    t.ok(blues[0].pings('192.168.60.2'), 'the other network stays')
    await lab.writeFabric([...wanFabric])
    for (const gateway of [one, two, three]) {
      await until(
        `${gateway.name} has none`,
        () => !linkNames(gateway).some((name) => /^ls-(br|vx)/.test(name)),
      )
    }
    t.ok(sites[0].host.pings('10.2.0.10'), 'and so does the routed one')
    t.equal((await one.untilUp(2)).failures.length, 0)
  })

  for (const gateway of [one, two, three]) t.equal(await gateway.stop(), 0, `${gateway.name} stops`)
})

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; i < 150; i++) {
    if (holds()) return
    await pause(100)
  }
  throw new Error(`never: ${what}`)
}

function macOf(machine: Machine, link: string): string {
  return machine.run('cat', `/sys/class/net/${link}/address`).trim()
}

function overlayOf({ machine }: Gateway): string {
  return /inet (100\.127\.\d+\.\d+)/.exec(machine.ip('-4 address show dev ls-wg0'))?.[1] ?? ''
}

function linkNames({ machine }: Gateway): readonly string[] {
  return machine.run('ls', '/sys/class/net').trim().split(/\s+/)
}
