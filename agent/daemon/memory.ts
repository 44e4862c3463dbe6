/**
 * What outlives the agent: documents in force and marks, handed to the last-known-good store as they come. It never holds up
 * a turn; what cannot be kept is said, and tried again with the next news.
 */
import { reasonOf } from '../errors.ts'
import type { Delivered } from '../model/document.ts'
import type { LastKnown } from '../registry/port.ts'
import type { Ledger } from '../trust/ledger.ts'
import { isRefusal, parseDocument } from '../trust/parse.ts'
import type { Clock } from './clock.ts'
import type { Events } from './event.ts'
import type { Tally } from './tally.ts'

export interface MemoryOptions {
  readonly store: LastKnown
  readonly ledger: Ledger
  readonly clock: Clock
  readonly events: Events
  readonly tally: Tally
}

/** The floor under the clock is kept this often, in ms: marks change rarely, and time always. */
const floorEveryMs = 3_600_000

export class Memory {
  readonly #options: MemoryOptions
  #unkept: Delivered[] = []
  #floorMs = 0
  #isTrouble = false

  constructor(options: MemoryOptions) {
    this.#options = options
  }

  /** Keeps what came into force. Returns at once. */
  keep(admitted: readonly Delivered[]): void {
    const { clock } = this.#options
    // Not by push(...): a function takes so many arguments, and a fabric has more documents.
    this.#unkept = [...this.#unkept, ...admitted]
    const { sureMs } = clock.now()
    const isDue = sureMs - this.#floorMs >= floorEveryMs
    if (this.#unkept.length === 0 && !isDue) return
    this.#floorMs = isDue ? sureMs : this.#floorMs
    this.#write().then(
      () => {
        this.#isTrouble = false
      },
      (error: unknown) => {
        this.#complain(error)
      },
    )
  }

  async #write(): Promise<void> {
    const { store, ledger } = this.#options
    const documents = this.#unkept
    this.#unkept = []
    try {
      await store.append(documents)
      await store.saveMarks(ledger.marks(), this.#floorMs)
      if (store.isGrown) {
        await store.rewrite((document) => {
          const signed = parseDocument(document)
          return !isRefusal(signed) && ledger.isWanted(signed)
        })
      }
    } catch (error) {
      this.#unkept = [...documents, ...this.#unkept]
      throw error
    }
  }

  #complain(error: unknown): void {
    const { events, tally } = this.#options
    const { object, reason } = reasonOf(error, 'last-known-good store')
    tally.error('memory')
    if (this.#isTrouble) return
    this.#isTrouble = true
    const next = 'make room in the state directory: without it, a start needs the registry'
    events.emit('error', 'documents-not-kept', { object, reason, next })
  }
}
