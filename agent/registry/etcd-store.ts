/**
 * Single acts on a registry in etcd, for publishing and for the command line. Each has a connection of its own, which costs
 * little where it happens once in a while, and the servers are tried in turn until one has done it.
 */
import { LinkspanError } from '../errors.ts'
import type { Reason } from '../errors.ts'
import type { Bag } from '../model/document.ts'
import { EtcdFailure, reasonOfFailure } from './etcd-failure.ts'
import { keyOfName, originOf } from './etcd-key.ts'
import { listDocuments } from './etcd-list.ts'
import type { Place } from './etcd-list.ts'
import { range, remove, txn } from './etcd-message.ts'
import type { EtcdServers } from './etcd-servers.ts'
import { reasonAt } from './etcd-session.ts'
import type { EtcdSession } from './etcd-session.ts'
import type { Judge } from './port.ts'

/** Who writes a key all the time wins. */
const mostTries = 5

export class EtcdStore {
  readonly place: Place
  readonly #servers: EtcdServers

  constructor(servers: EtcdServers, place: Place) {
    this.#servers = servers
    this.place = place
  }

  /** All there is, as one complete bag. Throws LinkspanError where no server can be read. */
  async list(signal: AbortSignal): Promise<Bag> {
    const { content, documents } = await this.#act(undefined, signal, (session) => {
      return listDocuments(session, this.place, signal)
    })
    return {
      documents: [...documents].map(([origin, bytes]) => ({ origin, bytes })),
      complete: true,
      unreadable: content.unreadable,
    }
  }

  /**
   * Writes below the prefix: `records/aws-a`. Only what `judge` saw is replaced: where somebody writes meanwhile, it is asked
   * again. False where the same bytes were there. Throws LinkspanError: `permission` where etcd denies it, and what the judge
   * throws.
   */
  async put(
    name: string,
    value: Uint8Array,
    signal: AbortSignal,
    judge: Judge = () => undefined,
  ): Promise<boolean> {
    const origin = this.#origin(name)
    const key = keyOfName(this.#full(name))
    return this.#act(origin, signal, async (session) => {
      for (let tries = mostTries; tries > 0; tries--) {
        const { present, modRevision } = await presentAt(session, key, signal)
        if (present !== undefined && Buffer.compare(present, value) === 0) return false
        judge(present)
        const unchanged = { result: equal, target: ofModRevision, key, modRevision }
        const { succeeded } = await session.call(
          txn,
          { compare: [unchanged], success: [{ put: { key, value } }] },
          signal,
        )
        if (succeeded) return true
      }
      const reason = `was written by somebody else ${mostTries} times while it was to be put`
      const next = 'who writes there? linkspan registry watch'
      throw new LinkspanError({ code: 'registry-unreadable', object: origin, reason, next })
    })
  }

  /** Deletes a key below the prefix. False where there was none. Throws as put() does. */
  async remove(name: string, signal: AbortSignal): Promise<boolean> {
    const origin = this.#origin(name)
    const key = keyOfName(this.#full(name))
    return this.#act(origin, signal, async (session) => {
      const { deleted } = await session.call(remove, { key }, signal)
      return deleted > 0
    })
  }

  async #act<T>(
    origin: string | undefined,
    signal: AbortSignal,
    act: (session: EtcdSession) => Promise<T>,
  ): Promise<T> {
    const reasons: Reason[] = []
    for (let i = this.#servers.endpoints.length; i > 0; i--) {
      const endpoint = this.#servers.current
      let session: EtcdSession | undefined
      try {
        session = await this.#servers.open(endpoint)
        return await act(session)
      } catch (error) {
        signal.throwIfAborted()
        if (!(error instanceof EtcdFailure)) throw error
        if (error.isFinal) {
          // A password is wrong at the server, a permission is missing for the key.
          const object = origin !== undefined && !error.isUnknown ? origin : endpoint.url
          throw new LinkspanError(reasonOfFailure(error, object), { cause: error })
        }
        reasons.push(reasonAt(error, endpoint))
        this.#servers.giveUp(endpoint)
      } finally {
        session?.close()
      }
    }
    throw new LinkspanError(together(reasons))
  }

  #full(name: string): string {
    return `${this.place.prefix}/${name}`
  }

  #origin(name: string): string {
    if (/^[\x21-\x7e]+$/.test(name) && !name.startsWith('/')) return originOf(this.#full(name))
    const next = 'give the part below the prefix, such as records/aws-a'
    throw new LinkspanError({
      code: 'usage',
      object: `key "${name}"`,
      reason: 'is no key of a registry',
      next,
    })
  }
}

const equal = 0
const ofModRevision = 2

/** What lies there, and the revision that put it there: 0 where nothing does. What is too long to be read is no bytes. */
async function presentAt(
  session: EtcdSession,
  key: Uint8Array,
  signal: AbortSignal,
): Promise<{ readonly present: Uint8Array | undefined; readonly modRevision: number }> {
  const read = async (keysOnly: boolean): ReturnType<typeof presentAt> => {
    const { kvs } = await session.call(range, { key, keysOnly }, signal)
    const [found] = kvs
    return { present: keysOnly ? undefined : found?.value, modRevision: found?.modRevision ?? 0 }
  }
  try {
    return await read(false)
  } catch (error) {
    if (error instanceof EtcdFailure && error.isTooLarge) return read(true)
    throw error
  }
}

/** All servers failed, each for its reason. */
function together(reasons: readonly Reason[]): Reason {
  const [first, ...others] = reasons
  if (first !== undefined && others.length === 0) return first
  return {
    code: 'registry-unreadable',
    object: reasons.map(({ object }) => object).join(', '),
    reason: [...new Set(reasons.map(({ reason }) => reason))].join('; '),
    ...(first?.next === undefined ? {} : { next: first.next }),
  }
}
