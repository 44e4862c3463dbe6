/**
 * Invariants 4 and 7, without a process: one failed op never hides the rest, each result is recorded, the next pass
 * converges; and whoever is killed between two ops finds a state from which the next start reaches the same end.
 */
import { strict as assert } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { carrierOf } from '../../agent/diff/ownership.ts'
import type { KernelObject } from '../../agent/model/kernel-object.ts'
import { historyArbitrary, parameters } from '../support/arbitraries.ts'
import { Crash, FakeKernel } from '../support/fake-kernel.ts'
import { identity } from '../support/fake-state.ts'
import { bystanders } from '../support/foreign.ts'
import {
  assertConverged,
  comparable,
  desiredOf,
  diffWith,
  foreignText,
  linesOf,
  pass,
} from '../support/pass.ts'
import { inputOf } from '../support/world.ts'
import type { World } from '../support/world.ts'

/** A kernel in the first world, and what the last one wants of it. */
function change(worlds: readonly World[]): { kernel: FakeKernel; desired: readonly KernelObject[] } {
  const [first, ...rest] = worlds
  const last = rest.at(-1)
  if (first === undefined || last === undefined) throw new Error('a history has two worlds')
  const before = inputOf(first)
  const kernel = new FakeKernel(before.facts, bystanders)
  pass(kernel, desiredOf(before))
  const after = inputOf(last, before)
  kernel.meetHost(after.facts)
  return { kernel, desired: desiredOf(after) }
}

const errno = fc.constantFrom('ENOMEM', 'EBUSY', 'EINVAL', 'ENODEV')

// LINKSPAN_RUNS may ask for hours.
t.setTimeout(0)

void t.test('an op that fails once', (t) => {
  const property = fc.property(historyArbitrary, fc.nat(), errno, (worlds, n, errno) => {
    const { kernel, desired } = change(worlds)
    const foreign = foreignText(kernel)
    const { ops } = diffWith(kernel, desired)
    if (ops.length === 0) return
    const at = n % ops.length
    kernel.faults.push({ at: kernel.applied + at, errno })
    const results = pass(kernel, desired, false)
    assert.equal(results.length, ops.length)
    assert.match(results[at]?.error?.reason ?? '', new RegExp(errno))
    // What failed for want of the first is left over as well; one more pass does it all.
    pass(kernel, desired, false)
    assertConverged(kernel, desired)
    assert.deepEqual(linesOf(diffWith(kernel, desired)), [])
    assert.equal(foreignText(kernel), foreign)
  })
  fc.assert(property, parameters(150, 6))
  t.pass('holds')
  t.end()
})

void t.test('an op that always fails keeps back only what needs it', (t) => {
  const property = fc.property(historyArbitrary, fc.nat(), errno, (worlds, n, errno) => {
    const { kernel, desired } = change(worlds)
    const { ops } = diffWith(kernel, desired)
    const failing = ops[n % Math.max(1, ops.length)]
    if (failing === undefined || failing.verb === 'remove') return
    const key = identity(failing.object)
    kernel.faults.push({ matches: ({ object }) => identity(object) === key, errno, always: true })
    pass(kernel, desired, false)
    pass(kernel, desired, false)
    const owned = comparable(kernel.owned)
    // Without the firewall nothing is made at all.
    const mayMiss =
      failing.object.kind === 'ruleset' ? new Set(desired.map(identity)) : dependents(desired, key)
    for (const [object, wanted] of comparable(desired)) {
      if (mayMiss.has(object)) continue
      assert.deepEqual(withoutEndpoint(owned.get(object)), withoutEndpoint(wanted), object)
    }
    kernel.faults.length = 0
    pass(kernel, desired, false)
    assertConverged(kernel, desired)
  })
  fc.assert(property, parameters(120, 6))
  t.pass('holds')
  t.end()
})

void t.test('killed between two ops, and again', (t) => {
  const property = fc.property(historyArbitrary, fc.nat(), fc.nat(40), (worlds, n, m) => {
    const { kernel, desired } = change(worlds)
    for (const at of [n % Math.max(1, diffWith(kernel, desired).ops.length), m]) {
      kernel.faults.push({ at: kernel.applied + at, errno: 'crash' })
      try {
        pass(kernel, desired)
      } catch (error) {
        if (!(error instanceof Crash)) throw error
      }
      kernel.faults.length = 0
    }
    pass(kernel, desired)
    assertConverged(kernel, desired)
  })
  fc.assert(property, parameters(120, 6))
  t.pass('holds')
  t.end()
})

/** Identities of the object and of all that cannot be right without it. */
function dependents(desired: readonly KernelObject[], key: string): ReadonlySet<string> {
  const missing = new Set([key])
  for (let size = 0; size !== missing.size;) {
    size = missing.size
    for (const object of desired)
      if (needs(object).some((need) => missing.has(need))) missing.add(identity(object))
  }
  return missing
}

function needs(object: KernelObject): readonly string[] {
  const link = carrierOf(object)
  const carrier = link === undefined ? [] : [`link ${link}`]
  switch (object.kind) {
    case 'link':
      return object.master === undefined ? [] : [`link ${object.master}`]
    case 'device':
      // Ports move from device to device.
      return [...carrier, ...Array.from({ length: 64 }, (_, i) => `device ls-wg${i}`)]
    case 'allowed-ip':
      return [...carrier, `peer ${object.device} ${object.publicKey}`]
    case 'group':
      return object.members.map(({ id }) => `id ${id}`)
    case 'route':
      return object.nexthop === undefined ? [] : [`id ${object.nexthop}`]
    case 'element':
      return ['ruleset linkspan']
    default:
      return carrier
  }
}

function withoutEndpoint(object: unknown): unknown {
  if (typeof object !== 'object' || object === null || !('endpoint' in object)) return object
  const { endpoint, ...rest } = object
  return endpoint === undefined ? object : rest
}
