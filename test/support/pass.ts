/** One pass of an agent without its daemon: plan, observe the fake kernel, diff, apply, with every step checked. */
import { strict as assert } from 'node:assert'
import { diff } from '../../agent/diff/diff.ts'
import type { Diff } from '../../agent/diff/diff.ts'
import { plan } from '../../agent/plan/share.ts'
import type { PlanInput } from '../../agent/plan/input.ts'
import type { KernelObject } from '../../agent/model/kernel-object.ts'
import { formatOp } from '../../agent/model/op-text.ts'
import type { OpResult } from '../../agent/model/op.ts'
import type { FakeKernel } from './fake-kernel.ts'
import { identity } from './fake-state.ts'
import { Watch } from './valid-state.ts'

export const context = { nowSeconds: 1763700000 }

export function desiredOf(input: PlanInput): readonly KernelObject[] {
  return [...plan(input)].flatMap(({ objects }) => objects)
}

export function sysctlsOf(desired: readonly KernelObject[]): readonly string[] {
  return desired.flatMap((object) => (object.kind === 'sysctl' ? [object.name] : []))
}

export function diffWith(kernel: FakeKernel, desired: readonly KernelObject[]): Diff {
  return diff(desired, kernel.observed(sysctlsOf(desired)), context)
}

export function linesOf({ ops }: Pick<Diff, 'ops'>): readonly string[] {
  return ops.map(formatOp)
}

/** Diff and apply. After each op the state must be valid; `strict`: and no op may fail. */
export function pass(
  kernel: FakeKernel,
  desired: readonly KernelObject[],
  strict = true,
): readonly OpResult[] {
  const { ops } = diffWith(kernel, desired)
  const watch = new Watch(desired, kernel.state.objects, ops)
  const done: string[] = []
  kernel.afterOp = (op, error) => {
    done.push(formatOp(op))
    if (strict && error !== undefined) assert.fail(`${error.message} at the end of\n${done.join('\n')}`)
    const faults = strict ? watch.faults(kernel.state, op) : []
    if (faults.length > 0) assert.fail(`${faults.join('\n')}\nat the end of\n${done.join('\n')}`)
  }
  try {
    return kernel.applyNow(ops)
  } finally {
    kernel.afterOp = undefined
  }
}

/** What is owned is what is desired, compared without the code under test. */
export function assertConverged(kernel: FakeKernel, desired: readonly KernelObject[]): void {
  const wanted = new Map(desired.map((object) => [identity(object), object]))
  const owned = kernel.owned.map((object) => {
    const peer = wanted.get(identity(object))
    if (object.kind !== 'peer' || peer?.kind !== 'peer' || peer.endpoint !== undefined) return object
    // Behind NAT by now: where it was is of no use, does no harm, and cannot be taken back in WireGuard.
    const { endpoint, ...rest } = object
    return endpoint === undefined ? object : rest
  })
  assert.deepEqual(comparable(owned), comparable(desired))
}

/** Objects by identity, as a kernel shows them. */
export function comparable(objects: readonly KernelObject[]): ReadonlyMap<string, unknown> {
  const entries = objects.map((object): readonly [string, unknown] => {
    const hidden = notShown[object.kind] ?? []
    const shown = Object.fromEntries(Object.entries(object).filter(([field]) => !hidden.includes(field)))
    return [identity(object), shown]
  })
  return new Map(entries.sort(([a], [b]) => (a < b ? -1 : 1)))
}

const notShown: { readonly [kind: string]: readonly string[] } = {
  peer: ['gateway', 'from', 'elsewhere', 'latestHandshake'],
  group: ['of'],
  sysctl: ['previous'],
  rule: ['protocol'],
}

/** All that is not ours, sysctls left out: those we write belong to the host. */
export function foreignText(kernel: FakeKernel): string {
  return JSON.stringify(kernel.foreign.filter(({ kind }) => kind !== 'sysctl'))
}
