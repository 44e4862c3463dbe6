/**
 * Invariant 12: after any sequence of changes the union of shares, each planned anew only when `affected` names it, equals
 * a full plan, notes included; and the ops of the changed shares alone take the kernel there.
 */
import { strict as assert } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { diff } from '../../agent/diff/diff.ts'
import { mustBeRemade } from '../../agent/diff/equal.ts'
import { affected } from '../../agent/plan/affected.ts'
import { plan, share } from '../../agent/plan/share.ts'
import type { PlanInput, Share, ShareKey } from '../../agent/plan/input.ts'
import type { KernelObject } from '../../agent/model/kernel-object.ts'
import { historyArbitrary, parameters } from '../support/arbitraries.ts'
import { FakeKernel } from '../support/fake-kernel.ts'
import { identity } from '../support/fake-state.ts'
import { assertConverged, context, desiredOf } from '../support/pass.ts'
import { inputOf } from '../support/world.ts'

// LINKSPAN_RUNS may ask for hours.
t.setTimeout(0)

void t.test('shares that are not affected are what they were', (t) => {
  const property = fc.property(historyArbitrary, (worlds) => {
    const shares = new Map<ShareKey, Share>()
    let before: PlanInput | undefined
    for (const world of worlds) {
      const input = inputOf(world, before)
      for (const key of affected(before, input)) shares.set(key, share(input, key))
      const full = new Map([...plan(input)].map((one) => [one.key, one]))
      for (const [key, one] of shares) {
        const { objects, notes } = full.get(key) ?? { objects: [], notes: [] }
        assert.deepEqual(one.objects, objects, key)
        assert.deepEqual(one.notes, notes, key)
      }
      for (const key of full.keys()) assert(shares.has(key), key)
      before = input
    }
  })
  fc.assert(property, parameters(150, 6))
  t.pass('holds')
  t.end()
})

void t.test('the ops of changed shares take the kernel to the full plan', (t) => {
  const property = fc.property(historyArbitrary, (worlds) => {
    let before: PlanInput | undefined
    let kernel: FakeKernel | undefined
    const shares = new Map<ShareKey, readonly KernelObject[]>()
    for (const world of worlds) {
      const input = inputOf(world, before)
      kernel ??= new FakeKernel(input.facts)
      kernel.meetHost(input.facts)
      const keys = affected(before, input)
      const old = keys.flatMap((key) => shares.get(key) ?? [])
      for (const key of keys) shares.set(key, share(input, key).objects)
      const fresh = keys.flatMap((key) => shares.get(key) ?? [])
      before = input
      // A link that is made anew takes along what other shares hold: there the agent audits.
      if (remakesLink(fresh, old)) return
      for (const { op, error } of kernel.applyNow(diff(fresh, old.map(remembered), context).ops)) {
        assert.equal(error, undefined, `${op.verb} ${identity(op.object)}`)
      }
      assertConverged(kernel, desiredOf(input))
    }
  })
  fc.assert(property, parameters(150, 6))
  t.pass('holds')
  t.end()
})

function remakesLink(desired: readonly KernelObject[], observed: readonly KernelObject[]): boolean {
  const links = new Map(observed.flatMap((object) => (object.kind === 'link' ? [[object.name, object]] : [])))
  return desired.some((object) => {
    const before = object.kind === 'link' ? links.get(object.name) : undefined
    return object.kind === 'link' && before !== undefined && mustBeRemade(object, before)
  })
}

/** A sysctl that we wrote is known to be ours. */
function remembered(object: KernelObject): KernelObject {
  return object.kind === 'sysctl' ? { ...object, previous: '0' } : object
}
