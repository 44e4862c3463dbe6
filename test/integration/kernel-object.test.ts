/** The Linux driver, object by object: added, seen as desired, changed, removed; foreign ones stay; failures say why. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { diff } from '../../agent/diff/diff.ts'
import { openLinux } from '../../agent/kernel/linux.ts'
import type { Kernel } from '../../agent/kernel/port.ts'
import {
  linkGroup,
  nexthopId,
  overlayTable,
  rulePriority,
  underlayMark,
} from '../../agent/model/kernel-number.ts'
import { keyOf } from '../../agent/model/kernel-object.ts'
import type { Kind, KernelObject, Link } from '../../agent/model/kernel-object.ts'
import type { Op } from '../../agent/model/op.ts'
import { address, prefix } from '../../agent/model/prefix.ts'
import { ip, run } from '../support/command.ts'
import { isolated } from '../support/isolate.ts'

const signal = new AbortController().signal
const kinds: ReadonlySet<Kind> = new Set<Kind>([
  'link',
  'port',
  'address',
  'fdb',
  'nexthop',
  'group',
  'route',
  'rule',
  'sysctl',
])

const bridge: Link = {
  kind: 'link',
  name: 'ls-br7001',
  type: 'bridge',
  mtu: 1400,
  up: true,
  group: linkGroup,
  alias: 'linkspan: network lan',
  mac: '02:4c:53:00:00:07',
}
const vxlan: Link = {
  kind: 'link',
  name: 'ls-vx7001',
  type: 'vxlan',
  mtu: 1350,
  up: true,
  group: linkGroup,
  alias: 'linkspan: network lan',
  mac: '02:4c:53:00:00:01',
  master: 'ls-br7001',
  vxlan: { vni: 7001, local: address('100.127.0.1'), port: 4789, learning: true },
}
/** Stands in for a WireGuard link, which this kernel has not. */
const carrier: Link = { kind: 'link', name: 'ls-br1', type: 'bridge', mtu: 1420, up: true, group: linkGroup }

