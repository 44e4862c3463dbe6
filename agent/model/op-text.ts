import { keyOf } from './kernel-object.ts'
import type { KernelObject } from './kernel-object.ts'
import type { Op } from './op.ts'
export function formatObject(object: KernelObject): string {
  return `${object.kind} ${keyOf(object)}`
}
export function formatOp(op: Op): string {
  return `${op.verb} ${formatObject(op.object)}`
}
