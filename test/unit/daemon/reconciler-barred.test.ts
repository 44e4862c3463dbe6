/**
 * The end of the own certificate: it expired or was revoked, or the gateway was removed. Peers go and what led to them is
 * black-holed, so that nothing leaves in clear; routes stay to hold the traffic back. A certificate that merely vanished
 * ends nothing.
 */
import t from 'tap'
import type { Test } from 'tap'
import type { Document } from '../../../agent/model/document.ts'
import { nexthopId } from '../../../agent/model/kernel-number.ts'
import type { Kind, KernelObject, Route } from '../../../agent/model/kernel-object.ts'
import { GroupIds } from '../../../agent/plan/group-id.ts'
import { gatewayOf } from '../../../agent/trust/subject.ts'
import {
  certificateDocument,
  certificateOf,
  fabricDocument,
  identityOf,
  nowMs,
} from '../../support/documents.ts'
import type { FakeKernel } from '../../support/fake-kernel.ts'
import { assertConverged, foreignText } from '../../support/pass.ts'
import { documents, Rig, routeTo2 } from '../../support/rig.ts'

const hour = 3_600_000

/** What ends us, and what takes it back. */
const ends: Readonly<
  Record<string, { readonly end: Document; readonly rule: string; readonly back: Document }>
> = {
  'the gateway is removed': {
    end: fabricDocument({ serial: 2, removed: ['g1'] }),
    rule: 'removed',
    back: fabricDocument({ serial: 3 }),
  },
  'the serial of its certificate is revoked': {
    end: fabricDocument({ serial: 2, revoked: { serials: [7], identities: [] } }),
    rule: 'revoked',
    back: certificateDocument(1, { serial: 8 }),
  },
  'its identity is revoked': {
    end: fabricDocument({ serial: 2, revoked: { serials: [], identities: [identityOf('g1')] } }),
    rule: 'revoked',
    back: fabricDocument({ serial: 3 }),
  },
  'its certificate has expired': {
    end: certificateDocument(1, { serial: 8, notAfter: nowMs - hour - 1 }),
    rule: 'expired',
    back: certificateDocument(1, { serial: 9 }),
  },
}

/** Three gateways; the own certificate has the serial 7. */
const three: readonly Document[] = documents(3).map((each) =>
  each.type === 'certificate' && each.payload.gateway === 'g1' ? certificateDocument(1, { serial: 7 }) : each,
)

/** The same with one document in the place of those it follows. */
function replacing(change: Document): readonly Document[] {
  const follows = (each: Document): boolean =>
    each.type === change.type && gatewayOf(each) === gatewayOf(change)
  return [...three.filter((each) => !follows(each)), change]
}

function of(kernel: FakeKernel, ...kinds: readonly Kind[]): readonly KernelObject[] {
  return kernel.owned.filter(({ kind }) => kinds.includes(kind))
}

/** To prefixes, and whatever ends there; their MTU, which is that of the paths there are, left out. */
function routes(kernel: FakeKernel): readonly string[] {
  return kernel.owned
    .filter((object) => object.kind === 'route' && !isToOverlayAddress(object))
    .map((route) => JSON.stringify(route, (key, value: unknown) => (key === 'mtu' ? undefined : value)))
    .sort()
}

/** Without a device these go; the overlay's own ranges end in `unreachable`. */
function isToOverlayAddress({ prefix: to }: Route): boolean {
  return to.startsWith('100.127.0.')
    ? to.endsWith('/32')
    : to.startsWith('fd4c:53aa:bb00:') && to.endsWith('/128')
}

/** Everything that is lost with the peers. */
function tunnels(kernel: FakeKernel): number {
  return of(kernel, 'link', 'device', 'peer', 'allowed-ip', 'address').length
}

/** Ids that groups lead to. */
function members(kernel: FakeKernel): readonly number[] {
  const groups = kernel.owned.filter((object) => object.kind === 'group')
  return [...new Set(groups.flatMap((group) => group.members.map(({ id }) => id)))]
}

function assertBarred(t: Test, rig: Rig, before: readonly string[]): void {
  const { kernel } = rig
  assertConverged(kernel, rig.desired)
  t.equal(tunnels(kernel), 0, 'no peers, and no devices for them')
  t.same(members(kernel), [nexthopId.blackhole], 'every group is a black hole')
  t.same(routes(kernel), before, 'the routes stay')
}

