/**
 * Documents that may not come in, or not yet. Each waits for something that may let it in: that a key is trusted, that a
 * gateway is certified, that the fabric document is fresh again. Until that happens nobody looks at it, so what waits costs
 * a bag nothing. What is delivered by strangers is kept as the text that it came as, so much of it and no more: the oldest
 * goes first, and is read again when it is delivered again.
 */
import type { DocumentType, Signed } from '../model/document.ts'

export interface Arrival {
  readonly origin: string
  readonly signed: Signed
  /** Absent where it was in force before. */
  readonly bytes?: Uint8Array
}

/** Arrivals of one type by subject. */
export type Arrivals = ReadonlyMap<string, readonly Arrival[]>

interface Waiter {
  readonly type: DocumentType
  readonly causes: readonly string[]
  /** In place of the document, where there is one to read it from. */
  readonly text: string | undefined
  readonly signed: Signed | undefined
  /** Never dropped: others are judged by its being there. */
  readonly isFirm: boolean
}

/** Longest texts kept together, in bytes: those of 30,000 short documents. */
export const mostWaitingBytes = 16 * 1024 * 1024

export interface WaitingOptions {
  readonly mostBytes?: number
  /** Reads a text whose form and signature were checked before. */
  readonly read: (origin: string, bytes: Uint8Array) => Signed | undefined
  /** It is no longer kept. */
  readonly onDrop: (origin: string) => void
}

export class Waiting {
  readonly #options: WaitingOptions
  /** By origin; the first has waited longest. */
  readonly #waiters = new Map<string, Waiter>()
  /** Those without a text: they were in force. */
  readonly #bare = new Map<string, Waiter>()
  /** One origin, or several: most wait alone. */
  readonly #byCause = new Map<string, string | Set<string>>()
  /** Origins that what they wait for may have come for. */
  readonly #woken = new Map<DocumentType, Set<string>>()
  #bytes = 0

  constructor(options: WaitingOptions) {
    this.#options = options
  }

  /** Of texts kept. */
  get bytes(): number {
    return this.#bytes
  }

  /** `causes`: any of them wakes it. `isFirm`: it is not dropped to make room. */
  add({ origin, signed, bytes }: Arrival, causes: readonly string[], isFirm = false): void {
    this.delete(origin)
    const text = bytes === undefined ? undefined : Buffer.from(bytes).toString('latin1')
    const waiter: Waiter = {
      type: signed.document.type,
      causes,
      text,
      signed: text === undefined ? signed : undefined,
      isFirm,
    }
    this.#waiters.set(origin, waiter)
    if (text === undefined) this.#bare.set(origin, waiter)
    for (const cause of causes) {
      const others = this.#byCause.get(cause)
      if (others === undefined) this.#byCause.set(cause, origin)
      else if (typeof others === 'string') this.#byCause.set(cause, new Set([others, origin]))
      else others.add(origin)
    }
    if (isFirm) return
    this.#bytes += text?.length ?? 0
    this.#makeRoom()
  }

  delete(origin: string): void {
    const waiter = this.#waiters.get(origin)
    if (waiter === undefined) return
    this.#waiters.delete(origin)
    this.#bare.delete(origin)
    this.#woken.get(waiter.type)?.delete(origin)
    if (!waiter.isFirm) this.#bytes -= waiter.text?.length ?? 0
    for (const cause of waiter.causes) {
      const origins = this.#byCause.get(cause)
      if (typeof origins === 'object') origins.delete(origin)
      if (typeof origins === 'string' || origins?.size === 0) this.#byCause.delete(cause)
    }
  }

  /** True where this document waits that was in force before. */
  holds({ hash, kid }: Signed): boolean {
    for (const { signed } of this.#bare.values()) if (signed?.hash === hash && signed.kid === kid) return true
    return false
  }

  causesOf(origin: string): readonly string[] {
    return this.#waiters.get(origin)?.causes ?? []
  }

  /** Something happened. */
  wake(cause: string): void {
    const origins = this.#byCause.get(cause) ?? []
    for (const origin of typeof origins === 'string' ? [origins] : origins) {
      const type = this.#waiters.get(origin)?.type
      if (type === undefined) continue
      const woken = this.#woken.get(type)
      if (woken === undefined) this.#woken.set(type, new Set([origin]))
      else woken.add(origin)
    }
  }

  /** Those of a type that were woken; they wait no longer. */
  *take(type: DocumentType): Generator<Arrival> {
    for (const origin of this.#woken.get(type) ?? []) {
      const waiter = this.#waiters.get(origin)
      this.delete(origin)
      if (waiter === undefined) continue
      const { text, signed } = waiter
      const bytes = text === undefined ? undefined : Buffer.from(text, 'latin1')
      const read = bytes === undefined ? signed : this.#options.read(origin, bytes)
      if (read !== undefined) yield { origin, signed: read, ...(bytes === undefined ? {} : { bytes }) }
    }
  }

  #makeRoom(): void {
    const { mostBytes = mostWaitingBytes, onDrop } = this.#options
    if (this.#bytes <= mostBytes) return
    // Some at a time: a map that loses its first entries one by one goes past the holes of all before.
    const enough = mostBytes - mostBytes / 16
    for (const [origin, { text, isFirm }] of this.#waiters) {
      if (this.#bytes <= enough) return
      if (text === undefined || isFirm) continue
      this.delete(origin)
      onDrop(origin)
    }
  }
}
