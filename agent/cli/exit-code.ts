/** Exit codes, the same for every command (DESIGN "Interfaces"): programs branch on them. */
import { errnoOf, LinkspanError } from '../errors.ts'
import type { ErrorCode } from '../errors.ts'

export const exitCode = {
  ok: 0,
  failed: 1,
  /** Command line, configuration or document. */
  usage: 2,
  degraded: 3,
  /** The agent does not answer. */
  unreachable: 4,
  permission: 5,
  /** `plan --exit-code`: there is something to do. */
  pending: 6,
} as const

const byErrorCode: Partial<Record<ErrorCode, number>> = {
  'config-invalid': exitCode.usage,
  'document-invalid': exitCode.usage,
  usage: exitCode.usage,
  'not-running': exitCode.unreachable,
  permission: exitCode.permission,
}

export function exitCodeOf(error: unknown): number {
  if (error instanceof LinkspanError) return byErrorCode[error.code] ?? exitCode.failed
  const code = errnoOf(error)
  return code === 'EACCES' || code === 'EPERM' ? exitCode.permission : exitCode.failed
}