const wanted: readonly KernelObject[] = [
  bridge,
  vxlan,
  carrier,
  { kind: 'sysctl', name: 'net/ipv4/conf/ls-br1/forwarding', value: '1' },
  { kind: 'sysctl', name: 'net/ipv6/conf/all/forwarding', value: '1' },
  { kind: 'address', link: 'ls-br1', address: '100.127.0.1/32' },
  { kind: 'address', link: 'ls-br1', address: 'fd4c:53aa:bb00::1/128' },
  { kind: 'address', link: 'ls-br1', address: 'fe80::1/64' },
  { kind: 'port', link: 'site0', master: 'ls-br7001' },
  { kind: 'fdb', link: 'ls-vx7001', mac: '00:00:00:00:00:00', dst: address('100.127.0.2') },
  { kind: 'fdb', link: 'ls-vx7001', mac: '00:00:00:00:00:00', dst: address('100.127.0.3') },
  { kind: 'fdb', link: 'ls-vx7001', mac: '02:4c:53:00:00:02', dst: address('100.127.0.2') },
  { kind: 'nexthop', id: nexthopId.device(0), family: 6, device: 'ls-br1' },
  { kind: 'nexthop', id: nexthopId.device(1), family: 6, device: 'ls-br7001' },
  { kind: 'nexthop', id: nexthopId.blackhole, family: 6, blackhole: true },
  {
    kind: 'group',
    id: nexthopId.firstGroup,
    members: [
      { id: nexthopId.device(0), weight: 1 },
      { id: nexthopId.device(1), weight: 3 },
    ],
  },
  { kind: 'group', id: nexthopId.firstGroup + 1, members: [{ id: nexthopId.blackhole, weight: 1 }] },
  {
    kind: 'route',
    table: overlayTable,
    prefix: prefix('10.2.0.0/16'),
    type: 'unicast',
    nexthop: nexthopId.firstGroup,
    mtu: 1340,
    src: address('100.127.0.1'),
  },
  {
    kind: 'route',
    table: overlayTable,
    prefix: prefix('10.3.0.0/16'),
    type: 'unicast',
    nexthop: nexthopId.firstGroup + 1,
    mtu: 1340,
  },
  {
    kind: 'route',
    table: overlayTable,
    prefix: prefix('fd00:2::/48'),
    type: 'unicast',
    nexthop: nexthopId.firstGroup,
    mtu: 1340,
    src: address('fd4c:53aa:bb00::1'),
  },
  {
    kind: 'route',
    table: overlayTable,
    prefix: prefix('fd00:3::/48'),
    type: 'unicast',
    nexthop: nexthopId.firstGroup + 1,
    mtu: 1340,
  },
  { kind: 'route', table: overlayTable, prefix: prefix('10.1.0.0/16'), type: 'throw' },
  { kind: 'route', table: overlayTable, prefix: prefix('fd00:1::/48'), type: 'throw' },
  { kind: 'route', table: overlayTable, prefix: prefix('100.127.0.0/16'), type: 'unreachable' },
  { kind: 'route', table: overlayTable, prefix: prefix('fd4c:53aa:bb00::/48'), type: 'unreachable' },
  {
    kind: 'route',
    table: overlayTable + 1,
    prefix: prefix('0.0.0.0/0'),
    type: 'unicast',
    via: address('192.0.2.1'),
    link: 'site1',
  },
  {
    kind: 'route',
    table: overlayTable + 1,
    prefix: prefix('192.0.2.0/24'),
    type: 'unicast',
    link: 'site1',
    metric: 100,
  },
  {
    kind: 'route',
    table: overlayTable + 1,
    prefix: prefix('0.0.0.0/0'),
    type: 'blackhole',
    metric: 4294967295,
  },
  {
    kind: 'route',
    table: overlayTable + 1,
    prefix: prefix('::/0'),
    type: 'unicast',
    via: address('2001:db8::1'),
    link: 'site1',
  },
  { kind: 'route', table: overlayTable + 1, prefix: prefix('::/0'), type: 'blackhole', metric: 4294967295 },
  ...([4, 6] as const).flatMap((family): KernelObject[] => [
    {
      kind: 'rule',
      family,
      priority: rulePriority.underlay,
      fwmark: underlayMark(0),
      fwmask: 0xffffffff,
      action: 'lookup',
      table: 254,
    },
    {
      kind: 'rule',
      family,
      priority: rulePriority.underlay,
      fwmark: underlayMark(1),
      fwmask: 0xffffffff,
      action: 'lookup',
      table: 19541,
    },
    {
      kind: 'rule',
      family,
      priority: rulePriority.stop,
      fwmark: underlayMark(0),
      fwmask: 0xffffff00,
      action: 'blackhole',
    },
    { kind: 'rule', family, priority: rulePriority.overlay, action: 'lookup', table: overlayTable },
  ]),
]

const names = wanted.flatMap((object) => (object.kind === 'sysctl' ? [object.name] : []))

async function observed(kernel: Kernel): Promise<KernelObject[]> {
  const found: KernelObject[] = []
  for await (const part of kernel.observe({ sysctls: names, kinds }, signal)) found.push(...part)
  return found
}

/** Errors of ops; empty where all were done. */
async function errors(kernel: Kernel, ops: readonly Op[]): Promise<string[]> {
  const results = await kernel.apply(ops, signal)
  return results.flatMap(({ error }) =>
    error === undefined ? [] : [`${error.code} ${error.object}: ${error.reason}`],
  )
}

const difference = (desired: readonly KernelObject[], found: readonly KernelObject[]): readonly Op[] => {
  const { ops, conflicts } = diff(desired, found, { nowSeconds: 0 })
  t.same(conflicts, [])
  return ops
}

/** The host as others see it. */
function host(): string {
  const commands = [
    ['-details', 'link', 'show'],
    ['address', 'show'],
    ['-4', 'route', 'show', 'table', 'all'],
    ['-6', 'route', 'show', 'table', 'all'],
    ['nexthop', 'show'],
    ['-4', 'rule', 'show'],
    ['-6', 'rule', 'show'],
  ]
  return commands
    .map((words) => run('ip', ...words))
    .join('\n')
    .replace(/ (?:tx_timer|hello_timer|gc_timer|timer)\s+[\d.]+/g, '')
    .replace(/ (?:valid_lft|preferred_lft|expires) \S+/g, '')
}

t.setTimeout(300_000) // the emulated guest is slow

