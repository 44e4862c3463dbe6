/**
 * From a command line to an exit code. Results go to stdout, messages to stderr, one line each.
 *
 * `agent` and `status` in their plain spellings go past the table of commands: one starts many times a day, the other should
 * answer in 0.2 s.
 */
import { formatReason, reasonOf } from '../errors.ts'
import { runAgent } from './agent.ts'
import { exitCodeOf } from './exit-code.ts'
import { plainAgent, plainStatus } from './plain.ts'

/** Runs it and sets `process.exitCode`; never rejects. */
export async function enter(line: readonly string[]): Promise<void> {
  try {
    await carryOut(line)
  } catch (error) {
    process.stderr.write(`linkspan: ${formatReason(reasonOf(error, 'linkspan'))}\n`)
    process.exitCode = exitCodeOf(error)
  }
}

async function carryOut(line: readonly string[]): Promise<void> {
  const status = plainStatus(line)
  if (status !== undefined) {
    await (await import('./status.ts')).showStatus(status)
    return
  }
  const agent = plainAgent(line)
  if (agent !== undefined) {
    await runAgent(agent)
    return
  }
  await (await import('./command-line.ts')).runCommandLine(line)
}
