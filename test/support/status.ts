/** `status --json` without a process for it, which in an emulated guest takes seconds. */
import { ask } from '../../agent/cli/client.ts'
import type { Status } from '../../agent/daemon/status.ts'
import { LinkspanError } from '../../agent/errors.ts'

/** Undefined where no agent answers. */
export async function statusOf(runDirectory: string): Promise<Status | undefined> {
  try {
    return (await ask(runDirectory, '/status')) as Status
  } catch (error) {
    if (error instanceof LinkspanError && error.code === 'not-running') return undefined
    throw error
  }
}
