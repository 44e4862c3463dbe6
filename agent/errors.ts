/**
 * Errors people and programs can act on.
 *
 * Every error of linkspan has a stable `code` (branch on it, never on the message), the object it is about, the reason,
 * and what to do next. Expected outcomes (a refused document, a failed op) are values that carry the same four words;
 * only what the caller did not ask about is thrown. No error ever holds key material.
 */

/** Stable codes. A code is never renamed or reused; new ones are added. */
export type ErrorCode =
  | 'config-invalid' // a file or document a person wrote is wrong: exit code 2
  | 'usage' // a command line is wrong: exit code 2
  | 'document-invalid'
  | 'registry-unreadable'
  | 'conflict' // a name, id or priority we need is taken by somebody else
  | 'netlink' // the kernel refused a message
  | 'exec' // a program we ran failed
  | 'unsupported' // the kernel or a tool lacks a feature
  | 'already-running' // another agent owns this network namespace
  | 'not-running' // the daemon does not answer: exit code 4
  | 'permission' // exit code 5
  | 'state-unreadable' // our own state directory
  | 'internal'

/** What every error and every refusal says. */
export interface Reason {
  readonly code: ErrorCode
  /** What it is about: a file and place, a gateway, a kernel object as `ip` would name it. */
  readonly object: string
  /** Why, in one sentence without a trailing stop. */
  readonly reason: string
  /** What the operator can do. */
  readonly next?: string
}

export class LinkspanError extends Error implements Reason {
  override readonly name = 'LinkspanError'
  readonly code: ErrorCode
  readonly object: string
  readonly reason: string
  readonly next?: string

  constructor(reason: Reason, options?: { cause?: unknown }) {
    super(formatReason(reason), options)
    this.code = reason.code
    this.object = reason.object
    this.reason = reason.reason
    if (reason.next !== undefined) this.next = reason.next
  }
}

/** `object: reason (next)`, the one text form of an error. */
export function formatReason({ object, reason, next }: Reason): string {
  return `${object}: ${reason}${next === undefined ? '' : ` (${next})`}`
}

/** Any thrown value as a Reason, for places that record instead of throwing. */
export function reasonOf(thrown: unknown, object: string): Reason {
  if (thrown instanceof LinkspanError) return thrown
  return { code: 'internal', object, reason: thrown instanceof Error ? thrown.message : String(thrown) }
}

/** `ENOENT` and the like, where what was thrown has one. */
export function errnoOf(thrown: unknown): string | undefined {
  return thrown instanceof Error && 'code' in thrown ? String(thrown.code) : undefined
}
