/**
 * What keeps an agent that crashes again and again from doing harm. Two rows are counted in the run directory:
 *
 * - errors: a process that ends by an error of its own says so when it exits;
 * - early ends: a start marks itself, and its first audit removes the marks. What ends before that without a word (a fault
 *   in native code, the watchdog, the kernel short of memory) leaves its mark behind. An agent killed after its first audit
 *   had done its work, and being killed from outside is then no crash.
 *
 * After three in a row the next start waits, longer each time; from the sixth on it only looks, so that whatever kills it
 * between two writes can leave no more half-done work. A minute of life, or a stop by hand, and the past is forgotten. The
 * data plane stays throughout.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { reasonOf } from '../errors.ts'
import type { Reason } from '../errors.ts'
import type { Kernel } from '../kernel/port.ts'
import { covered } from './kernel-cover.ts'

const files = { errors: 'crashes.json', early: 'starts.json' } as const
type Row = keyof typeof files
/** A life this long, in ms, ends a crash loop. */
export const longLifeMs = 60_000
const patience = 3
const holdAfter = 6
const longestWaitMs = 30_000

export interface Start {
  /** Crashes in a row before this start. */
  readonly crashes: number
  /** How long to wait before anything is done. */
  readonly waitMs: number
  /** Look, and write nothing. */
  readonly hold: boolean
  /** Why this start is not counted: the run directory cannot be written. */
  readonly uncounted?: string
}

export class CrashLoop {
  readonly #directory: string
  #isHeld = false

  /** The run directory is emptied by a reboot: then all begins anew. */
  constructor(runDirectory: string) {
    this.#directory = runDirectory
  }

  /** Once a process: how this start has to behave. It counts as an early end until settled(), forget() or a reboot. */
  begin(): Start {
    const early = this.#count('early')
    const crashes = Math.max(this.#count('errors'), early)
    this.#isHeld = crashes >= holdAfter
    const uncounted = this.#write('early', early + 1)
    return {
      crashes,
      waitMs: crashes < patience ? 0 : Math.min(longestWaitMs, 1000 * 2 ** (crashes - patience)),
      hold: this.#isHeld,
      ...(uncounted === undefined ? {} : { uncounted }),
    }
  }

  /** The first audit is done. One that was held back wrote nothing and proves nothing. */
  settled(): void {
    if (!this.#isHeld) rmSync(this.#file('early'), { force: true })
  }

  /** For the process's `exit` event, in which nothing can be awaited. */
  crashed(): void {
    this.#write('errors', this.#count('errors') + 1)
  }

  forget(): void {
    for (const row of ['errors', 'early'] as const) rmSync(this.#file(row), { force: true })
  }

  #file(row: Row): string {
    return path.join(this.#directory, files[row])
  }

  #count(row: Row): number {
    try {
      const content: unknown = JSON.parse(readFileSync(this.#file(row), 'utf8'))
      const { crashes } = content as { readonly crashes?: unknown }
      return typeof crashes === 'number' ? crashes : 0
    } catch {
      return 0 // none yet, or torn by the crash it was to tell of: then the count begins anew
    }
  }

  /** Why it was not written: a full disk must not keep an agent from starting. */
  #write(row: Row, crashes: number): string | undefined {
    try {
      mkdirSync(this.#directory, { recursive: true, mode: 0o750 })
      writeFileSync(this.#file(row), JSON.stringify({ crashes }))
      return undefined
    } catch (error) {
      return reasonOf(error, this.#file(row)).reason
    }
  }
}

/** Why an agent that crashed so often in a row writes nothing. */
export function holdReason(crashes: number): Reason {
  return {
    code: 'internal',
    object: 'agent',
    reason: `held back: the agent crashed ${crashes} times in a row`,
    next: 'see its log; `systemctl restart linkspan` tries again',
  }
}

/** A kernel that is looked at and not touched: every op comes back with the reason. */
export function held(kernel: Kernel, error: Reason): Kernel {
  return covered(kernel, { apply: (ops) => Promise.resolve(ops.map((op) => ({ op, error }))) })
}
