/**
 * Three sites talk: whole agents, real kernel objects, traffic between hosts.
 *
 *   host-a ── site-a: gw-a1, gw-a2 ─┐
 *   host-b ── site-b: gw-b ─────────┼── underlay wan (192.0.2.0/24, 2001:db8::/64)
 *   host-c ── site-c: gw-c (v6) ────┘
 */
import t from 'tap'
import { isolated } from '../support/isolate.ts'
import { Lab } from '../support/lab.ts'

await isolated(import.meta.url, async (directory) => {
  const lab = new Lab(directory)
  lab.underlay('wan')
  const endpoint = (address: string): string[] => [`endpoints: [ { underlay: wan, address: "${address}" } ]`]
  const wan = (...addresses: string[]) => ({ wan0: { underlay: 'wan', addresses } })
  const a1 = await lab.gateway('gw-a1', {
    site: 'site-a',
    underlays: wan('192.0.2.1/24', '2001:db8::1/64'),
    siteAddresses: ['10.1.0.1/24', 'fd00:1::1/64'],
    prefixes: ['10.1.0.0/16', 'fd00:1::/48'],
    config: [
      'endpoints: [ { underlay: wan, address: 192.0.2.1 }, { underlay: wan, address: "2001:db8::1" } ]',
    ],
  })
  const a2 = await lab.gateway('gw-a2', {
    site: 'site-a',
    underlays: wan('192.0.2.2/24'),
    siteAddresses: ['10.1.0.2/24', 'fd00:1::2/64'],
    prefixes: ['10.1.0.0/16', 'fd00:1::/48'],
    config: endpoint('192.0.2.2'),
  })
  const b = await lab.gateway('gw-b', {
    site: 'site-b',
    underlays: wan('192.0.2.3/24', '2001:db8::3/64'),
    siteAddresses: ['10.2.0.1/24', 'fd00:2::1/64'],
    prefixes: ['10.2.0.0/16', 'fd00:2::/48'],
    config: [
      'endpoints: [ { underlay: wan, address: 192.0.2.3 }, { underlay: wan, address: "2001:db8::3" } ]',
    ],
  })
  const c = await lab.gateway('gw-c', {
    site: 'site-c',
    underlays: wan('2001:db8::4/64'),
    siteAddresses: ['10.3.0.1/24', 'fd00:3::1/64'],
    prefixes: ['10.3.0.0/16', 'fd00:3::/48'],
    config: endpoint('2001:db8::4'),
  })
  lab.writeFabric([
    'overlay: { ipv4: 100.127.0.0/16, ipv6: "fd4c:53aa:bb00::/48" }',
    'underlays: [ { name: wan } ]',
  ])
  const hostA = await lab.host(
    'host-a',
    'site-a',
    ['10.1.0.10/24', 'fd00:1::10/64'],
    ['10.1.0.1', 'fd00:1::1'],
  )
  const hostB = await lab.host(
    'host-b',
    'site-b',
    ['10.2.0.10/24', 'fd00:2::10/64'],
    ['10.2.0.1', 'fd00:2::1'],
  )
  const hostC = await lab.host(
    'host-c',
    'site-c',
    ['10.3.0.10/24', 'fd00:3::10/64'],
    ['10.3.0.1', 'fd00:3::1'],
  )
  await lab.enrol()

  await t.test('every tunnel comes up, and those without a path say why', async (t) => {
    await a1.untilUp(3)
    await b.untilUp(3)
    const status = await c.untilUp(2)
    t.match(
      status.notes.find(({ kind, object }) => kind === 'no-path' && object.includes('gw-a2'))?.reason,
      /wan/,
      'gw-c and gw-a2 share no family',
    )
  })

  await t.test('hosts reach each other over IPv4 and IPv6, over an IPv4 and an IPv6 underlay', (t) => {
    for (const [host, addresses] of [
      [hostA, ['10.2.0.10', 'fd00:2::10', '10.3.0.10', 'fd00:3::10']],
      [hostB, ['10.1.0.10', 'fd00:1::10', '10.3.0.10', 'fd00:3::10']],
      [hostC, ['10.1.0.10', 'fd00:1::10', '10.2.0.10', 'fd00:2::10']],
    ] as const) {
      for (const address of addresses) t.ok(host.pings(address), `${host.name} to ${address}`)
    }
    t.end()
  })

  await t.test('a packet of the route MTU passes, fragmented nowhere inside', (t) => {
    // 1440 = 1500 - 60 of WireGuard over IPv4; the host learns it from its gateway.
    t.ok(hostA.attempt('ping', '-c', '1', '-W', '1', '-M', 'do', '-s', '1392', '10.2.0.10').status === 0)
    t.end()
  })

  await t.test('both gateways of a site carry flows of the other site', (t) => {
    const routes = b.machine.ip('nexthop')
    t.match(routes, /group [0-9]+\/[0-9]+/, 'a group of two')
    const before = [0, 1].map((plane) => b.machine.ip(`-s link show dev ls-wg${plane}`))
    for (let flow = 0; flow < 64; flow++) {
      b.machine.attempt('bash', '-c', `echo > /dev/udp/10.1.0.10/${2000 + flow}`)
    }
    const after = [0, 1].map((plane) => b.machine.ip(`-s link show dev ls-wg${plane}`))
    for (const plane of [0, 1]) t.not(after[plane], before[plane], `ls-wg${plane} carried some`)
    t.end()
  })

  await t.test('traceroute shows the path', (t) => {
    const path = hostB.run('traceroute', '-n', '-q', '1', '-w', '1', '-m', '5', '10.3.0.10')
    t.match(path, /10\.2\.0\.1[\s\S]*10\.3\.0\.1[\s\S]*10\.3\.0\.10/)
    t.end()
  })

  for (const gateway of [a1, a2, b, c]) t.equal(await gateway.stop(), 0, `${gateway.name} stops`)
  t.ok(hostB.pings('10.3.0.10'), 'a stopped agent leaves the data plane')
})
