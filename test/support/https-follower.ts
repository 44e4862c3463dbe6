/** Bundles without meaning, and a reader of what an https registry says of them, bag by bag. */
import type { Test } from 'tap'
import { formatReason } from '../../agent/errors.ts'
import type { Bag } from '../../agent/model/document.ts'
import { encodeBundle } from '../../agent/registry/bundle.ts'
import { HttpsRegistry } from '../../agent/registry/https.ts'
import type { HttpsRegistryOptions } from '../../agent/registry/https.ts'

const patienceMs = 20_000

/** Polls without pause for thought. */
export const quickTimes = {
  pollMs: 20,
  returnMs: 200,
  leastBackoffMs: 10,
  mostBackoffMs: 40,
  mostRetryAfterMs: 100,
}

/** The driver does not look into documents. */
function documentOf(text: string): string {
  return (
    [`{"alg":"EdDSA"}`, text, 'signature'].map((part) => Buffer.from(part).toString('base64url')).join('.') +
    '\n'
  )
}

export function bundleOf(...texts: readonly string[]): Buffer {
  return encodeBundle(
    texts.map((text) => ({ name: `records/${text}.jws`, bytes: Buffer.from(documentOf(text)) })),
  )
}

/** Reads a watch to its end, and hands out its bags one by one. */
export class Follower {
  readonly registry: HttpsRegistry
  readonly #stop = new AbortController()
  readonly #bags: Bag[] = []
  readonly #done: Promise<void>
  #isDone = false
  #wake: (() => void) | undefined

  constructor(t: Test, urls: readonly string[], options: HttpsRegistryOptions) {
    this.registry = new HttpsRegistry(urls, options)
    this.#done = this.#read()
    t.teardown(() => this.close())
  }

  /** The next bag; undefined where none comes in time, and at the end. */
  async next(timeoutMs = patienceMs): Promise<Bag | undefined> {
    if (this.#bags.length === 0 && !this.#isDone) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, timeoutMs)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
    return this.#bags.shift()
  }

  /** Ends the watch; resolves when it has ended. */
  async close(): Promise<void> {
    this.#stop.abort()
    await this.#done
  }

  async #read(): Promise<void> {
    try {
      for await (const bag of this.registry.watch(this.#stop.signal)) {
        this.#bags.push(bag)
        this.#wake?.()
      }
    } finally {
      this.#isDone = true
      this.#wake?.()
    }
  }

  /** The first bag that fits, and the ones before it. */
  async until(fits: (bag: Bag) => boolean): Promise<{ readonly bag: Bag; readonly skipped: readonly Bag[] }> {
    for (const skipped: Bag[] = []; ;) {
      const bag = await this.next()
      if (bag === undefined) throw new Error(`no such bag after ${JSON.stringify(skipped.map(saidBy))}`)
      if (fits(bag)) return { bag, skipped }
      skipped.push(bag)
    }
  }
}

/** What the documents of a bag are called; says so of those that were altered. */
export function namesOf(bag: Bag | undefined): readonly string[] {
  return (bag?.documents ?? []).map(({ origin, bytes }) => {
    const name = /^https:records\/(.+)\.jws$/.exec(origin)?.[1] ?? origin
    return Buffer.from(bytes).toString() === documentOf(name) ? name : `${name}, altered`
  })
}

export function saidBy(bag: Bag): string {
  return bag.unreadable.map(formatReason).join('\n')
}
