/**
 * What a registry in etcd holds, as far as we know: of every key the revision it was written at, of what cannot be read the
 * reason; no documents. It decides what is taken: a value of any length that is allowed, as long as all together stay
 * within bounds. What is above is unreadable by its key, and does not stop the rest.
 */
import type { Reason } from '../errors.ts'
import { originOf } from './etcd-key.ts'

export interface Limits {
  /** Of all documents of the registry together, in bytes. */
  readonly bagBytes: number
  /** Of one, in bytes. */
  readonly valueBytes: number
}

export interface Differences {
  readonly changed: readonly string[]
  readonly gone: readonly string[]
}

interface Known {
  readonly revision: number
  /** What it counts against the limit. */
  readonly bytes: number
  /** The document that was taken is part of it. */
  readonly isTaken: boolean
  /** Its present value is not taken. */
  readonly isRefused: boolean
}

/** A key costs memory, too, even with nothing in it. */
const keyBytes = 64
/** Longer than any key of ours: prefix, type, and a gateway's name of 63 characters. */
const mostNameBytes = 1024
/** Reasons that are told one by one; the rest is a number. */
const mostReasons = 100
/** Keys gone through between two chances for the event loop. */
const step = 4096

export class EtcdContent {
  readonly #prefix: string
  readonly #limits: Limits
  readonly #known = new Map<string, Known>()
  /** Of refused keys, as many as are told. */
  readonly #reasons = new Map<string, Reason>()
  #refused = 0
  #bytes = 0
  /** There are keys that are not even known by name. */
  #hasMore = false

  constructor(prefix: string, limits: Limits) {
    this.#prefix = prefix
    this.#limits = limits
  }

  /** A key has this value now; true where it is taken. `value` undefined: longer than an answer may be. */
  put(name: string, revision: number, value: Uint8Array | undefined): boolean {
    const before = this.#known.get(name)
    const room = this.#limits.bagBytes - this.#bytes + (before?.bytes ?? 0)
    const key = name.length + keyBytes
    if (name.length > mostNameBytes || key > room) {
      this.#hasMore = true
      return false
    }
    const reason =
      value === undefined || value.length > this.#limits.valueBytes
        ? this.#tooLong(name)
        : value.length + key > room
          ? this.#tooMuch(name)
          : undefined
    this.#forget(name)
    if (reason === undefined) {
      this.#add(name, { revision, bytes: key + (value?.length ?? 0), isTaken: true, isRefused: false })
      return true
    }
    // What was taken before stays in force, and counts.
    const isTaken = before?.isTaken === true
    this.#add(name, { revision, bytes: isTaken ? before.bytes : key, isTaken, isRefused: true })
    this.#refused++
    if (this.#reasons.size < mostReasons) this.#reasons.set(name, reason)
    return false
  }

  /** A key is gone; true where its document was taken. */
  remove(name: string): boolean {
    const isTaken = this.#known.get(name)?.isTaken === true
    this.#forget(name)
    return isTaken
  }

  /**
   * Held against all keys there are, by the revision each was written at: what must be read again, and what is gone. With a
   * yield every few thousand keys.
   */
  *differences(present: ReadonlyMap<string, number>): Generator<void, Differences> {
    // What was left out may fit now; a sliver of room is none.
    const hasRoom = this.#limits.bagBytes - this.#bytes > this.#limits.bagBytes / 64
    const changed: string[] = []
    const gone: string[] = []
    let hasMore = false
    let count = 0
    for (const [name, revision] of present) {
      if (++count % step === 0) yield
      const known = this.#known.get(name)
      const isNews =
        known === undefined ? hasRoom : known.revision !== revision || (known.isRefused && hasRoom)
      if (isNews && name.length <= mostNameBytes) changed.push(name)
      else if (known === undefined) hasMore = true
    }
    for (const name of this.#known.keys()) {
      if (++count % step === 0) yield
      if (!present.has(name)) gone.push(name)
    }
    this.#hasMore = hasMore
    return { changed, gone }
  }

  /** All that cannot be read, in order of keys. */
  get unreadable(): readonly Reason[] {
    const told = [...this.#reasons].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, reason]) => reason)
    const more = this.#refused - this.#reasons.size
    if (more === 0 && !this.#hasMore) return told
    const rest: Reason = {
      code: 'registry-unreadable',
      // The place of them all: what lies below counts as unreadable, not as vanished.
      object: originOf(this.#prefix),
      reason: more === 0 ? 'more keys are left out: too many, or too long' : `${more} more keys are left out`,
      next: 'remove what does not belong there',
    }
    return [...told, rest]
  }

  #add(name: string, known: Known): void {
    this.#known.set(name, known)
    this.#bytes += known.bytes
  }

  #forget(name: string): void {
    const known = this.#known.get(name)
    if (known === undefined) return
    this.#known.delete(name)
    this.#reasons.delete(name)
    this.#bytes -= known.bytes
    if (known.isRefused) this.#refused--
  }

  #tooLong(name: string): Reason {
    return {
      code: 'registry-unreadable',
      object: originOf(name),
      reason: `is longer than ${this.#limits.valueBytes} bytes`,
      next: 'remove it: no document is that long',
    }
  }

  #tooMuch(name: string): Reason {
    return {
      code: 'registry-unreadable',
      object: originOf(name),
      reason: `is left out: the registry's documents are longer than ${this.#limits.bagBytes} bytes together`,
      next: 'remove what does not belong there',
    }
  }
}
