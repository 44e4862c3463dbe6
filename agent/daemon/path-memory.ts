/**
 * How paths stood when the last agent ended, in the run directory. A restarted agent goes by it until its own probes know
 * better, so that it does not send traffic to a gateway that is down just because it has not looked yet. A reboot clears it.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { parsePublicKey } from '../model/key.ts'
import { standings } from '../model/path-state.ts'
import type { Standing } from '../model/path-state.ts'
import type { Remembered } from '../probe/table.ts'

const known: readonly unknown[] = standings

export class PathMemory {
  readonly #file: string

  constructor(runDirectory: string) {
    this.#file = path.join(runDirectory, 'paths.json')
  }

  /** Empty where there is no file, or none that can be read: then every path counts as fit, as after a reboot. */
  read(): Remembered {
    try {
      const saved: unknown = JSON.parse(readFileSync(this.#file, 'utf8'))
      const { standings, proven } = saved as Record<string, unknown>
      const stood = typeof standings === 'object' && standings !== null ? Object.entries(standings) : []
      const heard = typeof proven === 'object' && proven !== null ? Object.entries(proven) : []
      return {
        standings: new Map(stood.filter((entry): entry is [string, Standing] => known.includes(entry[1]))),
        proven: new Map(
          heard.flatMap(([id, key]) => {
            const publicKey = typeof key === 'string' ? parsePublicKey(key) : undefined
            return publicKey === undefined ? [] : [[id, publicKey] as const]
          }),
        ),
      }
    } catch {
      return { standings: new Map(), proven: new Map() }
    }
  }

  /** No fsync: it means nothing after a reboot. Throws as node:fs does. */
  write({ standings, proven }: Remembered): void {
    const text = JSON.stringify({
      standings: Object.fromEntries(standings),
      proven: Object.fromEntries(proven),
    })
    writeFileSync(`${this.#file}.next`, text, { mode: 0o600 })
    renameSync(`${this.#file}.next`, this.#file)
  }
}
