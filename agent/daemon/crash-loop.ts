/**
 * What keeps an agent that crashes again and again from doing harm. A process that ends by an error of its own leaves the
 * time in the run directory. After three such deaths in a row the next start waits, longer each time; from the sixth on
 * it only looks, so that whatever kills it between two writes can leave no more half-done work. A minute of life, or a
 * stop by hand, and the past is forgotten. The data plane stays throughout. Being killed from outside is no crash.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Kernel } from '../kernel/port.ts'

const file = 'crashes.json'
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
}

export class CrashLoop {
  readonly #file: string

  /** The run directory is emptied by a reboot: then all begins anew. */
  constructor(runDirectory: string) {
    this.#file = path.join(runDirectory, file)
  }

  get start(): Start {
    const crashes = this.#crashes()
    return {
      crashes,
      waitMs: crashes < patience ? 0 : Math.min(longestWaitMs, 1000 * 2 ** (crashes - patience)),
      hold: crashes >= holdAfter,
    }
  }

  /** For the process's `exit` event, in which nothing can be awaited. */
  crashed(): void {
    mkdirSync(path.dirname(this.#file), { recursive: true, mode: 0o750 })
    writeFileSync(this.#file, JSON.stringify({ crashes: this.#crashes() + 1 }))
  }

  forget(): void {
    rmSync(this.#file, { force: true })
  }

  #crashes(): number {
    try {
      const content: unknown = JSON.parse(readFileSync(this.#file, 'utf8'))
      const crashes = (content as { readonly crashes?: unknown }).crashes
      return typeof crashes === 'number' ? crashes : 0
    } catch {
      return 0 // none yet, or torn by the crash it was to tell of: then the count begins anew
    }
  }
}

/** A kernel that is looked at and not touched: every op comes back with the reason. */
export function held(kernel: Kernel, crashes: number): Kernel {
  const error = {
    code: 'internal' as const,
    object: 'agent',
    reason: `held back: the agent crashed ${crashes} times in a row`,
    next: 'see its log; `systemctl restart linkspan` tries again',
  }
  return {
    facts: (routesOf, signal) => kernel.facts(routesOf, signal),
    observe: (wanted, signal) => kernel.observe(wanted, signal),
    firewallUnchanged: (signal) => kernel.firewallUnchanged(signal),
    changes: (signal) => kernel.changes(signal),
    close: () => kernel.close(),
    apply: (ops) => Promise.resolve(ops.map((op) => ({ op, error }))),
  }
}
