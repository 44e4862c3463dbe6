/**
 * Invariants 1 and 2: applying the diff makes what is ours equal to what is desired and leaves the rest untouched, a
 * second diff is empty, and every prefix of the op list is a valid state; `down` removes all that is ours and restores
 * what was. From any world to any other, with damage done behind our back in between.
 */
import { strict as assert } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { historyArbitrary, parameters, worldArbitrary } from '../support/arbitraries.ts'
import { FakeKernel } from '../support/fake-kernel.ts'
import { bystanders } from '../support/foreign.ts'
import { assertConverged, desiredOf, diffWith, foreignText, linesOf, pass } from '../support/pass.ts'
import { faultsAtRest } from '../support/valid-state.ts'
import { inputOf } from '../support/world.ts'
import type { World } from '../support/world.ts'

/** From one world to the next and down at the end, damage in between. */
function live(worlds: readonly World[], damage: readonly number[]): void {
  const [first] = worlds
  if (first === undefined) return
  let input = inputOf(first)
  const kernel = new FakeKernel(input.facts, bystanders)
  const foreign = foreignText(kernel)
  for (const world of worlds) {
    input = inputOf(world, input)
    kernel.meetHost(input.facts)
    for (const i of damage) {
      const owned = kernel.owned.filter(({ kind }) => kind !== 'sysctl')
      const object = owned[i % Math.max(1, owned.length)]
      if (object !== undefined) kernel.lose(object)
    }
    const desired = desiredOf(input)
    pass(kernel, desired)
    assertConverged(kernel, desired)
    assert.deepEqual(linesOf(diffWith(kernel, desired)), [])
    assert.deepEqual(faultsAtRest(kernel.state), [])
    assert.equal(foreignText(kernel), foreign)
  }
  pass(kernel, [])
  assert.deepEqual(
    kernel.owned.map(({ kind }) => kind),
    [],
  )
  assert.equal(foreignText(kernel), foreign)
}

// LINKSPAN_RUNS may ask for hours.
t.setTimeout(0)

void t.test('step by step, as a fabric changes', (t) => {
  const property = fc.property(historyArbitrary, (worlds) => {
    live(worlds, [])
  })
  fc.assert(property, parameters(120, 6))
  t.pass('holds')
  t.end()
})

void t.test('from any world to any other', (t) => {
  const property = fc.property(worldArbitrary, worldArbitrary, (a, b) => {
    live([a, b], [])
  })
  fc.assert(property, parameters(120, 5))
  t.pass('holds')
  t.end()
})

void t.test('with things deleted behind our back', (t) => {
  const damage = fc.array(fc.nat(997), { minLength: 1, maxLength: 5 })
  const property = fc.property(historyArbitrary, damage, live)
  fc.assert(property, parameters(120, 6))
  t.pass('holds')
  t.end()
})
