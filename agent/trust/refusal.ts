/**
 * Refusals: documents, or parts of documents, that do not enter the snapshot. They are values, made by rule and never by
 * time of arrival, and each says what, why, and what to do.
 */
import type { Reason } from '../errors.ts'
import type { RuleId } from './rulebook.ts'

export interface Refusal extends Reason {
  /** Where the document came from. */
  readonly origin: string
  /** Which rule of rule.ts. */
  readonly rule: RuleId
  readonly gateway?: string
  /** The source line and a caret, where the text of a document is at fault. */
  readonly excerpt?: string
}

/** Total order, so that the same documents always give the same list. */
export function compareRefusals(a: Refusal, b: Refusal): number {
  return (
    compareText(a.origin, b.origin) ||
    compareText(a.rule, b.rule) ||
    compareText(a.object, b.object) ||
    compareText(a.reason, b.reason) ||
    compareText(a.gateway ?? '', b.gateway ?? '') ||
    compareText(a.excerpt ?? '', b.excerpt ?? '') ||
    compareText(a.next ?? '', b.next ?? '')
  )
}

export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** Several lines: what and why, the source line with a caret, and what to do. */
export function formatRefusal({ object, reason, excerpt, next }: Refusal): string {
  const lines = [`${object}: ${reason}`]
  if (excerpt !== undefined) lines.push(excerpt)
  if (next !== undefined) lines.push(`  hint: ${next}`)
  return lines.join('\n')
}
