/** What diff answers, as the lines that an operator would read. */
import { diff } from '../../agent/diff/diff.ts'
import type { KernelObject } from '../../agent/model/kernel-object.ts'
import { formatOp } from '../../agent/model/op-text.ts'

/** Unix time of the comparison. */
export const nowSeconds = 1763700000

/** Lines of the ops, keys shortened to the names they were made of. Throws where there are conflicts. */
export function lines(desired: readonly KernelObject[], seen: readonly KernelObject[]): readonly string[] {
  const { ops, conflicts } = diff(desired, seen, { nowSeconds })
  if (conflicts.length > 0) throw new Error(JSON.stringify(conflicts))
  return ops.map((op) => formatOp(op).replace(/([a-z0-9-]*?)0*A=/g, '<$1>'))
}
