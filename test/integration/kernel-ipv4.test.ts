/** A host with IPv6 disabled: facts say so, and IPv4 nexthops carry the routes. */
import { writeFileSync } from 'node:fs'
import t from 'tap'
import { diff } from '../../agent/diff/diff.ts'
import { openLinux } from '../../agent/kernel/linux.ts'
import { linkGroup, nexthopId, overlayTable, rulePriority } from '../../agent/model/kernel-number.ts'
import type { KernelObject } from '../../agent/model/kernel-object.ts'
import { address, prefix } from '../../agent/model/prefix.ts'
import { ip, run } from '../support/command.ts'
import { isolated } from '../support/isolate.ts'

const { signal } = new AbortController()

const wanted: readonly KernelObject[] = [
  { kind: 'link', name: 'ls-br1', type: 'bridge', mtu: 1420, up: true, group: linkGroup },
  { kind: 'address', link: 'ls-br1', address: '100.127.0.1/32' },
  { kind: 'nexthop', id: nexthopId.device4(0), family: 4, device: 'ls-br1' },
  { kind: 'nexthop', id: nexthopId.blackhole4, family: 4, blackhole: true },
  { kind: 'group', id: nexthopId.firstGroup, members: [{ id: nexthopId.device4(0), weight: 1 }] },
  { kind: 'group', id: nexthopId.firstGroup + 1, members: [{ id: nexthopId.blackhole4, weight: 1 }] },
  {
    kind: 'route',
    table: overlayTable,
    prefix: prefix('10.2.0.0/16'),
    type: 'unicast',
    nexthop: nexthopId.firstGroup,
    mtu: 1360,
    src: address('100.127.0.1'),
  },
  {
    kind: 'route',
    table: overlayTable,
    prefix: prefix('10.3.0.0/16'),
    type: 'unicast',
    nexthop: nexthopId.firstGroup + 1,
  },
  { kind: 'rule', family: 4, priority: rulePriority.overlay, action: 'lookup', table: overlayTable },
]

t.setTimeout(300_000) // the emulated guest is slow

await isolated(import.meta.url, async (stateDirectory) => {
  for (const each of ['all', 'default']) writeFileSync(`/proc/sys/net/ipv6/conf/${each}/disable_ipv6`, '1')
  ip(`link add name under0 type veth peer name under0p
    link set dev under0 up
    link set dev under0p up
    address add 192.0.2.2/24 dev under0`)
  const kernel = await openLinux({ stateDirectory, privateKey: () => '' })
  const observed = async (): Promise<KernelObject[]> => {
    const found: KernelObject[] = []
    for await (const part of kernel.observe({ sysctls: [] }, signal)) found.push(...part)
    return found
  }
  const facts = await kernel.facts(['under0'], signal)
  t.equal(facts.ipv6, false)
  t.same(facts.routes, [{ prefix: '192.0.2.0/24', link: 'under0', metric: 0 }])
  for (const desired of [wanted, []]) {
    const { ops } = diff(desired, await observed(), { nowSeconds: 0 })
    t.ok(ops.length > 0)
    const results = await kernel.apply(ops, signal)
    t.same(
      results.flatMap(({ error }) => (error === undefined ? [] : [error])),
      [],
    )
    t.same(diff(desired, await observed(), { nowSeconds: 0 }).ops, [])
    if (desired === wanted) t.match(run('ip', 'route', 'get', '10.2.3.4'), /dev ls-br1 .*src 100\.127\.0\.1/)
  }
  await kernel.close()
})