await isolated(import.meta.url, async (stateDirectory) => {
  ip(`link add name site0 type veth peer name site0p
    link add name site1 type veth peer name site1p
    link set dev site0 up
    link set dev site0p up
    link set dev site1 up
    link set dev site1p up
    address add 192.0.2.2/24 dev site1
    address add 2001:db8::2/64 dev site1 nodad
    route add 203.0.113.0/24 via 192.0.2.1
    nexthop add id 77 dev site1
    nexthop add id 78 group 77
    route add 198.51.100.0/24 nhid 78
    rule add priority 100 fwmark 7 lookup 100
    route add 198.51.100.0/24 dev site1 table 100
    link add name foreign0 type vxlan id 9 dstport 4790 local 192.0.2.2
    link set dev foreign0 up`)
  run('sysctl', '-q', '-w', 'net.ipv6.conf.site0.forwarding=1')
  // Link-local addresses pass duplicate detection first.
  await new Promise((resolve) => setTimeout(resolve, 2500))
  const before = host()
  const kernel = await openLinux({ stateDirectory, privateKey: () => '' })
  let found = await observed(kernel)

  await t.test('nothing of ours on a fresh host', (t) => {
    t.same(
      found.map(({ kind }) => kind).filter((kind) => kind !== 'sysctl'),
      [],
    )
    t.end()
  })

  await t.test('every kind is added and seen as desired', async (t) => {
    const ops = difference(wanted, found)
    t.same(
      ops.filter(({ verb }) => verb !== 'add').map(({ object }) => keyOf(object)),
      ['net/ipv6/conf/all/forwarding'],
    )
    t.same(await errors(kernel, ops), [])
    found = await observed(kernel)
    t.same(difference(wanted, found), [], 'no difference is left')
    t.match(
      run('ip', '-details', 'nexthop', 'show', 'id', String(nexthopId.firstGroup)),
      /type resilient buckets 64 idle_timer 10 unbalanced_timer 30 .*proto kernel/,
    )
    const wantedGroup = wanted.find((object) => object.kind === 'group')
    const ids = wantedGroup?.kind === 'group' ? wantedGroup.members.map(({ id }) => id) : []
    ip(`nexthop replace id ${nexthopId.firstGroup} group ${ids.join('/')} type resilient idle_timer 120`)
    const repair = difference(wanted, await observed(kernel))
    t.match(repair, [{ verb: 'replace', object: { kind: 'group' } }], 'another timer is seen')
    t.same(await errors(kernel, repair), [])
    t.same(difference(wanted, await observed(kernel)), [], 'and set again')
    t.match(run('ip', 'route', 'get', '10.2.3.4'), /src 100.127.0.1/)
    t.match(run('ip', '-details', 'link', 'show', 'dev', 'ls-vx7001'), /addrgenmode none/)
  })

  await t.test('changes are made in place', async (t) => {
    const ifindex = readFileSync('/sys/class/net/ls-vx7001/ifindex', 'utf8')
    const changed = wanted.map((object): KernelObject => {
      switch (object.kind) {
        case 'link':
          return { ...object, mtu: object.mtu - 8, alias: 'linkspan: another word' }
        case 'group':
          return { ...object, members: [{ id: nexthopId.device(1), weight: 2 }] }
        case 'route':
          if (object.nexthop === nexthopId.firstGroup)
            return { ...object, mtu: 1300, nexthop: nexthopId.firstGroup + 1 }
          return object.type === 'throw' ? { ...object, type: 'unreachable' } : object
        case 'fdb':
          return object.mac === '02:4c:53:00:00:02' ? { ...object, dst: address('100.127.0.9') } : object
        default:
          return object
      }
    })
    const ops = difference(changed, found)
    t.ok(ops.length > 10, `${ops.length} ops`)
    t.same(await errors(kernel, ops), [])
    found = await observed(kernel)
    t.same(difference(changed, found), [])
    t.equal(readFileSync('/sys/class/net/ls-vx7001/ifindex', 'utf8'), ifindex)
    t.same(await errors(kernel, difference(wanted, found)), [])
    found = await observed(kernel)
    t.same(difference(wanted, found), [])
  })

  await t.test('what is done already is done: the same ops again', async (t) => {
    const again = wanted.filter(({ kind }) => kind === 'address' || kind === 'fdb')
    t.same(
      await errors(
        kernel,
        again.map((object) => ({ verb: 'add', object })),
      ),
      [],
    )
    const gone = wanted
      .filter(({ kind }) => !['link', 'sysctl', 'port', 'nexthop', 'group'].includes(kind))
      .map((object): Op => ({ verb: 'remove', object }))
    t.same(await errors(kernel, gone), [])
    t.same(await errors(kernel, gone), [], 'removing what is not there')
    found = await observed(kernel)
    t.same(await errors(kernel, difference(wanted, found)), [])
  })

  await t.test('a failure stays alone and says why', async (t) => {
    const bad: KernelObject = {
      kind: 'route',
      table: overlayTable,
      prefix: prefix('10.99.0.0/16'),
      type: 'unicast',
      nexthop: nexthopId.firstGroup + 500,
    }
    const good: KernelObject = { ...bad, prefix: prefix('10.98.0.0/16'), nexthop: nexthopId.firstGroup }
    const taken: KernelObject = { ...good, prefix: prefix('10.2.0.0/16') }
    const nowhere: KernelObject = { kind: 'address', link: 'ls-wg9', address: '10.0.0.1/32' }
    const results = await errors(
      kernel,
      [bad, good, taken, nowhere].map((object) => ({ verb: 'add', object })),
    )
    t.match(results, [
      /^netlink .*10\.99\.0\.0\/16.*: EINVAL: Nexthop id does not exist/,
      /^conflict .*10\.2\.0\.0\/16.*: EEXIST/,
      /^netlink .*ls-wg9.*: ENODEV/,
    ])
    t.equal(results.length, 3)
    t.match(run('ip', 'route', 'show', 'table', String(overlayTable)), /10\.98\.0\.0\/16/)
    t.same(await errors(kernel, [{ verb: 'remove', object: good }]), [])
  })

  await t.test('what others put in our way is seen, and told from ours', async (t) => {
    ip(`route add 10.50.0.0/16 dev site1 table ${overlayTable} proto static
      nexthop add id ${nexthopId.firstGroup + 9} dev site1 proto static
      nexthop add id ${nexthopId.firstGroup + 10} group ${nexthopId.firstGroup + 9} proto kernel
      link add name ls-wg3 type bridge
      address add 10.77.0.1/24 dev ls-wg3
      rule add priority ${rulePriority.overlay} fwmark 5 lookup 100`)
    const strange = await observed(kernel)
    const byKey = new Map(strange.map((object) => [`${object.kind} ${keyOf(object)}`, object]))
    t.match(byKey.get('route 10.50.0.0/16'), { protocol: 4 })
    t.match(byKey.get(`nexthop ${nexthopId.firstGroup + 9}`), { protocol: 4 })
    const multipath = byKey.get(`group ${nexthopId.firstGroup + 10}`)
    t.match(multipath, { otherType: true }, 'a group that is not resilient, whatever its protocol')
    t.notOk(multipath !== undefined && 'protocol' in multipath)
    t.match(byKey.get('link ls-wg3'), { group: 0 })
    t.notOk(byKey.get('address ls-wg3 10.77.0.1/24'), 'addresses of a foreign link are its own')
    t.ok(strange.some((object) => object.kind === 'rule' && object.fwmark === 5 && object.protocol !== 76))
    t.same(difference(wanted, strange), [], 'and left alone')
    ip(`rule del priority ${rulePriority.overlay} fwmark 5 lookup 100
      link del dev ls-wg3
      nexthop del id ${nexthopId.firstGroup + 10}
      nexthop del id ${nexthopId.firstGroup + 9}
      route del 10.50.0.0/16 dev site1 table ${overlayTable}`)
  })

  await t.test('down: all of ours goes, the host is as before', async (t) => {
    found = await observed(kernel)
    t.same(await errors(kernel, difference([], found)), [])
    const left = await observed(kernel)
    t.same(
      left.filter((object) => object.kind !== 'sysctl' || object.previous !== undefined),
      [],
    )
    t.equal(host(), before)
    t.equal(readFileSync('/proc/sys/net/ipv6/conf/all/forwarding', 'utf8'), '0\n')
    t.equal(
      readFileSync('/proc/sys/net/ipv6/conf/site0/forwarding', 'utf8'),
      '1\n',
      'forwarding of its own link too',
    )
    t.equal(readFileSync('/proc/sys/net/ipv6/conf/site1/forwarding', 'utf8'), '0\n')
  })
  await kernel.close()
})
