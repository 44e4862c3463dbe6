/**
 * Conflicts: whatever others hold of what we want, their objects stay untouched, the conflict names them, no op fails,
 * nothing of ours needs what is not there, and all that does not need it is in place.
 */
import { strict as assert } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import type { KernelObject } from '../../agent/model/kernel-object.ts'
import { formatObject } from '../../agent/model/op-text.ts'
import { parameters, worldArbitrary } from '../support/arbitraries.ts'
import { FakeKernel } from '../support/fake-kernel.ts'
import { identity } from '../support/fake-state.ts'
import { assertConverged, desiredOf, diffWith, foreignText, pass } from '../support/pass.ts'
import { inputOf } from '../support/world.ts'

/** Somebody else's object that holds what this one needs; undefined for kinds that cannot be taken. */
function holderOf(object: KernelObject): KernelObject | undefined {
  switch (object.kind) {
    case 'link':
      return { kind: 'link', name: object.name, type: 'other', mtu: 1500, up: true, group: 0 }
    case 'nexthop':
      return object.blackhole === true ? undefined : { ...object, protocol: 186 }
    case 'group':
      return { kind: 'nexthop', id: object.id, family: 6, blackhole: true, protocol: 186 }
    case 'route':
      return {
        kind: 'route',
        table: object.table,
        prefix: object.prefix,
        type: 'blackhole',
        protocol: 4,
        ...metricOf(object),
      }
    case 'rule':
      return {
        kind: 'rule',
        family: object.family,
        priority: object.priority,
        action: 'lookup',
        table: 7,
        protocol: 3,
      }
    default:
      return undefined
  }
}

function metricOf(object: { readonly metric?: number }): { readonly metric?: number } {
  return object.metric === undefined ? {} : { metric: object.metric }
}

// LINKSPAN_RUNS may ask for hours.
t.setTimeout(0)

void t.test('conflicts leave out what needs them and nothing else', (t) => {
  const picks = fc.array(fc.nat(), { minLength: 1, maxLength: 4 })
  const property = fc.property(worldArbitrary, picks, (world, picks) => {
    const input = inputOf(world)
    const desired = desiredOf(input)
    const candidates = desired.filter((object) => holderOf(object) !== undefined)
    const taken = picks.flatMap((n) => candidates[n % Math.max(1, candidates.length)] ?? [])
    if (taken.length === 0) return
    const kernel = new FakeKernel(
      input.facts,
      taken.flatMap((object) => holderOf(object) ?? []),
    )
    const foreign = foreignText(kernel)

    const { conflicts } = diffWith(kernel, desired)
    for (const object of taken) {
      assert(
        conflicts.some((conflict) => conflict.object === formatObject(object)),
        formatObject(object),
      )
    }
    pass(kernel, desired)
    assert.equal(foreignText(kernel), foreign)
    assert.deepEqual(needsOfForeign(kernel), [])
    const again = diffWith(kernel, desired)
    assert.deepEqual(again.ops, [])
    assert.deepEqual(again.conflicts, conflicts)

    // Nothing that needs none of the taken things is missing.
    const present = new Set(kernel.owned.map(identity))
    const counted = conflicts.map(({ reason }) => Number(/left out with it: (\d+)/.exec(reason)?.[1] ?? 0))
    const missing = desired.filter((object) => !present.has(identity(object))).length
    const roots = new Set(conflicts.map(({ object }) => object)).size
    assert.equal(missing, counted.reduce((a, b) => a + b, 0) + roots)

    // They give way, and all is as desired.
    for (const object of kernel.foreign) if (object.kind !== 'sysctl') kernel.state.drop(object)
    pass(kernel, desired)
    assertConverged(kernel, desired)
  })
  fc.assert(property, parameters(200, 6))
  t.pass('holds')
  t.end()
})

/** Objects of ours that stand on somebody else's nexthop, group or link. */
function needsOfForeign({ owned, foreign }: FakeKernel): readonly string[] {
  const theirs = new Set(foreign.map(identity))
  return owned
    .filter((object) => {
      const links =
        object.kind === 'nexthop' ? [object.device] : object.kind === 'link' ? [object.master] : []
      const ids =
        object.kind === 'route'
          ? [object.nexthop]
          : object.kind === 'group'
            ? object.members.map(({ id }) => id)
            : []
      return [...links.map((name) => `link ${name}`), ...ids.map((id) => `id ${id}`)].some((key) =>
        theirs.has(key),
      )
    })
    .map(identity)
}
