/**
 * How paths stood when the last agent ended, in the run directory. A restarted agent goes by it until its own probes know
 * better, so that it does not send traffic to a gateway that is down just because it has not looked yet. A reboot clears it.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { parsePublicKey } from '../model/key.ts'
import { standings } from '../model/path-state.ts'
import type { Standing } from '../model/path-state.ts'
import { nothingRemembered } from '../probe/known-paths.ts'
import type { Remembered } from '../probe/known-paths.ts'
import { smallest } from '../probe/mtu.ts'
import { largestTrial } from '../probe/port.ts'

function isMtu(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) >= smallest && Number(value) <= largestTrial
}

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
      const { standings, proven, mtus } = saved as Record<string, unknown>
      const stood = typeof standings === 'object' && standings !== null ? Object.entries(standings) : []
      const heard = typeof proven === 'object' && proven !== null ? Object.entries(proven) : []
      const lowered = typeof mtus === 'object' && mtus !== null ? Object.entries(mtus) : []
      return {
        mtus: new Map(lowered.filter((entry): entry is [string, number] => isMtu(entry[1]))),
        standings: new Map(stood.filter((entry): entry is [string, Standing] => known.includes(entry[1]))),
        proven: new Map(
          heard.flatMap(([id, key]) => {
            const publicKey = typeof key === 'string' ? parsePublicKey(key) : undefined
            return publicKey === undefined ? [] : [[id, publicKey] as const]
          }),
        ),
      }
    } catch {
      return nothingRemembered
    }
  }

  /** No fsync: it means nothing after a reboot. Throws as node:fs does. */
  write({ standings, proven, mtus }: Remembered): void {
    const text = JSON.stringify({
      standings: Object.fromEntries(standings),
      proven: Object.fromEntries(proven),
      mtus: Object.fromEntries(mtus),
    })
    writeFileSync(`${this.#file}.next`, text, { mode: 0o600 })
    renameSync(`${this.#file}.next`, this.#file)
  }
}
