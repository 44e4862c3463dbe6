/**
 * Invariant 3: the order of documents changes no op, and neither does the order in which a kernel dumps its objects,
 * save that ops whose order is free may come in another one.
 */
import { strict as assert } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { diff } from '../../agent/diff/diff.ts'
import { GroupIds } from '../../agent/plan/group-id.ts'
import { historyArbitrary, parameters, worldArbitrary } from '../support/arbitraries.ts'
import { delivered } from '../support/documents.ts'
import { FakeKernel } from '../support/fake-kernel.ts'
import { assertConverged, context, desiredOf, diffWith, linesOf, pass, sysctlsOf } from '../support/pass.ts'
import { documentsOf, inputFrom, inputOf } from '../support/world.ts'

/** The same values, in an order that the numbers decide. */
function shuffled<T>(values: readonly T[], numbers: readonly number[]): T[] {
  const keyed = values.map((value, i) => ({ value, key: numbers[i % numbers.length] ?? 0 }))
  return keyed.sort((a, b) => a.key - b.key).map(({ value }) => value)
}

const numbers = fc.array(fc.integer(), { minLength: 7, maxLength: 31 })

// LINKSPAN_RUNS may ask for hours.
t.setTimeout(0)

void t.test('documents in another order give the same ops in the same order', (t) => {
  const property = fc.property(worldArbitrary, numbers, (world, numbers) => {
    const documents = documentsOf(world).map((document) => delivered(document))
    const [a, b] = [documents, shuffled(documents, numbers)].map((order) => {
      const input = inputFrom(order, world, undefined, new GroupIds())
      return linesOf(diffWith(new FakeKernel(input.facts), desiredOf(input)))
    })
    assert.deepEqual(a, b)
  })
  fc.assert(property, parameters(150, 5))
  t.pass('holds')
  t.end()
})

void t.test('objects in another order give the same ops, and a valid order of them', (t) => {
  const property = fc.property(historyArbitrary, numbers, (worlds, numbers) => {
    const [first, second] = worlds
    if (first === undefined || second === undefined) return
    const before = inputOf(first)
    const kernel = new FakeKernel(before.facts)
    pass(kernel, desiredOf(before))
    const after = inputOf(second, before)
    kernel.meetHost(after.facts)
    const desired = desiredOf(after)
    const dump = shuffled(kernel.observed(sysctlsOf(desired)), numbers)
    const expected = linesOf(diffWith(kernel, desired))
    const lines = linesOf(diff(shuffled(desired, numbers), dump, context))
    assert.deepEqual([...lines].sort(), [...expected].sort())
    pass(kernel, shuffled(desired, numbers))
    assertConverged(kernel, desired)
  })
  fc.assert(property, parameters(100, 4))
  t.pass('holds')
  t.end()
})
