/**
 * How paths stood when the last agent ended, in the run directory. A restarted agent goes by it until its own probes know
 * better, so that it does not send traffic to a gateway that is down just because it has not looked yet. A reboot clears it.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { standings } from '../model/path-state.ts'
import type { Standing } from '../model/path-state.ts'

const known: readonly unknown[] = standings

export class PathMemory {
  readonly #file: string

  constructor(runDirectory: string) {
    this.#file = path.join(runDirectory, 'paths.json')
  }

  /** By path; empty where there is no file, or none that can be read: then every path counts as fit, as after a reboot. */
  read(): ReadonlyMap<string, Standing> {
    try {
      const saved: unknown = JSON.parse(readFileSync(this.#file, 'utf8'))
      if (typeof saved !== 'object' || saved === null) return new Map()
      return new Map(Object.entries(saved).filter(([, standing]) => known.includes(standing))) as Map<
        string,
        Standing
      >
    } catch {
      return new Map()
    }
  }

  /** No fsync: it means nothing after a reboot. Throws as node:fs does. */
  write(unfit: ReadonlyMap<string, Standing>): void {
    writeFileSync(`${this.#file}.next`, JSON.stringify(Object.fromEntries(unfit)), { mode: 0o600 })
    renameSync(`${this.#file}.next`, this.#file)
  }
}
