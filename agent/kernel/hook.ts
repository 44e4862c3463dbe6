/** Hooks: programs of the operator's own, run with the exec of everything else, and believed less. */
import { LinkspanError } from '../errors.ts'
import type { Exec } from './exec.ts'

export interface HookRun {
  /** On its stdin. */
  readonly input: string
  /** Besides PATH and LC_ALL. */
  readonly environment: Readonly<Record<string, string>>
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

/** Of what it prints, the last so many characters are of interest. */
const keptCharacters = 1000

/**
 * Runs it to its end; the last line it printed. It is killed with all that it began: when it takes too long, when the signal
 * aborts, and what it leaves running at its end. Throws LinkspanError `exec`, or the signal's reason.
 */
export async function runHook(exec: Exec, program: string, run: HookRun): Promise<string> {
  let tail = ''
  try {
    for await (const piece of exec.stream(program, [], { ...run, object: `hook ${program}`, group: true })) {
      tail = (tail + piece).slice(-keptCharacters)
    }
  } catch (error) {
    if (!(error instanceof LinkspanError) || error.next === undefined) throw error
    const { code, object, reason } = error
    const next = `see that ${program} is there, and may be executed`
    throw new LinkspanError({ code, object, reason, next }, { cause: error })
  }
  return tail.trim().split('\n').at(-1)?.trim() ?? ''
}
