/**
 * An op: one change to one kernel object. Ops are produced by diff in an order in which every prefix of the list is a
 * valid state, and are carried out by the driver, which answers with one result each.
 */
import type { Reason } from '../errors.ts'
import type { KernelObject } from './kernel-object.ts'

export type Op =
  | { readonly verb: 'add'; readonly object: KernelObject }
  | { readonly verb: 'replace'; readonly object: KernelObject; readonly before: KernelObject }
  | { readonly verb: 'remove'; readonly object: KernelObject }

/** Absent error: done (or found done already). */
export interface OpResult {
  readonly op: Op
  readonly error?: Reason
}

export function resultOf(op: Op, error: Reason | undefined): OpResult {
  return error === undefined ? { op } : { op, error }
}
