/**
 * Taking this gateway out of service. While it drains, its probes and its record say so, peers move their traffic to the
 * site's other gateways, and what still comes is forwarded as before. Kept in the run directory: it outlives the agent, for
 * an upgrade, and ends with a reboot.
 */
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { LinkspanError } from '../errors.ts'

export class Drain {
  readonly #file: string
  #isOn: boolean

  constructor(runDirectory: string) {
    this.#file = path.join(runDirectory, 'draining')
    this.#isOn = existsSync(this.#file)
  }

  get isOn(): boolean {
    return this.#isOn
  }

  /** True where that is new. Throws `state-unreadable` where it cannot be kept, and then nothing changes. */
  set(on: boolean): boolean {
    if (on === this.#isOn) return false
    try {
      if (on) writeFileSync(this.#file, '', { mode: 0o600 })
      else rmSync(this.#file, { force: true })
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      throw new LinkspanError({ code: 'state-unreadable', object: this.#file, reason }, { cause: error })
    }
    this.#isOn = on
    return true
  }
}
