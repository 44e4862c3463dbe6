/** The reconciler at a start: ids come back, and what is left over goes only where documents say so. */
import t from 'tap'
import type { Delivered, Document } from '../../../agent/model/document.ts'
import { overlayAddress } from '../../../agent/model/gateway.ts'
import type { Peer } from '../../../agent/model/kernel-object.ts'
import { nexthopId, overlayTable } from '../../../agent/model/kernel-number.ts'
import { prefix, prefixOf } from '../../../agent/model/prefix.ts'
import { GroupIds } from '../../../agent/plan/group-id.ts'
import { gatewayOf } from '../../../agent/trust/subject.ts'
import {
  certificateDocument,
  delivered,
  fabricDocument,
  fabricOf,
  identityOf,
  keyOf,
  nowMs,
  placeOf,
  recordDocument,
  sealed,
} from '../../support/documents.ts'
import { FakeKernel } from '../../support/fake-kernel.ts'
import { bystanders } from '../../support/foreign.ts'
import { assertConverged } from '../../support/pass.ts'
import { documents, facts, Rig, routeTo2 } from '../../support/rig.ts'

const unreadable = { code: 'registry-unreadable', object: '/registry', reason: 'gone' } as const

void t.test('group ids', async (t) => {
  await t.test('are on disk before the first op', async (t) => {
    const rig = new Rig()
    let savedFirst = false
    rig.kernel.afterOp = () => {
      savedFirst ||= rig.kernel.applied === 1 && rig.saved.length === 1
    }
    rig.deliver(documents(2))
    await rig.turn()
    t.equal(savedFirst, true)
    t.match(JSON.parse(rig.saved[0] ?? ''), { ids: { 'default s2 g2': nexthopId.firstGroup } })
    await rig.audit()
    t.equal(rig.saved.length, 1, 'and not written again')
  })

  await t.test('come back from the kernel where they are lost', async (t) => {
    const first = new Rig()
    first.deliver(documents(5))
    await first.turn()
    const { applied } = first.kernel
    const second = new Rig(first.kernel)
    // Planned from scratch in this order, g5 would get the first id.
    second.deliver(documents(5).filter((each) => gatewayOf(each) !== 'g3'))
    await second.turn()
    t.ok(second.kernel.applied - applied < 12, `only g3 went: ${second.kernel.applied - applied} ops`)
    assertConverged(second.kernel, second.desired)
    const routes = second.kernel.owned.filter(
      (object) => object.kind === 'route' && object.table === overlayTable,
    )
    t.ok(routes.length > 0)
  })

  await t.test('an id in the kernel that nobody claims is not given out', async (t) => {
    const kernel = new FakeKernel(facts, bystanders)
    const first = new Rig(kernel)
    first.deliver(documents(3))
    await first.turn()
    const known = Math.max(...kernel.owned.flatMap((object) => (object.kind === 'group' ? [object.id] : [])))
    const second = new Rig(kernel)
    second.deliver([...documents(1), certificateDocument(9, { notAfter: 4102444800000 }), recordDocument(9)])
    await second.turn()
    const fresh = kernel.owned.flatMap((object) => (object.kind === 'group' ? [object.id] : []))
    t.ok(fresh.every((id) => id > known))
  })

  await t.test('a state directory that takes no writes stops nothing', async (t) => {
    const rig = new Rig(undefined, {
      saveIds: () => Promise.reject(new Error('ENOSPC: no space left on device')),
    })
    rig.deliver(documents(2))
    await rig.turn()
    assertConverged(rig.kernel, rig.desired)
    t.match(rig.last('state-not-saved')?.fields, { reason: /ENOSPC/ })
  })

  await t.test('are kept over a restart', async (t) => {
    const first = new Rig()
    first.deliver(documents(4))
    await first.turn()
    const { applied } = first.kernel
    const ids = new GroupIds(JSON.parse(first.saved.at(-1) ?? '') as ReturnType<GroupIds['toJSON']>)
    const second = new Rig(first.kernel, { ids })
    second.deliver([...documents(4)].reverse())
    await second.turn()
    t.equal(second.kernel.applied, applied, 'no op on the second start')
  })
})

