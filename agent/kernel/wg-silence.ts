/**
 * Processes that do not answer. wireguard-go may be stopped, or hang; whatever is asked of it then waits, and all others
 * would wait with it. So each is asked for a sign of life first. One that gives none in time counts as silent until that
 * same request is answered after all, or its socket is closed: meanwhile nothing else is asked of it.
 */
import type { Reason } from '../errors.ts'
import { answered } from './wg-socket.ts'

/** An answer takes less than a millisecond; with all its peers listed at once and a busy machine, some hundred. */
const patienceMs = 2500

export class Silence {
  readonly #silent = new Set<string>()
  readonly #asked = new Map<string, Promise<boolean>>()
  readonly #onEnd: () => void

  /** `onEnd`: one that was silent answered, or ended. */
  constructor(onEnd: () => void = () => undefined) {
    this.#onEnd = onEnd
  }

  /** Why nothing can be asked of the device's process; undefined where it answers, or is not there to be asked. */
  async of(device: string): Promise<Reason | undefined> {
    return this.#silent.has(device) || (await this.#ask(device)) ? reasonOfSilence(device) : undefined
  }

  /** Asks; true where nothing came in time. Who asks meanwhile gets the same answer. */
  #ask(device: string): Promise<boolean> {
    const asked = this.#asked.get(device) ?? this.#wait(device)
    this.#asked.set(device, asked)
    return asked
  }

  #wait(device: string): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#silent.add(device)
        resolve(true)
      }, patienceMs)
      void answered(device).then(() => {
        clearTimeout(timer)
        this.#asked.delete(device)
        if (this.#silent.delete(device)) this.#onEnd()
        resolve(false)
      })
    })
  }
}

function reasonOfSilence(device: string): Reason {
  return {
    code: 'exec',
    object: `wg ${device}`,
    reason: `wireguard-go did not answer in ${patienceMs} ms`,
    next: `see whether the process "wireguard-go ${device}" is stopped or hangs; where it stays so, end it: it is made anew`,
  }
}
