/**
 * Fault 50 for a whole reconciler: whatever op fails with whatever errno, once or some times, its failure is told, the
 * others are done, and when the fault is over the kernel is as desired and what is foreign as it was.
 */
import t from 'tap'
import type { Document } from '../../agent/model/document.ts'
import type { Op } from '../../agent/model/op.ts'
import { address, prefix } from '../../agent/model/prefix.ts'
import { certificateDocument, fabricDocument, recordDocument, tunnelKeysOf } from '../support/documents.ts'
import { FakeKernel } from '../support/fake-kernel.ts'
import { bystanders } from '../support/foreign.ts'
import { assertConverged, foreignText } from '../support/pass.ts'
import { linkWith, ownWith } from '../support/plan-input.ts'
import { Rig } from '../support/rig.ts'

const errnos = [
  'EPERM',
  'EINTR',
  'EBUSY',
  'ENODEV',
  'EEXIST',
  'ENOENT',
  'ENOMEM',
  'EINVAL',
  'ENOSPC',
  'ENOBUFS',
  'EAGAIN',
  'ETIMEDOUT',
] as const

/** What is made to fail: every op that a cold start, a changed fabric and damage by others need. */
const expected = {
  start:
    'add address, add allowed-ip, add device, add element, add fdb, add group, add link, add nexthop, add peer, add port, add route, add rule, add ruleset, add sysctl',
  change:
    'add allowed-ip, add element, add fdb, add group, add peer, add route, remove allowed-ip, remove element, remove fdb, remove group, remove peer, remove route, replace allowed-ip, replace peer, replace route, replace ruleset',
  repair:
    'remove address, remove link, remove nexthop, remove rule, replace device, replace group, replace link, replace nexthop, replace route, replace sysctl',
} as const

const facts = {
  links: [linkWith('eth0 192.0.2.1/24 default'), linkWith('lan0 10.1.0.1/24', 1), linkWith('tap0', 2)],
  routes: [],
  ipv6: true,
  features: { wireguard: true },
}

const own = ownWith('g1', 's1', {
  endpoints: [{ underlay: 'internet', address: address('192.0.2.1'), port: 51820 }],
  networks: [{ name: 'lan', interfaces: ['tap0'] }],
})

function gateway(n: number, change: Parameters<typeof recordDocument>[1] = {}): readonly Document[] {
  const prefixes = change.prefixes ?? [prefix(`10.${n}.0.0/16`)]
  const { serial = 1 } = change
  return [
    certificateDocument(n, {
      serial,
      notAfter: 4102444800000,
      networks: [{ name: 'lan' }],
      prefixes: prefixes.map((each) => ({ prefix: each })),
    }),
    recordDocument(n, { networks: [{ name: 'lan' }], ...change }),
  ]
}

const atFirst = [fabricDocument(), ...[1, 2, 3, 4].flatMap((n) => gateway(n))]
const afterwards = [
  // A prefix of a length of its own in place of another, one that moves, an endpoint that moves, another key, and one that goes.
  ...gateway(2, { serial: 2, prefixes: [prefix('10.77.0.0/25')] }),
  ...gateway(3, {
    serial: 2,
    endpoints: [{ underlay: 'internet', address: address('192.0.2.33'), port: 51820 }],
    prefixes: [],
  }),
  ...gateway(4, { serial: 2, state: 'withdrawn' }),
  ...gateway(5, { tunnelKeys: tunnelKeysOf('g5 again'), prefixes: [prefix('10.3.0.0/16')] }),
]

/** Objects of ours as somebody left them. */
function damage(kernel: FakeKernel): void {
  const { state } = kernel
  for (const object of [...kernel.owned]) {
    if (object.kind === 'device') state.put({ ...object, listenPort: 7 })
    else if (object.kind === 'link') state.put({ ...object, mtu: 1300 })
    else if (object.kind === 'sysctl' && object.value !== '0') state.put({ ...object, value: '0' })
    else if (object.kind === 'route' && object.nexthop !== undefined) state.put({ ...object, mtu: 1300 })
    else if (object.kind === 'group') state.put({ ...object, members: [{ id: 0x4c0000fe, weight: 1 }] })
    else if (object.kind === 'nexthop' && object.device !== undefined) state.put({ ...object, family: 4 })
  }
  const bridge = { kind: 'link', type: 'bridge', mtu: 1500, up: true, group: 19539 } as const
  state.put({ ...bridge, name: 'ls-br7777' })
  state.put({ kind: 'address', link: 'ls-wg0', address: '198.18.0.1/32' })
  state.put({ kind: 'nexthop', id: 0x4c000099, family: 4, blackhole: true })
  state.put({ kind: 'rule', family: 4, priority: 19531, action: 'lookup', table: 7, protocol: 76 })
  kernel.emit('objects')
}

type Scenario = keyof typeof expected

/** A rig that stands before the scenario, and what makes it happen. */
async function ready(
  scenario: Scenario,
): Promise<{ readonly rig: Rig; readonly happen: () => Promise<unknown> }> {
  const rig = new Rig(new FakeKernel(facts, bystanders), { ownOf: () => own })
  rig.deliver(atFirst)
  if (scenario === 'start') return { rig, happen: () => rig.turn() }
  await rig.turn()
  if (scenario === 'repair') {
    damage(rig.kernel)
    return { rig, happen: () => rig.audit() }
  }
  rig.change(...afterwards)
  return { rig, happen: () => rig.turn() }
}

const nameOf = ({ verb, object }: Op): string => `${verb} ${object.kind}`

async function opsOf(scenario: Scenario): Promise<readonly string[]> {
  const { rig, happen } = await ready(scenario)
  const names = new Set<string>()
  rig.kernel.afterOp = (op) => names.add(nameOf(op))
  await happen()
  assertConverged(rig.kernel, rig.desired)
  return [...names].sort()
}

for (const scenario of Object.keys(expected) as Scenario[]) {
  void t.test(scenario, async (t) => {
    const names = await opsOf(scenario)
    t.equal(names.join(', '), expected[scenario], 'its ops')
    for (const name of names) {
      const wrong: string[] = []
      for (const [i, errno] of errnos.entries()) {
        const { rig, happen } = await ready(scenario)
        const foreign = foreignText(rig.kernel)
        // Once, or all ops of the kind, again and again.
        const always = i % 2 === 1
        rig.kernel.faults.push({ errno, always, matches: (op) => nameOf(op) === name })
        await happen()
        const told = rig.events.since(0).filter(({ event }) => event === 'op-failed')
        if (!JSON.stringify(told).includes(errno)) wrong.push(`${errno}: not told`)
        const failures = rig.reconciler.troubles.failures.map(({ reason }) => reason).join()
        if (!failures.includes(errno)) wrong.push(`${errno}: not among the failures`)
        if (always) await rig.audit()
        rig.kernel.faults.length = 0
        await rig.audit()
        // What was left out for want of what failed comes with the next.
        await rig.audit()
        try {
          assertConverged(rig.kernel, rig.desired)
        } catch (error) {
          wrong.push(`${errno}: ${String(error).slice(0, 400)}`)
        }
        if (foreignText(rig.kernel) !== foreign) wrong.push(`${errno}: foreign objects changed`)
        if (!rig.reconciler.troubles.isNone) wrong.push(`${errno}: troubles stay`)
        if ((await rig.audit())?.length !== 0) wrong.push(`${errno}: restless`)
      }
      t.same(wrong, [], `${name}: ${errnos.length} errnos`)
    }
  })
}
