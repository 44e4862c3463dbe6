/** That more comes than is taken in, or kept: an event of each a minute, while it goes on. */
import type { Events } from './event.ts'

const everyMs = 60_000
const deferredNext = {
  next: 'more changes than a gateway takes in at once: linkspan registry watch shows who writes them',
}
const droppedNext = {
  next: 'more documents of strangers than are kept: each is judged again when the registry delivers it again',
}

export class BacklogTelling {
  readonly #events: Events
  readonly #now: () => number
  readonly #deferred = { told: 0, atMs: -Infinity }
  readonly #dropped = { untold: 0, atMs: -Infinity }

  /** `now`: ms that never go back. */
  constructor(events: Events, now: () => number) {
    this.#events = events
    this.#now = now
  }

  /** `total`: how often a document had to wait so far. */
  deferred({ waiting, total }: { readonly waiting: number; readonly total: number }): void {
    const atMs = this.#now()
    if (total === this.#deferred.told || atMs - this.#deferred.atMs < everyMs) return
    const times = total - this.#deferred.told
    Object.assign(this.#deferred, { told: total, atMs })
    this.#events.emit('warning', 'documents-deferred', { times, waiting, ...deferredNext })
  }

  /** `count`: so many more documents that waited are no longer kept. */
  dropped(count: number): void {
    this.#dropped.untold += count
    const atMs = this.#now()
    const times = this.#dropped.untold
    if (times === 0 || atMs - this.#dropped.atMs < everyMs) return
    Object.assign(this.#dropped, { untold: 0, atMs })
    this.#events.emit('warning', 'documents-dropped', { times, ...droppedNext })
  }
}