void t.test('while a document cannot be read, nothing is taken for left over', async (t) => {
  const first = new Rig()
  first.deliver(documents(3))
  await first.turn()
  const second = new Rig(first.kernel)
  const known = documents(3).filter((each) => gatewayOf(each) !== 'g2')
  second.deliver(known, [{ ...unreadable, object: 'records/g2.jws' }])
  await second.turn()
  t.ok(routeTo2(second.kernel), 'the peer whose record is not readable stays')
  t.ok(second.told.includes('removals-held'))
  second.deliver(known)
  await second.turn()
  await second.audit()
  t.notOk(routeTo2(second.kernel), 'gone once everything could be read')
})

void t.test('nor while one is not to be believed; one that ended is', async (t) => {
  const hour = 3_600_000
  const [certificate, record] = [certificateDocument(2), recordDocument(2)]
  const forged = sealed(record)
    .toString()
    .replace(/[^.]+$/, 'A'.repeat(86))
  const ending = (change: Parameters<typeof certificateDocument>[1]): Delivered[] => [
    delivered(certificateDocument(2, change)),
    delivered(record),
  ]
  const cases: Readonly<Record<string, readonly Delivered[]>> = {
    signature: [delivered(certificate), { origin: placeOf(record), bytes: Buffer.from(forged) }],
    authority: [delivered(certificate, undefined, keyOf('stranger')), delivered(record)],
    signer: [delivered(certificate), delivered(record, undefined, keyOf('stranger'))],
    certificate: [delivered(record)],
    early: ending({ notBefore: nowMs + 2 * hour }),
    expired: ending({ notAfter: nowMs - 2 * hour }),
  }
  for (const [rule, of2] of Object.entries(cases)) {
    const first = new Rig()
    first.deliver(documents(3))
    await first.turn()
    const second = new Rig(first.kernel)
    const others = documents(3).filter((each) => gatewayOf(each) !== 'g2')
    const all = [...others.map((document) => delivered(document)), ...of2]
    await second.reconciler.deliver({ documents: all, complete: true, unreadable: [] })
    await second.turn()
    t.match(second.reconciler.inputs.admission.refusals, [
      { rule, gateway: rule === 'signature' ? undefined : 'g2' },
    ])
    if (rule === 'expired') t.notOk(routeTo2(second.kernel), rule)
    else {
      t.ok(routeTo2(second.kernel), rule)
      t.ok(second.told.includes('removals-held'), rule)
    }
  }
})

void t.test(
  'beside a document that stays unreadable, drift is repaired and only leftovers stay',
  async (t) => {
    const first = new Rig()
    first.deliver(documents(3))
    await first.turn()
    const second = new Rig(first.kernel)
    const known = documents(3).filter((each) => gatewayOf(each) !== 'g2')
    second.deliver(known, [{ ...unreadable, object: 'records/g2.jws' }])
    await second.turn()
    const own = second.kernel.owned.find(({ kind }) => kind === 'route')
    if (own?.kind !== 'route') throw new Error('no route')
    const stray = { ...own, prefix: prefix('203.0.113.0/24') }
    second.kernel.state.put(stray)
    second.reconciler.schedule.drifted()
    await second.audit()
    t.notOk(second.kernel.owned.some((object) => object.kind === 'route' && object.prefix === stray.prefix))
    t.ok(routeTo2(second.kernel), 'what was there at the start stays')
    t.equal(second.told.filter((event) => event === 'removals-held').length, 1, 'said once')
  },
)

void t.test(
  'a newcomer with the number of another takes nobody out, before a restart or after it',
  async (t) => {
    const first = new Rig()
    first.deliver(documents(3))
    await first.turn()
    const copy = certificateDocument(9, { number: 2 })
    first.change(copy)
    first.change(recordDocument(9))
    await first.turn()
    t.ok(routeTo2(first.kernel), 'the one that had it keeps it')
    t.match(first.last('document-refused')?.fields, { gateway: 'g9' })
    const second = new Rig(first.kernel)
    second.deliver([...documents(3), copy, recordDocument(9)])
    await second.turn()
    t.ok(routeTo2(second.kernel), 'a start that cannot tell them apart removes nothing')
  },
)

