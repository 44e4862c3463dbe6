/**
 * The summary of `status`, for systemd (`systemctl status`). All that changes it at once is an event: ten seconds later at
 * most it is told. The rest, handshakes that grow old, may wait a minute: to see them a program is run (`wg`), and that each
 * ten seconds would cost an idle agent more than all else it does.
 */
import type { Events } from './event.ts'
import type { Notifier } from './notify.ts'
import type { StatusView } from './status.ts'

export const lookMs = 10_000
export const leastEveryMs = 60_000

export class StatusTelling {
  readonly #view: Pick<StatusView, 'status'>
  readonly #notifier: Pick<Notifier, 'status'>
  readonly #events: Events
  /** Id of the last event that was taken into account. */
  #seen = 0
  #toldAt = -Infinity

  constructor(view: Pick<StatusView, 'status'>, notifier: Pick<Notifier, 'status'>, events: Events) {
    this.#view = view
    this.#notifier = notifier
    this.#events = events
  }

  /** Tells from now on; answers what ends it. */
  start(): () => void {
    const timer = setInterval(() => {
      void this.#look()
    }, lookMs)
    return () => {
      clearInterval(timer)
    }
  }

  async #look(): Promise<void> {
    const news = this.#events.since(this.#seen)
    this.#seen = news.at(-1)?.id ?? this.#seen
    const now = performance.now()
    if (!news.some(({ level }) => level !== 'debug') && now - this.#toldAt < leastEveryMs) return
    this.#toldAt = now
    try {
      const { summary } = await this.#view.status()
      this.#notifier.status(summary)
    } catch {
      // Whatever fails there fails in a turn, too, and is told.
    }
  }
}
