/** Events: what others change is told, what we change ourselves or what concerns nobody is not. Facts of the host beside it. */
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { openLinux } from '../../agent/kernel/linux.ts'
import type { Change, Kernel } from '../../agent/kernel/port.ts'
import { linkGroup, nexthopId, overlayTable, rulePriority } from '../../agent/model/kernel-number.ts'
import type { KernelObject, Route } from '../../agent/model/kernel-object.ts'
import { address, prefix } from '../../agent/model/prefix.ts'
import { ip, run } from '../support/command.ts'
import { isolated } from '../support/isolate.ts'

const ending = new AbortController()
const { signal } = ending

const links: readonly KernelObject[] = [
  { kind: 'link', name: 'ls-br1', type: 'bridge', mtu: 1420, up: true, group: linkGroup },
  {
    kind: 'link',
    name: 'ls-vx2',
    type: 'vxlan',
    mtu: 1350,
    up: true,
    group: linkGroup,
    vxlan: { vni: 2, local: address('100.127.0.1'), port: 4789, learning: true },
  },
  { kind: 'address', link: 'ls-br1', address: '100.127.0.1/32' },
  { kind: 'address', link: 'ls-br1', address: 'fd4c::1/128' },
  { kind: 'address', link: 'ls-br1', address: 'fe80::1/64' },
  { kind: 'sysctl', name: 'net/ipv4/conf/ls-br1/forwarding', value: '1' },
  { kind: 'sysctl', name: 'net/ipv4/conf/ls-br1/rp_filter', value: '2' },
  { kind: 'fdb', link: 'ls-vx2', mac: '00:00:00:00:00:00', dst: address('100.127.0.2') },
  { kind: 'fdb', link: 'ls-vx2', mac: '02:4c:53:00:00:02', dst: address('100.127.0.2') },
]
const group = (weight: number): KernelObject => ({
  kind: 'group',
  id: nexthopId.firstGroup,
  members: [{ id: nexthopId.device(0), weight }],
})
const rest: readonly KernelObject[] = [
  { kind: 'nexthop', id: nexthopId.device(0), family: 6, device: 'ls-br1' },
  group(1),
  { kind: 'rule', family: 4, priority: rulePriority.overlay, action: 'lookup', table: overlayTable },
  { kind: 'rule', family: 6, priority: rulePriority.overlay, action: 'lookup', table: overlayTable },
]
const routes = Array.from({ length: 8_000 }, (_, i): Route => ({
  kind: 'route',
  table: overlayTable,
  prefix: prefix(`10.${i >> 8}.${i & 255}.0/24`),
  type: 'unicast',
  nexthop: nexthopId.firstGroup,
}))

const heard: Change[] = []

/** The hints that came since the last call, after a pause long enough for all of them. */
async function hints(): Promise<Change[]> {
  await sleep(200)
  return [...new Set(heard.splice(0))].sort()
}

async function look(kernel: Kernel): Promise<KernelObject[]> {
  const sysctls = links.flatMap((object) => (object.kind === 'sysctl' ? [object.name] : []))
  const found: KernelObject[] = []
  for await (const part of kernel.observe({ sysctls }, signal)) found.push(...part)
  return found
}

async function done(kernel: Kernel, verb: 'add' | 'remove', objects: readonly KernelObject[]): Promise<void> {
  const results = await kernel.apply(
    objects.map((object) => ({ verb, object })),
    signal,
  )
  const errors = results.flatMap(({ error }) => (error === undefined ? [] : [error]))
  t.same(errors, [])
}

t.setTimeout(300_000) // the emulated guest is slow