/** g1 to g4, of which g4 has a device for itself. */
const four = documents(4).map((each) =>
  each.type === 'certificate' && each.payload.gateway === 'g4'
    ? certificateDocument(4, { notAfter: 4102444800000, plane: 1 })
    : each,
)

/** An agent that set these up, and the next one on its kernel and state. */
async function restarted(): Promise<Rig> {
  const first = new Rig()
  first.deliver(four)
  await first.turn()
  const ids = JSON.parse(first.saved.at(-1) ?? '') as ReturnType<GroupIds['toJSON']>
  return new Rig(first.kernel, { ids: new GroupIds(ids) })
}

function but(gateways: readonly string[], change: Parameters<typeof fabricDocument>[0]): readonly Document[] {
  const rest = four.filter((each) => each.type !== 'fabric' && !gateways.includes(gatewayOf(each) ?? ''))
  return [fabricDocument({ serial: 2, ...change }), ...rest]
}

/** Which of g2, g3 and g4 have a peer in the kernel. */
function peered({ kernel }: Rig): readonly number[] {
  return [2, 3, 4].filter((number) => {
    const address = overlayAddress(fabricOf(), number, 4)
    const allowed = kernel.owned.find(
      (object) => object.kind === 'allowed-ip' && address && object.prefix === prefixOf(address),
    )
    return kernel.owned.some(
      (object): object is Peer =>
        object.kind === 'peer' && allowed?.kind === 'allowed-ip' && object.publicKey === allowed.publicKey,
    )
  })
}

void t.test('a gateway that is to go does not stay because another is missing', async (t) => {
  for (const [name, gone, change] of [
    ['removed, on a device with others', 2, { removed: ['g2'] }],
    ['removed, on a device of its own', 4, { removed: ['g4'] }],
    ['revoked', 2, { revoked: { serials: [], identities: [identityOf('g2')] } }],
  ] as const) {
    await t.test(name, async (t) => {
      const rig = await restarted()
      t.same(peered(rig), [2, 3, 4])
      // Those who remove a gateway may delete its documents, too.
      rig.deliver(but(name === 'revoked' ? ['g3'] : ['g3', `g${gone}`], change))
      await rig.turn()
      const left = [2, 3, 4].filter((number) => number !== gone)
      t.same(peered(rig), left)
      t.match(rig.last('removals-held')?.fields, { gateways: 'g3' })
      const { applied } = rig.kernel
      await rig.audit()
      t.equal(rig.kernel.applied, applied, 'and no more to do')
      rig.deliver(but([`g${gone}`], change))
      await rig.turn()
      await rig.audit()
      t.same(peered(rig), left)
      assertConverged(rig.kernel, rig.desired)
    })
  }

  await t.test('also when that is decided later', async (t) => {
    const rig = await restarted()
    rig.deliver(but(['g2', 'g3'], {}))
    await rig.turn()
    t.same(peered(rig), [2, 3, 4])
    rig.change(fabricDocument({ serial: 3, removed: ['g2'] }))
    await rig.turn()
    t.same(peered(rig), [3, 4], 'in the same turn')
  })

  await t.test('but who cannot be told stays', async (t) => {
    const rig = await restarted()
    for (const object of rig.kernel.owned) if (object.kind === 'route') rig.kernel.state.remove(object)
    rig.deliver(but(['g2', 'g3'], { removed: ['g2'] }))
    await rig.turn()
    t.same(peered(rig), [2, 3, 4])
  })
})

void t.test('a gateway whose documents come back is found as it was left', async (t) => {
  for (const number of [2, 4]) {
    const rig = await restarted()
    rig.deliver(but([`g${number}`], {}))
    await rig.turn()
    const { applied } = rig.kernel
    rig.change(...four.filter((each) => gatewayOf(each) === `g${number}`))
    await rig.turn()
    t.equal(rig.kernel.applied, applied, 'nothing to write')
    t.notOk(rig.told.includes('op-failed'))
    assertConverged(rig.kernel, rig.desired)
  }
})
