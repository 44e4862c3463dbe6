/**
 * Canaries: targets on this gateway's own side that tell whether it forwards. A gateway may be up and answer probes while the
 * way into its site is gone; then it says so in every answer, and peers leave it. It fails when no target was reached several
 * times in a row, and is well again after two rounds in which one was.
 */
import { reasonOf } from '../errors.ts'
import type { CanaryTarget } from '../model/config.ts'
import type { Events } from './event.ts'

export type Reach = (target: CanaryTarget, timeoutMs: number) => Promise<boolean>

export interface CanaryOptions {
  readonly targets: readonly CanaryTarget[]
  readonly reach: Reach
  /** The verdict is another one. */
  readonly onChange: () => void
  readonly events: Events
  readonly everyMs?: number
}

const usualMs = 1000
const failsAfter = 3
const wellAfter = 2

export class Canary {
  readonly #options: CanaryOptions
  readonly #everyMs: number
  #timer: NodeJS.Timeout | undefined
  /** Rounds in a row that say otherwise than the verdict. */
  #against = 0
  #isFailed = false
  #isStopped = false
  #trouble = ''

  constructor(options: CanaryOptions) {
    this.#options = options
    this.#everyMs = options.everyMs ?? usualMs
    if (options.targets.length > 0) void this.#round()
  }

  /** True while no target can be reached. */
  get isFailed(): boolean {
    return this.#isFailed
  }

  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
  }

  async #round(): Promise<void> {
    const startedAt = performance.now()
    const { targets } = this.#options
    const reached = await Promise.all(targets.map((target) => this.#ask(target)))
    if (this.#isStopped) return
    this.#judge(reached.some((isReached) => isReached))
    this.#timer = setTimeout(
      () => void this.#round(),
      Math.max(0, startedAt + this.#everyMs - performance.now()),
    )
    this.#timer.unref()
  }

  /** What cannot be asked says nothing: it counts as reached, and is told once. */
  async #ask(target: CanaryTarget): Promise<boolean> {
    try {
      return await this.#options.reach(target, this.#everyMs)
    } catch (error) {
      const { object, reason, next } = reasonOf(error, `canary ${target.address}`)
      if (reason !== this.#trouble) {
        this.#trouble = reason
        this.#options.events.emit('error', 'canary-unusable', { object, reason, next })
      }
      return true
    }
  }

  #judge(isWell: boolean): void {
    this.#against = isWell === this.#isFailed ? this.#against + 1 : 0
    if (this.#against < (this.#isFailed ? wellAfter : failsAfter)) return
    this.#against = 0
    this.#isFailed = !this.#isFailed
    const targets = this.#options.targets.map(formatTarget).join(', ')
    if (this.#isFailed) {
      const next = 'peers use the other gateways of this site meanwhile: see the link to the site'
      this.#options.events.emit('error', 'canary-failed', { targets, next })
    } else this.#options.events.emit('notice', 'canary-well', { targets })
    this.#options.onChange()
  }
}

function formatTarget({ address, port }: CanaryTarget): string {
  if (port === undefined) return address
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}
