/**
 * What outlives the agent: documents in force and marks, handed to the last-known-good store as they come. It never holds up
 * a turn; what cannot be kept is said, and tried again with the next news, and soon without any.
 */
import { reasonOf } from '../errors.ts'
import type { Delivered } from '../model/document.ts'
import type { LastKnown } from '../registry/port.ts'
import type { Ledger } from '../trust/ledger.ts'
import { isRefusal, parseDocument } from '../trust/parse.ts'
import type { Clock } from './clock.ts'
import type { Events } from './event.ts'
import type { Tally } from './tally.ts'
import type { Trouble } from './trouble.ts'

export interface MemoryOptions {
  readonly store: LastKnown
  readonly ledger: Ledger
  readonly clock: Clock
  readonly events: Events
  readonly tally: Tally
}

/** The floor under the clock is kept this often, in ms: marks change rarely, and time always. */
const floorEveryMs = 3_600_000
/** A disk that failed is tried again after so many ms. */
const againMs = 5000

export class Memory {
  readonly #options: MemoryOptions
  #unkept: Delivered[] = []
  #floorMs = 0
  #trouble: Trouble | undefined
  #again: NodeJS.Timeout | undefined

  constructor(options: MemoryOptions) {
    this.#options = options
  }

  /** Why what came into force is not kept; undefined: it is. */
  get trouble(): Trouble | undefined {
    return this.#trouble
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
    this.#try()
  }

  #try(): void {
    clearTimeout(this.#again)
    this.#write().then(
      () => {
        this.#relax()
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

  #relax(): void {
    if (this.#trouble === undefined) return
    clearTimeout(this.#again)
    const { times } = this.#trouble
    this.#trouble = undefined
    this.#options.events.emit('notice', 'documents-kept', { failures: times })
  }

  #complain(error: unknown): void {
    const { events, tally } = this.#options
    const { code, object, reason } = reasonOf(error, 'last-known-good store')
    const next =
      'make room in the state directory, or see to its disk: without it, a start needs the registry'
    tally.error('memory')
    if (this.#trouble === undefined) events.emit('error', 'documents-not-kept', { object, reason, next })
    const { sinceMs = Date.now(), times = 0 } = this.#trouble ?? {}
    this.#trouble = { code, object, reason, next, sinceMs, times: times + 1 }
    clearTimeout(this.#again)
    this.#again = setTimeout(() => {
      this.#try()
    }, againMs).unref()
  }
}
