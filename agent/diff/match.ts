/**
 * Is all as desired? The question an audit asks, and nearly always the answer is yes. diff needs the whole observed state at
 * once to answer no in full; for yes it is enough to see the observed objects pass by, and to keep none of them.
 *
 * What is there and not ours is counted by name: as long as the same strangers stand around as at the last diff, they are
 * no news.
 */
import { keyOf } from '../model/kernel-object.ts'
import type { KernelObject } from '../model/kernel-object.ts'
import type { DiffContext } from './diff.ts'
import { isEqual } from './equal.ts'
import { KeyedState } from './keyed.ts'
import { isOurs } from './ownership.ts'

/** Objects between two yields. */
const step = 2000

export class Match {
  readonly #wanted = new KeyedState()
  readonly #nowSeconds: number
  readonly #strangers: string[] = []
  #missing = 0
  #isDrifted = false

  constructor({ nowSeconds }: DiffContext) {
    this.#nowSeconds = nowSeconds
  }

  /** Takes in the desired state, before anything is seen. */
  *want(desired: Iterable<KernelObject>): Generator<void, void> {
    for (const object of desired) {
      this.#wanted.set(object)
      if (++this.#missing % step === 0) yield
    }
  }

  /** Takes in a part of the observed state. */
  *see(observed: readonly KernelObject[]): Generator<void, void> {
    let count = 0
    for (const object of observed) {
      this.#one(object)
      if (++count % step === 0) yield
    }
  }

  /** Somebody changed something: only diff tells what to do. */
  get isDrifted(): boolean {
    return this.#isDrifted || this.#missing > 0
  }

  /** What was there and not ours, as one text. */
  get strangers(): string {
    return this.#strangers.sort().join('\n')
  }

  #one(object: KernelObject): void {
    if (object.kind !== 'sysctl' && !isOurs(object)) {
      this.#strangers.push(`${object.kind} ${keyOf(object)}`)
      return
    }
    const wanted = this.#wanted.of(object.kind).take(object)
    if (wanted === undefined) {
      // A sysctl that we never wrote is nobody's business.
      if (object.kind !== 'sysctl' || object.previous !== undefined) this.#isDrifted = true
      return
    }
    this.#missing--
    if (!isEqual(wanted, object, this.#nowSeconds)) this.#isDrifted = true
  }
}
