/**
 * A connection that we may use: who we are, and calls under that name. etcd's users come by a client certificate, whose
 * common name is the user, or by password, for which it hands out a token. Tokens outlive connections and end at any time,
 * by age or by a restart; a call that etcd refuses for its token fetches another one and is made once more.
 */
import { readFile } from 'node:fs/promises'
import { errnoOf, LinkspanError, reasonOf } from '../errors.ts'
import type { Reason } from '../errors.ts'
import type { EtcdConnection } from './etcd-connection.ts'
import type { Stream, StreamHandler } from './etcd-connection.ts'
import type { Endpoint } from './etcd-endpoint.ts'
import { EtcdFailure, reasonOfFailure, status } from './etcd-failure.ts'
import type { Caller } from './etcd-failure.ts'
import { authenticate, range, watch } from './etcd-message.ts'
import type { Header, Method, WatchRequest, WatchResponse } from './etcd-message.ts'
import type { Message, Partially, Shape } from './etcd-wire.ts'

export interface User {
  readonly name: string
  /** Read anew for every token where it is a file; a line end at its end does not count. */
  readonly password: string | { readonly file: string }
}

/** Who we are at etcd: shared by all connections of a registry, so that they share the token. */
export interface Access {
  readonly user: User | undefined
  token: string | undefined
}

export interface Patience {
  /** Of calls that answer at once where etcd lives, in ms. */
  readonly answerMs: number
  /** Of calls that carry documents, in ms. */
  readonly transferMs: number
}

/** bcrypt takes a tenth of a second, and a thousand gateways may come at once. */
const authenticateMs = 10_000

export class EtcdSession {
  readonly #connection: EtcdConnection
  readonly #access: Access
  readonly #patience: Patience
  readonly #caller: Caller
  /** Of the last question that asks for nothing much, in ms. */
  roundTripMs: number | undefined

  /** `caller`: what messages may say of us. */
  constructor(connection: EtcdConnection, access: Access, patience: Patience, caller: Caller) {
    this.#connection = connection
    this.#access = access
    this.#patience = patience
    this.#caller = caller
  }

  get endpoint(): Endpoint {
    return this.#connection.endpoint
  }

  /** Throws EtcdFailure, or the signal's reason. */
  async call<Q extends Shape, A extends Shape>(
    method: Method<Q, A>,
    request: Partially<Q>,
    signal: AbortSignal,
    deadlineMs?: number,
  ): Promise<Message<A>> {
    try {
      if (this.#access.user !== undefined && this.#access.token === undefined)
        await this.#authenticate(this.#access.user, signal)
      return await this.#once(method, request, signal, deadlineMs)
    } catch (error) {
      if (!(error instanceof EtcdFailure) || !error.wantsToken || this.#access.user === undefined)
        throw this.#named(error)
    }
    try {
      await this.#authenticate(this.#access.user, signal)
      return await this.#once(method, request, signal, deadlineMs)
    } catch (error) {
      throw this.#named(error)
    }
  }

  /** One key's name, as the whole cluster knows it, or as this member alone does. For its header. */
  async touch(
    key: Uint8Array,
    { serializable, deadlineMs }: { readonly serializable: boolean; readonly deadlineMs?: number },
    signal: AbortSignal,
  ): Promise<Header> {
    const began = performance.now()
    const request = { key, limit: 1, keysOnly: true, serializable }
    const { header } = await this.call(range, request, signal, deadlineMs ?? this.#patience.answerMs)
    this.roundTripMs = performance.now() - began
    if (header === undefined) throw malformed('an answer without header')
    return header
  }

  /** On a session that has made a call. */
  watch(handler: StreamHandler<WatchResponse>): Stream<WatchRequest> {
    return this.#connection.stream(watch, this.#metadata(), {
      message: (message) => {
        handler.message(message)
      },
      end: (failure) => {
        handler.end(failure.by(this.#caller))
      },
    })
  }

  /** The next call fetches another token. */
  forgetToken(): void {
    this.#access.token = undefined
  }

  close(): void {
    this.#connection.close()
  }

  #once<Q extends Shape, A extends Shape>(
    method: Method<Q, A>,
    request: Partially<Q>,
    signal: AbortSignal,
    deadlineMs = this.#patience.transferMs,
  ): Promise<Message<A>> {
    return this.#connection.unary(method, request, { deadlineMs, signal, metadata: this.#metadata() })
  }

  async #authenticate({ name, password }: User, signal: AbortSignal): Promise<void> {
    this.#access.token = undefined
    const text = typeof password === 'string' ? password : await readPassword(password.file)
    try {
      const { token } = await this.#connection.unary(
        authenticate,
        { name, password: text },
        { deadlineMs: authenticateMs, signal },
      )
      this.#access.token = token
    } catch (error) {
      // A cluster that has no users yet, or none any more, serves everybody.
      if (!(error instanceof EtcdFailure && error.isAuthOff)) throw error
      this.#access.token = ''
    }
  }

  /** etcd refuses at once where its cluster has no leader, instead of trying, or of telling old news. */
  #metadata(): Record<string, string> {
    const { token } = this.#access
    return { hasleader: 'true', ...(token === undefined || token === '' ? {} : { token }) }
  }

  #named(error: unknown): unknown {
    return error instanceof EtcdFailure ? error.by(this.#caller) : error
  }
}

async function readPassword(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).replace(/\r?\n$/, '')
  } catch (error) {
    const errno = errnoOf(error) ?? 'unknown error'
    throw new LinkspanError({
      code: errno === 'EACCES' ? 'permission' : 'registry-unreadable',
      object: file,
      reason: `the password cannot be read: ${errno}`,
      next: errno === 'EACCES' ? 'give linkspan the right to it' : 'is its path right?',
    })
  }
}

/** An answer that etcd does not give. */
export function malformed(detail: string): EtcdFailure {
  return new EtcdFailure(status.internal, `answers what etcd does not: ${detail}`)
}

/** Anything thrown on the way to an endpoint as a reason. */
export function reasonAt(error: unknown, endpoint: Endpoint): Reason {
  if (error instanceof LinkspanError) return error
  return error instanceof EtcdFailure ? reasonOfFailure(error, endpoint.url) : reasonOf(error, endpoint.url)
}
