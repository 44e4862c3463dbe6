/**
 * Underlays: what carries the outer packets, and how the agent follows it.
 *
 *   gw-l ── access-l (10.9.1.0/24) ─┐
 *   gw-r ── access-r (10.9.2.0/24) ─┼── routers r1, r2: the internet
 *   gw-n ── access-n (192.168.77.0/24), NAT on r1
 *   gw-l, gw-r ── dx (172.31.0.0/24)
 *
 * gw-r advertises 10.9.0.0/16: every endpoint on the internet lies inside a prefix of the overlay.
 */
import t from 'tap'
import { setTimeout as pause } from 'node:timers/promises'
import type { Gateway } from '../support/gateway.ts'
import { isolated } from '../support/isolate.ts'
import { Lab, rareProbes } from '../support/lab.ts'
import type { Machine } from '../support/machine.ts'

const fabric = (...prefer: readonly string[]): readonly string[] => [
  'overlay: { ipv4: 100.127.0.0/16, ipv6: "fd4c:53aa:bb00::/48" }',
  'underlays: [ { name: internet }, { name: dx } ]',
  `prefer: [ ${prefer.join(', ')} ]`,
  // Once a path to the holder of 10.9.0.0/16 counts as down, rp_filter takes what comes from the endpoints in there.
  rareProbes,
]