await isolated(import.meta.url, async (stateDirectory) => {
  ip(`link add name under0 type veth peer name under0p
    link add name other0 type veth peer name other0p
    link set dev under0p up
    link set dev other0p up
    link set dev under0 up
    link set dev other0 up
    address add 192.0.2.2/24 dev under0
    address add 2001:db8::2/64 dev under0 nodad
    address add 198.51.100.2/24 dev other0
    route add default via 192.0.2.1
    route add 203.0.113.0/24 via 192.0.2.9 metric 50
    -6 route add default via 2001:db8::1`)
  await sleep(2500) // link-local addresses pass duplicate detection
  const kernel = await openLinux({ stateDirectory, privateKey: () => '' })

  await t.test('facts', async (t) => {
    const facts = await kernel.facts(['under0', 'absent0'], signal)
    t.equal(facts.ipv6, true)
    t.same(
      facts.links.map(({ name, up, mtu }) => `${name} ${up} ${mtu}`),
      ['other0 true 1500', 'other0p true 1500', 'under0 true 1500', 'under0p true 1500'],
    )
    const under = facts.links.find(({ name }) => name === 'under0')
    t.same(under?.addresses, [
      { address: '192.0.2.2', length: 24 },
      { address: '2001:db8::2', length: 64 },
    ])
    t.equal(under?.defaultRoute, true)
    t.equal(under?.acceptRa, 1)
    t.equal(facts.links.find(({ name }) => name === 'other0')?.defaultRoute, undefined)
    t.same(
      facts.routes.filter(({ prefix }) => !prefix.startsWith('fe80') && !prefix.startsWith('ff')),
      [
        { prefix: '0.0.0.0/0', link: 'under0', via: '192.0.2.1', metric: 0 },
        { prefix: '192.0.2.0/24', link: 'under0', metric: 0 },
        { prefix: '203.0.113.0/24', link: 'under0', via: '192.0.2.9', metric: 50 },
        { prefix: '::/0', link: 'under0', via: '2001:db8::1', metric: 1024 },
        { prefix: '2001:db8::/64', link: 'under0', metric: 256 },
      ].sort((a, b) => order(a.prefix) - order(b.prefix)),
    )
  })

  const listening = (async () => {
    for await (const change of kernel.changes(signal)) heard.push(change)
  })()
  await look(kernel)
  await hints()

  await t.test('our own doing is no news', async (t) => {
    await done(kernel, 'add', [...links, ...rest, ...routes])
    t.same(await hints(), [])
    const change = { verb: 'replace', before: group(1), object: group(2) } as const
    t.same((await kernel.apply([change], signal))[0]?.error, undefined)
    t.same(await hints(), [], 'a replaced group tells of each of its 8,000 routes anew')
  })

  await t.test('what others do to ours', async (t) => {
    const cases: readonly (readonly [string, string, Change])[] = [
      ['a route goes', `route del 10.1.1.0/24 table ${overlayTable}`, 'routes'],
      ['a route comes', `route add 10.250.0.0/16 dev under0 table ${overlayTable}`, 'routes'],
      ['a route is replaced', `route replace 10.1.2.0/24 dev under0 table ${overlayTable}`, 'routes'],
      ['a rule goes', `rule del priority ${rulePriority.overlay}`, 'rules'],
      ['a rule of IPv6 goes', `-6 rule del priority ${rulePriority.overlay}`, 'rules'],
      ['an address goes', 'address del 100.127.0.1/32 dev ls-br1', 'objects'],
      ['an address of IPv6 goes', 'address del fd4c::1/128 dev ls-br1', 'objects'],
      ['an address comes', 'address add 10.66.0.1/24 dev ls-br1', 'objects'],
      [
        'a group is changed',
        `nexthop replace id ${nexthopId.firstGroup} group ${nexthopId.device(0)} type resilient buckets 64 proto kernel`,
        'routes',
      ],
      ['a nexthop goes', `nexthop del id ${nexthopId.device(0)}`, 'routes'],
      ['a link goes down', 'link set dev ls-br1 down', 'objects'],
      ['a link gets another MTU', 'link set dev ls-vx2 mtu 1300', 'objects'],
      ['a link goes', 'link del dev ls-vx2', 'objects'],
    ]
    for (const [name, command, least] of cases) {
      run('ip', ...command.split(' '))
      // Its events may come in two parts.
      t.equal((await hints()).at(-1), least, name)
      await look(kernel)
    }
    t.same(await hints(), [], 'looking causes no hint')
  })

  await t.test('forwarding, the FDB and nft', async (t) => {
    await done(kernel, 'add', links.slice(1, 2))
    await done(kernel, 'add', links.slice(7))
    await look(kernel)
    await hints()
    writeFileSync('/proc/sys/net/ipv4/conf/ls-br1/forwarding', '0')
    t.same(await hints(), ['objects'], 'forwarding')
    await look(kernel)
    run('bridge', 'fdb', 'del', '02:4c:53:00:00:02', 'dev', 'ls-vx2', 'dst', '100.127.0.2')
    t.same(await hints(), ['objects'], 'FDB')
    await look(kernel)
    run('nft', 'add', 'table', 'inet', 'somebody')
    t.same(await hints(), ['objects'], 'nft')
    await look(kernel)
  })

  await t.test('what others do to the host', async (t) => {
    const cases: readonly (readonly [string, string, readonly Change[]])[] = [
      ['an address of the underlay', 'address add 192.0.2.77/24 dev under0', ['facts']],
      ['a route over a bound link', 'route add 203.0.113.128/25 via 192.0.2.3', ['facts']],
      ['the default route', 'route replace default via 198.51.100.1', ['facts']],
      ['a link of the host', 'link set dev other0 mtu 1400', ['facts', 'objects']],
    ]
    for (const [name, command, expected] of cases) {
      run('ip', ...command.split(' '))
      t.same(await hints(), expected, name)
      await kernel.facts(['under0'], signal)
      await look(kernel)
    }
    const facts = await kernel.facts(['under0'], signal)
    t.equal(facts.links.find(({ name }) => name === 'other0')?.defaultRoute, true)
    t.same(await hints(), [], 'gathering facts causes no hint')
  })

  await t.test('what concerns nobody', async (t) => {
    const file = path.join(stateDirectory, 'batch')
    const lines = Array.from(
      { length: 10_000 },
      (_, i) => `172.${16 + (i >> 12)}.${(i >> 4) & 255}.${(i & 15) << 4}/28`,
    )
    const batch = lines.flatMap((each) => [
      `route add ${each} dev other0`,
      `route add ${each} dev other0 table 100`,
    ])
    writeFileSync(file, `${batch.join('\n')}\n`)
    const before = process.cpuUsage()
    const started = performance.now()
    run('ip', '-batch', file)
    const elapsed = performance.now() - started
    t.same(await hints(), [], '20,000 foreign routes')
    const { user, system } = process.cpuUsage(before)
    const share = (user + system) / 1000 / elapsed
    t.ok(share < 0.3, `${share.toFixed(2)} of the time that ip took to make them`)
    ip(`neigh add 192.0.2.50 lladdr 02:00:00:00:00:01 dev under0
      neigh del 192.0.2.50 dev under0
      nexthop add id 7 dev under0
      rule add priority 100 lookup 100
      address change 192.0.2.77/24 dev under0 valid_lft 1000 preferred_lft 1000`)
    t.same(await hints(), [])
  })

  await t.test('an aborted watch ends', async (t) => {
    ending.abort()
    await listening
    t.pass()
  })
  await kernel.close()
  t.equal(readFileSync('/proc/sys/net/ipv6/conf/all/forwarding', 'utf8'), '0\n')
})

/** IPv4 before IPv6, shorter first: the order in which the kernel lists these. */
function order(text: string): number {
  return (
    (text.includes(':') ? 1000 : 0) +
    ['0.0.0.0/0', '192.0.2.0/24', '203.0.113.0/24', '2001:db8::/64', '::/0'].indexOf(text)
  )
}
