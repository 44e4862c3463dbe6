/**
 * News on their way out, until somebody takes them as a bag. What a slow reader has not taken yet is merged: of each key
 * only the last word counts, so the outbox never holds more than the registry does.
 */
import type { Reason } from '../errors.ts'
import type { Bag, Delivered } from '../model/document.ts'

/** Documents put into a bag between two chances for the event loop. */
const step = 4096

export class EtcdOutbox {
  #documents = new Map<string, Uint8Array>()
  #gone = new Set<string>()
  #complete = false
  #due = false
  /** Keys that cannot be read; asked once a bag. */
  #refused: () => readonly Reason[] = () => []
  #unreachable: readonly Reason[] = []
  #told = '[]'
  #isRoused = false
  #wake: (() => void) | undefined
  readonly #signal: AbortSignal

  constructor(signal: AbortSignal) {
    this.#signal = signal
    signal.addEventListener('abort', () => this.#wake?.(), { once: true })
  }

  /** All there is, by origin: what came before is void. The map is the outbox's from now on. */
  all(documents: Map<string, Uint8Array>, refused: () => readonly Reason[]): void {
    this.#documents = documents
    this.#gone.clear()
    this.#complete = true
    this.#refused = refused
    this.checked()
  }

  put(origin: string, document: Uint8Array): void {
    this.#gone.delete(origin)
    this.#documents.set(origin, document)
    this.rouse()
  }

  remove(origin: string): void {
    this.#documents.delete(origin)
    this.#gone.add(origin)
    this.rouse()
  }

  /** Everything was held against the registry just now: worth a bag, though nothing may be new. */
  checked(): void {
    this.#due = true
    this.unreachable([])
  }

  /** Why the registry itself cannot be read; none: it can. */
  unreachable(reasons: readonly Reason[]): void {
    this.#unreachable = reasons
    this.rouse()
  }

  /**
   * A bag of all that is here; undefined where there is nothing to say that was not said. With a yield every few thousand
   * documents: what comes in between is for the next bag.
   */
  *take(): Generator<void, Bag | undefined> {
    const unreadable = [...this.#unreachable, ...this.#refused()]
    const told = JSON.stringify(unreadable)
    if (!this.#due && told === this.#told && this.#documents.size === 0 && this.#gone.size === 0)
      return undefined
    const [taken, lost, complete] = [this.#documents, this.#gone, this.#complete]
    this.#documents = new Map()
    this.#gone = new Set()
    this.#complete = this.#due = false
    this.#told = told
    const documents: Delivered[] = []
    for (const [origin, bytes] of taken) if (documents.push({ origin, bytes }) % step === 0) yield
    if (complete) return { documents, complete, unreadable }
    const gone: string[] = []
    for (const origin of lost) if (gone.push(origin) % step === 0) yield
    return { documents, complete, gone, unreadable }
  }

  /** Until something was put here since the last call, or the signal aborts. */
  async wait(): Promise<void> {
    if (!this.#isRoused && !this.#signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    this.#isRoused = false
  }

  /** Somebody should look. */
  rouse(): void {
    this.#isRoused = true
    this.#wake?.()
  }
}