await isolated(import.meta.url, async (directory) => {
  const lab = new Lab(directory)
  for (const bridge of ['access-l', 'access-r', 'access-n', 'dx']) lab.underlay(bridge)
  const routers = [await router(lab, 'r1', 1), await router(lab, 'r2', 3)] as const
  lab.plug(routers[0], 'n', 'access-n')
  routers[0].ip('address add 192.168.77.1/24 dev n')
  routers[0].run('nft', 'add', 'table', 'ip', 'nat')
  routers[0].run('nft', 'add chain ip nat out { type nat hook postrouting priority 100 ; }')
  routers[0].run('nft', 'add rule ip nat out ip saddr 192.168.77.0/24 masquerade')

  const left = await lab.gateway('gw-l', {
    site: 'site-l',
    underlays: {
      inet0: { underlay: 'access-l', addresses: ['10.9.1.2/24'] },
      dx0: { underlay: 'dx', addresses: ['172.31.0.1/24'] },
    },
    via: '10.9.1.1',
    siteAddresses: ['10.1.0.1/24'],
    prefixes: ['10.1.0.0/16'],
    config: [
      'endpoints: [ { underlay: internet, address: 10.9.1.2 }, { underlay: dx, address: 172.31.0.1 } ]',
    ],
  })
  const right = await lab.gateway('gw-r', {
    site: 'site-r',
    underlays: {
      inet0: { underlay: 'access-r', addresses: ['10.9.2.2/24'] },
      dx0: { underlay: 'dx', addresses: ['172.31.0.2/24'] },
    },
    via: '10.9.2.1',
    siteAddresses: ['10.2.0.1/24'],
    prefixes: ['10.2.0.0/16', '10.9.0.0/16'],
    config: [
      'endpoints: [ { underlay: internet, address: 10.9.2.2 }, { underlay: dx, address: 172.31.0.2 } ]',
    ],
  })
  const natted = await lab.gateway('gw-n', {
    site: 'site-n',
    underlays: { inet0: { underlay: 'access-n', addresses: ['192.168.77.2/24'] } },
    via: '192.168.77.1',
    siteAddresses: ['10.3.0.1/24'],
    prefixes: ['10.3.0.0/16'],
    config: ['endpoints: [ { underlay: internet } ]'],
  })
  await lab.writeFabric(fabric('internet', 'dx'))
  const host = (site: string, n: number): Promise<Machine> =>
    lab.host(`host-${site}`, `site-${site}`, [`10.${n}.0.10/24`], [`10.${n}.0.1`])
  const [hostL, hostR, hostN] = [await host('l', 1), await host('r', 2), await host('n', 3)]
  await lab.enrol()

  await t.test('a gateway behind NAT is reached because it calls', async (t) => {
    await natted.untilUp(2)
    await left.untilUp(3)
    await right.untilUp(3)
    const { peers } = await left.untilUp(3)
    const peer = peers.find(({ gateway }) => gateway === 'gw-n')
    t.match(peer?.endpoint, /^10\.9\.1\.1:/, "its endpoint is its router's, learned")
    t.ok(hostL.pings('10.3.0.10'), 'from the site that was called')
    t.ok(hostN.pings('10.1.0.10'), 'and back')
    t.ok(hostR.pings('10.3.0.10'))
  })

  await t.test('fault 36: an endpoint inside an advertised prefix does not loop', (t) => {
    t.match(
      left.machine.ip('route show table 19539 10.9.0.0/16'),
      /10\.9\.0\.0\/16/,
      'it is routed into the overlay',
    )
    t.match(left.machine.ip('route get 10.9.2.2'), /dev ls-wg0/, 'for everybody')
    t.match(left.machine.ip('route get 10.9.2.2 mark 0x4c5300'), /dev inet0/, 'but not for WireGuard')
    t.ok(hostL.pings('10.2.0.10'), 'the tunnel carries')
    t.ok(hostN.pings('10.2.0.10'), 'that of the gateway behind NAT too')
    t.ok(hostL.pings('10.9.2.2'), 'and the endpoint itself is reached through it')
    const before = bytesOut(left, 'inet0')
    t.ok(hostL.pings('10.2.0.10', 1000))
    t.ok(bytesOut(left, 'inet0') - before < 20_000, 'a packet goes out once')
    t.end()
  })

  await t.test('a static 10.0.0.0/8 in main does not shadow a remote prefix', (t) => {
    left.machine.ip('route add 10.0.0.0/8 via 10.1.0.77 dev site0 onlink')
    t.match(left.machine.ip('route get 10.77.0.1'), /dev site0/, 'what nobody advertises goes there')
    t.match(left.machine.ip('route get 10.2.0.10'), /dev ls-wg0/, 'the remote prefix does not')
    t.ok(hostL.pings('10.2.0.10'))
    t.ok(hostR.pings('10.1.0.10'), 'nor is the own one lost')
    left.machine.ip('route del 10.0.0.0/8')
    t.end()
  })

  await t.test('two underlays have rules and tables of their own', (t) => {
    const expected = [
      { priority: 19529, fwmark: '0x4c5300', table: '19540' },
      { priority: 19529, fwmark: '0x4c5301', table: '19541' },
      { priority: 19530, fwmark: '0x4c5300', fwmask: '0xffffff00', action: 'blackhole' },
      { priority: 19531, table: '19539' },
    ]
    for (const family of ['-4', '-6']) {
      const all = JSON.parse(left.machine.run('ip', family, '-json', 'rule', 'show')) as Record<
        string,
        unknown
      >[]
      const ours = all.filter(({ priority }) => Number(priority) >= 19529 && Number(priority) <= 19531)
      t.match(ours, expected, `rules, ${family}`)
      t.equal(ours.length, expected.length)
    }
    t.match(
      left.machine.ip('route show table 19540'),
      /^default via 10\.9\.1\.1 dev inet0 .*\n10\.9\.1\.0\/24 dev inet0 .*\nblackhole default .*metric 2147483647 ?$|^default via[\s\S]*blackhole default[\s\S]*10\.9\.1\.0\/24 dev inet0/m,
      'the routes of its link, then nowhere',
    )
    const dx = left.machine.ip('route show table 19541')
    t.match(dx, /172\.31\.0\.0\/24 dev dx0/)
    t.match(dx, /blackhole default/)
    t.notMatch(dx, /inet0|via/)
    t.match(
      natted.machine.ip('rule show priority 19529'),
      /lookup main/,
      'the only underlay of a gateway is bound to no link',
    )
    t.end()
  })

  await t.test('the preferred underlay carries', async (t) => {
    t.match(left.machine.ip('route get 10.2.0.10'), /dev ls-wg0/)
    t.equal(await carrier(hostL, '10.2.0.10', left), 'inet0')
    await lab.writeFabric(fabric('dx', 'internet'))
    for (const gateway of [left, right]) {
      const to = gateway === left ? '10.2.0.10' : '10.1.0.10'
      await until('the group moves', () => gateway.machine.ip(`route get ${to}`).includes('dev ls-wg8'))
    }
    t.equal(await carrier(hostL, '10.2.0.10', left), 'dx0', 'after the document said otherwise')
    t.ok(hostL.pings('10.3.0.10'), 'who has no dx is reached as before')
    await lab.writeFabric(fabric('internet', 'dx'))
    await until('and back', () => left.machine.ip('route get 10.2.0.10').includes('dev ls-wg0'))
    await until('at both ends', () => right.machine.ip('route get 10.1.0.10').includes('dev ls-wg0'))
  })

  await t.test('a changed default route is followed', async (t) => {
    left.machine.ip('route replace default via 10.9.1.3')
    await until('the table of the underlay has it', () =>
      left.machine.ip('route show table 19540').includes('default via 10.9.1.3'),
    )
    t.notMatch(left.machine.ip('route show table 19540'), /10\.9\.1\.1/, 'and not the old one')
    routers[0].ip('link set dev l down')
    right.machine.ip('route replace default via 10.9.2.3')
    await until('the tunnel carries over the other router', () => hostL.pings('10.2.0.10'))
    t.equal(await carrier(hostL, '10.2.0.10', left), 'inet0')
    routers[0].ip('link set dev l up')
  })

  await t.test('an underlay address that goes and comes is followed', async (t) => {
    left.machine.ip('address del 172.31.0.1/24 dev dx0')
    await until('the underlay is bound to nothing', () => !left.machine.ip('rule show').includes('19541'))
    left.machine.ip('address add 172.31.0.1/24 dev dx0')
    await until('it is bound again', () => left.machine.ip('rule show').includes('19541'))
    await until('with its routes', () =>
      left.machine.attempt('ip', 'route', 'show', 'table', '19541').stdout.includes('172.31.0.0/24 dev dx0'),
    )
    t.ok(hostL.pings('10.2.0.10'), 'the other underlay was not touched')
    const before = (await left.untilUp(3)).failures
    t.strictSame(before, [])
  })

  for (const gateway of [left, right, natted]) t.equal(await gateway.stop(), 0, `${gateway.name} stops`)
})

