/** Turns: one piece of work after the other, whatever becomes of the one before; each is watched for stalls. */
import { reasonOf } from '../errors.ts'
import type { Reason } from '../errors.ts'
import type { Stall } from './stall.ts'

export class Turns {
  readonly #stall: Stall
  #last: Promise<unknown> = Promise.resolve()

  constructor(stall: Stall) {
    this.#stall = stall
  }

  /** Does the work when its turn has come; resolves or rejects as the work does. */
  take<T>(work: () => Promise<T>): Promise<T> {
    const watched = async (): Promise<T> => {
      this.#stall.begin()
      try {
        return await work()
      } finally {
        this.#stall.end()
      }
    }
    const turn = this.#last.then(watched, watched)
    this.#last = turn.catch((error: unknown): Reason => reasonOf(error, 'turn')) // whoever asked has it
    return turn
  }
}
