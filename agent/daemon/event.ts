/**
 * Events: what happened, as structure. One stream feeds the log line on stderr, `linkspan events` and the counters of
 * errors, so that they never tell different stories. The newest are kept in memory, in a ring.
 */

export type Level = 'error' | 'warning' | 'notice' | 'info' | 'debug'
export type Fields = Readonly<Record<string, string | number | boolean | undefined>>

export interface Event {
  /** Running number, from 1. */
  readonly id: number
  /** Unix ms, with fractions. */
  readonly at: number
  readonly level: Level
  /** A word or two with dashes, e.g. `pass`, `document-refused`. Stable: programs match it. */
  readonly event: string
  readonly fields: Fields
}

export type Sink = (event: Event) => void

const kept = 1000

export class Events {
  readonly #ring: Event[] = []
  readonly #sinks: readonly Sink[]
  #next = 1

  constructor(...sinks: readonly Sink[]) {
    this.#sinks = sinks
  }

  emit(level: Level, event: string, fields: Fields = {}): void {
    const entry: Event = {
      id: this.#next++,
      at: performance.timeOrigin + performance.now(),
      level,
      event,
      fields,
    }
    this.#ring.push(entry)
    if (this.#ring.length > 2 * kept) this.#ring.splice(0, kept)
    for (const sink of this.#sinks) sink(entry)
  }

  /** The newest events after that id, oldest first, at most 1,000. */
  since(id: number): readonly Event[] {
    return this.#ring.filter((event) => event.id > id).slice(-kept)
  }
}
