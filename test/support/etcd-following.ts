/** A registry in etcd as somebody who follows it sees it: what its bags make of the documents, and what they say. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Test } from 'tap'
import { LinkspanError } from '../../agent/errors.ts'
import type { Reason } from '../../agent/errors.ts'
import type { Bag } from '../../agent/model/document.ts'
import { EtcdRegistry } from '../../agent/registry/etcd.ts'
import type { EtcdRegistryOptions } from '../../agent/registry/etcd.ts'

export const prefix = '/linkspan/prod'

export type Options = Partial<EtcdRegistryOptions> & Pick<EtcdRegistryOptions, 'endpoints'>

export class Following {
  readonly registry: EtcdRegistry
  /** Text by key below the prefix, as the bags so far have it. */
  readonly documents = new Map<string, string>()
  readonly bags: Bag[] = []
  readonly #stop = new AbortController()
  readonly #running: Promise<void>
  #wake: () => void = () => undefined

  constructor(t: Test, options: Options) {
    this.registry = new EtcdRegistry({ prefix, ...options })
    this.#running = this.#follow()
    t.teardown(() => this.end())
  }

  get unreadable(): readonly Reason[] {
    return this.bags.at(-1)?.unreadable ?? []
  }

  get names(): string[] {
    return [...this.documents.keys()].sort()
  }

  /** Until it holds; ms that took. Throws after half a minute. */
  async until(what: string, holds: (following: this) => boolean): Promise<number> {
    const began = performance.now()
    while (!holds(this)) {
      if (performance.now() - began > 30_000) throw new Error(`${what}: not after 30 s; ${this.state}`)
      await Promise.race([
        pause(200),
        new Promise<void>((resolve) => {
          this.#wake = resolve
        }),
      ])
    }
    return performance.now() - began
  }

  get state(): string {
    const { documents, complete, unreadable } = this.bags.at(-1) ?? { documents: [] }
    return JSON.stringify({ names: this.names, last: { count: documents.length, complete, unreadable } })
  }

  async end(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async #follow(): Promise<void> {
    for await (const bag of this.registry.watch(this.#stop.signal)) {
      if (bag.complete) this.documents.clear()
      for (const { origin, bytes } of bag.documents)
        this.documents.set(nameOf(origin), Buffer.from(bytes).toString())
      for (const origin of bag.gone ?? []) this.documents.delete(nameOf(origin))
      this.bags.push(bag)
      this.#wake()
    }
  }
}

function nameOf(origin: string): string {
  return origin.slice(`etcd:${prefix}/`.length)
}

/** For single acts: an end to waiting. */
export function signal(): AbortSignal {
  return AbortSignal.timeout(60_000)
}

/** What a refused act says. */
export async function refusalOf(act: Promise<unknown>): Promise<Reason> {
  try {
    await act
  } catch (error) {
    if (error instanceof LinkspanError) return error
    throw error
  }
  throw new Error('was not refused')
}

/** The reason why a registry cannot be read, as its first bag has it. */
export async function unreadableOf(t: Test, options: Options): Promise<Reason> {
  const following = new Following(t, options)
  await following.until('a bag', ({ bags }) => bags.length > 0)
  await following.end()
  const [bag] = following.bags
  const [reason] = bag?.unreadable ?? []
  t.same(bag?.documents, [], 'without documents')
  t.equal(bag?.complete, false, 'and not complete')
  if (reason === undefined) throw new Error('nothing is unreadable')
  return reason
}