for (const [name, { end, rule, back }] of Object.entries(ends)) {
  void t.test(`${name}: peers go, routes stay and lead nowhere`, async (t) => {
    const rig = new Rig()
    const { kernel } = rig
    const foreign = foreignText(kernel)
    rig.deliver(three)
    await rig.turn()
    t.ok(tunnels(kernel) > 0)
    const before = routes(kernel)
    const guards = of(kernel, 'element', 'ruleset').length
    const done: string[] = []
    kernel.afterOp = ({ verb, object }) => {
      if (object.kind !== 'route' || !isToOverlayAddress(object)) done.push(`${verb} ${object.kind}`)
    }
    rig.change(end)
    await rig.turn()
    kernel.afterOp = undefined
    assertBarred(t, rig, before)
    t.notOk(done.includes('remove route'), 'not for a moment were routes gone')
    const holed = done.lastIndexOf('replace group')
    const gone = done.findIndex((each) => /^remove (link|device|peer|allowed-ip|address|nexthop)$/.test(each))
    t.ok(holed >= 0 && holed < gone, 'nothing leads to a peer that goes')
    t.ok(of(kernel, 'element', 'ruleset').length >= guards, 'the guards stay: nothing leaves in clear')
    t.equal(foreignText(kernel), foreign)
    t.match(rig.last('document-refused')?.fields, { rule, gateway: 'g1' })
    t.same(await rig.audit(), [], 'an audit finds nothing to do')

    const route = routeTo2(kernel)
    if (route === undefined) throw new Error('no route')
    kernel.lose(route)
    rig.reconciler.schedule.drifted()
    await rig.audit()
    assertBarred(t, rig, before)

    rig.change(back)
    await rig.turn()
    assertConverged(kernel, rig.desired)
    t.ok(tunnels(kernel) > 0, 'a certificate that holds brings them back')
    t.same(routes(kernel), before)
    t.notOk(members(kernel).includes(nexthopId.blackhole))
  })

  void t.test(`${name} while its agent does not run`, async (t) => {
    const first = new Rig()
    const { kernel } = first
    first.deliver(three)
    await first.turn()
    const before = routes(kernel)
    const second = new Rig(kernel, { ids: savedIds(first) })
    second.deliver(replacing(end))
    await second.turn()
    assertBarred(t, second, before)
    t.notOk(second.told.includes('removals-held'), 'that is what the documents say')

    const { applied } = kernel
    const third = new Rig(kernel, { ids: savedIds(first) })
    third.deliver(replacing(end))
    await third.turn()
    t.equal(kernel.applied, applied, 'the next start finds it done')
    assertBarred(t, third, before)
  })
}

void t.test('a certificate expires as time goes by, an hour late', async (t) => {
  let at = nowMs
  const rig = new Rig(undefined, { now: () => at })
  rig.deliver(replacing(certificateDocument(1, { serial: 8, notAfter: nowMs + hour })))
  await rig.turn()
  const before = routes(rig.kernel)
  for (const minutes of [30, 60, 90, 119]) {
    at = nowMs + minutes * 60_000
    rig.reconciler.inputs.tick()
    await rig.turn()
    t.ok(tunnels(rig.kernel) > 0, `after ${minutes} minutes`)
  }
  at = nowMs + 121 * 60_000
  rig.reconciler.inputs.tick()
  await rig.turn()
  assertBarred(t, rig, before)
})

void t.test('another gateway ends: what led to it goes, the rest stays', async (t) => {
  const rig = new Rig()
  rig.deliver(three)
  await rig.turn()
  rig.change(fabricDocument({ serial: 2, removed: ['g2'] }))
  await rig.turn()
  assertConverged(rig.kernel, rig.desired)
  t.notOk(routeTo2(rig.kernel))
  t.equal(of(rig.kernel, 'peer').length, 1, 'g3')
})

void t.test('an own certificate that vanished ends nothing', async (t) => {
  const rig = new Rig()
  rig.deliver(three)
  await rig.turn()
  const { applied } = rig.kernel
  rig.deliver(three.filter((each) => each.type !== 'certificate' || each.payload.gateway !== 'g1'))
  await rig.turn()
  t.ok(rig.told.includes('document-vanished'))
  t.equal(rig.kernel.applied, applied)
  const route = routeTo2(rig.kernel)
  if (route === undefined) throw new Error('no route')
  rig.kernel.lose(route)
  rig.reconciler.schedule.drifted()
  await rig.audit()
  t.ok(routeTo2(rig.kernel), 'and drift is repaired')

  const second = new Rig(rig.kernel, { ids: savedIds(rig) })
  const { applied: now } = rig.kernel
  second.deliver(three.filter((each) => each.type !== 'certificate' || each.payload.gateway !== 'g1'))
  await second.turn()
  t.equal(rig.kernel.applied, now, 'nor does a start without it')
})

void t.test('a gateway that left the snapshot keeps what it has', async (t) => {
  const rig = new Rig()
  rig.deliver(three)
  await rig.turn()
  const { applied } = rig.kernel
  // Certified anew with a plane that another of its site has: refused, and not ended.
  const { site } = certificateOf(2)
  rig.change(certificateDocument(1, { serial: 8, number: 9, site }))
  await rig.turn()
  t.match(rig.last('document-refused')?.fields, { rule: 'plane', gateway: 'g1' })
  t.equal(rig.kernel.applied, applied)
  const route = routeTo2(rig.kernel)
  if (route === undefined) throw new Error('no route')
  rig.kernel.lose(route)
  rig.reconciler.schedule.drifted()
  await rig.audit()
  t.ok(routeTo2(rig.kernel), 'and has it repaired')
})

/** Group ids as the next run finds them. */
function savedIds(rig: Rig): GroupIds {
  return new GroupIds(JSON.parse(rig.saved.at(-1) ?? '') as ReturnType<GroupIds['toJSON']>)
}