/** Joins the accesses of gw-l and gw-r as address `last`. */
async function router(lab: Lab, name: string, last: number): Promise<Machine> {
  const machine = await lab.hostOn(name, 'access-l', [])
  machine.ip('link set dev eth0 down')
  machine.ip('link set dev eth0 name l')
  machine.ip('link set dev l up')
  lab.plug(machine, 'r', 'access-r')
  machine.ip(`address add 10.9.1.${last}/24 dev l`)
  machine.ip(`address add 10.9.2.${last}/24 dev r`)
  machine.run('sysctl', '-qw', 'net.ipv4.ip_forward=1')
  return machine
}

function bytesOut({ machine }: Gateway, link: string): number {
  return Number(machine.run('cat', `/sys/class/net/${link}/statistics/tx_bytes`))
}

/** Which underlay link carries 20 packets of 1000 bytes. */
async function carrier(from: Machine, to: string, gateway: Gateway): Promise<string | undefined> {
  const links = ['inet0', 'dx0']
  const before = links.map((link) => bytesOut(gateway, link))
  from.attempt('ping', '-q', '-c', '20', '-i', '0.02', '-s', '972', to)
  await pause(50)
  const heavy = links.filter((link, i) => bytesOut(gateway, link) - (before[i] ?? 0) > 15_000)
  return heavy.join(' and ')
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; i < 150; i++) {
    if (holds()) return
    await pause(100)
  }
  throw new Error(`never: ${what}`)
}
