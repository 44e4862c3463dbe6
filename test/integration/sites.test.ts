/**
 * Three sites talk: whole agents, real kernel objects, traffic between hosts.
 *
 *   host-a ── site-a: gw-a1, gw-a2 ──────┐
 *   host-b ── site-b: gw-b ──────────────┼── underlay wan (192.0.2.0/24, 2001:db8::/64)
 *   host-c ── site-c: gw-c (IPv6 only) ──┘
 */
import t from 'tap'
import { capture } from '../support/capture.ts'
import { isolated } from '../support/isolate.ts'
import { Lab, wanFabric } from '../support/lab.ts'
import type { Machine } from '../support/machine.ts'
import { Meter } from '../support/meter.ts'

await isolated(import.meta.url, async (directory) => {
  const lab = new Lab(directory)
  lab.underlay('wan')
  const gateway = (name: string, site: string, n: number, own: number, underlay: readonly string[]) =>
    lab.gateway(name, {
      site: `site-${site}`,
      underlays: {
        wan0: {
          underlay: 'wan',
          addresses: underlay.map((address) => `${address}/${address.includes(':') ? 64 : 24}`),
        },
      },
      siteAddresses: [`10.${n}.0.${own}/24`, `fd00:${n}::${own}/64`],
      prefixes: [`10.${n}.0.0/16`, `fd00:${n}::/48`],
      config: [
        `endpoints: [ ${underlay.map((address) => `{ underlay: wan, address: "${address}" }`).join(', ')} ]`,
      ],
    })
  const a1 = await gateway('gw-a1', 'a', 1, 1, ['192.0.2.1', '2001:db8::1'])
  const a2 = await gateway('gw-a2', 'a', 1, 2, ['192.0.2.2'])
  const b = await gateway('gw-b', 'b', 2, 1, ['192.0.2.3', '2001:db8::3'])
  const c = await gateway('gw-c', 'c', 3, 1, ['2001:db8::4'])
  await lab.writeFabric(wanFabric)
  const hostA = await lab.siteHost(1, 'a')
  const hostB = await lab.siteHost(2, 'b')
  const hostC = await lab.siteHost(3, 'c')
  await lab.enrol()

  await t.test('every tunnel comes up, and those without a path say why', async (t) => {
    await a1.untilUp(3)
    await b.untilUp(3)
    for (const [gateway, other] of [
      [c, 'gw-a2'],
      [a2, 'gw-c'],
    ] as const) {
      const { notes, peers } = await gateway.untilUp(2)
      const note = notes.find(({ kind, gateway }) => kind === 'no-path' && gateway === other)
      t.match(note?.reason, /no common family/, `${gateway.name} has no path to ${other}`)
      t.equal(peers.filter(({ gateway }) => gateway === other).length, 0, 'nor a peer for it')
    }
  })

  await t.test('hosts reach each other over IPv4 and IPv6, over an IPv4 and an IPv6 underlay', async (t) => {
    const addresses = { 'host-a': 1, 'host-b': 2, 'host-c': 3 }
    const outer = await capture(undefined, 'wan')
    for (const from of [hostA, hostB, hostC]) {
      for (const [name, n] of Object.entries(addresses)) {
        if (name === from.name) continue
        for (const to of [`10.${n}.0.10`, `fd00:${n}::10`]) t.ok(from.pings(to), `${from.name} to ${to}`)
      }
    }
    const seen = (await outer.stop()).filter(
      (line) => !/ARP|ICMP6, neighbor|router solicit|report v2/.test(line),
    )
    const sealed = seen.filter((line) => /[.](518[2-9][0-9]) > \S+[.](518[2-9][0-9]): UDP/.test(line))
    t.equal(
      seen.length - sealed.length,
      0,
      `nothing else is on the underlay: ${seen
        .filter((line) => !sealed.includes(line))
        .slice(0, 3)
        .join('\n')}`,
    )
    t.ok(
      sealed.some((line) => line.includes('2001:db8::4.518')),
      'IPv6 carries it to gw-c',
    )
    t.ok(
      sealed.some((line) => line.includes('192.0.2.1.518')),
      'IPv4 carries it to gw-a1, which lists both',
    )
    t.notOk(
      sealed.some((line) => line.includes('2001:db8::1.518') && line.includes('2001:db8::3.518')),
      'and not IPv6',
    )
  })

  await t.test('a packet of the route MTU passes whole, one larger than the tunnel is told the MTU', (t) => {
    for (const [from, to] of [
      [hostA, '10.2.0.10'],
      [hostA, 'fd00:2::10'],
      [hostB, '10.3.0.10'],
      [hostB, 'fd00:3::10'],
    ] as const) {
      const headers = to.includes(':') ? 48 : 28
      // 1420 = 1500 less WireGuard over IPv6, the least on any path here; 1440 over IPv4, the greatest.
      t.equal(whole(from, to, 1420 - headers).status, 0, `1420 bytes from ${from.name} to ${to}`)
      const larger = whole(from, to, 1441 - headers)
      t.not(larger.status, 0, 'not 1441')
      t.match(larger.stdout + larger.stderr, /mtu ?= ?14[24]0/, 'and the sender is told')
    }
    t.end()
  })

  await t.test('both gateways of a site carry flows of the other site', async (t) => {
    const groups = b.machine.ip('nexthop')
    t.match(groups, /group [0-9]+\/[0-9]+ .*resilient/, 'a group of two')
    const carried = (): readonly number[] =>
      [0, 1].map((plane) =>
        Number(b.machine.run('cat', `/sys/class/net/ls-wg${plane}/statistics/tx_packets`)),
      )
    for (const address of ['10.1.0.10', 'fd00:1::10']) {
      const before = carried()
      // 256 flows, 4 packets each or more: 64 buckets of a group of two.
      const meter = await Meter.start(hostB, hostA, address, { perSecond: 500, flows: 256 })
      await new Promise((resolve) => setTimeout(resolve, 2200))
      const count = await meter.stop()
      const after = carried()
      const [one = 0, two = 0] = after.map((value, plane) => value - (before[plane] ?? 0))
      t.ok(count.sent >= 256, `${count.sent} packets of 256 flows to ${address}`)
      t.equal(count.lost, 0, 'none is lost')
      t.ok(one + two >= count.sent, 'all of them by the two devices')
      t.ok(one > count.sent / 4 && two > count.sent / 4, `spread: ${one} and ${two}`)
    }
  })

  await t.test('traceroute shows the path', (t) => {
    const trace = (to: string) => hostB.run('traceroute', '-n', '-q', '1', '-w', '2', '-m', '5', to)
    t.match(trace('10.3.0.10'), /10\.2\.0\.1 [\s\S]*10\.3\.0\.1 [\s\S]*10\.3\.0\.10 /)
    t.match(trace('fd00:3::10'), /fd00:2::1 [\s\S]*fd00:3::1 [\s\S]*fd00:3::10 /)
    t.end()
  })

  for (const gateway of [a1, a2, b, c]) t.equal(await gateway.stop(), 0, `${gateway.name} stops`)
  t.ok(hostB.pings('10.3.0.10'), 'a stopped agent leaves the data plane')
})

/** One echo request with the don't-fragment bit. */
function whole(from: Machine, to: string, bytes: number) {
  return from.attempt('ping', '-c', '1', '-W', '2', '-M', 'do', '-s', String(bytes), to)
}
