/**
 * The etcd registry: for fleets, and for changes that arrive in milliseconds. Works with etcd 3.4 and later.
 *
 *     <prefix>/fabric   <prefix>/certificates/<gateway>   <prefix>/records/<gateway>   <prefix>/requests/<gateway>
 *
 * Whatever else lies below the prefix is delivered as well: keys carry no trust, and the documents say what they are. The
 * first bag is all there is; then every change is a bag of its own, or several that came at once. How servers are chosen,
 * watched and given up is told in etcd-follower.ts; who may write what, in etcd-role.ts.
 */
import { LinkspanError } from '../errors.ts'
import type { Bag } from '../model/document.ts'
import { isLoopback, parseEndpoint } from './etcd-endpoint.ts'
import type { Endpoint } from './etcd-endpoint.ts'
import { EtcdContent } from './etcd-content.ts'
import { EtcdFailure, reasonOfFailure } from './etcd-failure.ts'
import { EtcdFollower } from './etcd-follower.ts'
import { keysBelow, originOf } from './etcd-key.ts'
import type { KeyRange } from './etcd-key.ts'
import { put, range, remove } from './etcd-message.ts'
import { EtcdOutbox } from './etcd-outbox.ts'
import { isAborted, pause } from './etcd-pause.ts'
import { EtcdSession, reasonAt } from './etcd-session.ts'
import type { Access, User } from './etcd-session.ts'
import type { EtcdTls } from './etcd-tls.ts'
import type { Registry } from './port.ts'

export interface EtcdRegistryOptions {
  /** `https://host:2379`, one or more of one cluster: the first is taken while it works. */
  readonly endpoints: readonly string[]
  /** Where the documents lie, without a slash at its end: `/linkspan/<fabric>`. */
  readonly prefix: string
  /**
   * Where a document has its place below the prefix: `records/aws-a`. Throws LinkspanError where the bytes are no document.
   * Without it, nothing can be published.
   */
  readonly keyOf?: (document: Uint8Array) => string
  readonly tls?: EtcdTls
  /** Absent: etcd takes the client certificate's common name, or has no users. */
  readonly user?: User
  /** Longest value, and all together, in bytes; 16 MiB and 64 MiB. */
  readonly valueBytes?: number
  readonly bagBytes?: number
  /** Changes that come within this time are one bag, in ms; 5. */
  readonly coalesceMs?: number
  /** Between two audits, in ms; 300,000. */
  readonly auditMs?: number
  /** Keys listed at once; 500. */
  readonly pageKeys?: number
  /** For the first answer of a server, in ms; 4,000. */
  readonly answerMs?: number
  /** For an answer with documents, in ms; 10,000. */
  readonly transferMs?: number
  readonly random?: () => number
}

/** What `status` may tell of a registry that is followed. */
export interface EtcdHealth {
  /** URL of the server in use; undefined while there is none. */
  readonly endpoint: string | undefined
  /** Of the last small read, in ms. */
  readonly roundTripMs: number | undefined
}

const mebibyte = 1024 * 1024
/** Round a value in its message: key, revisions, lengths. */
const framingBytes = 64 * 1024
/** A dead server is noticed after their sum at the latest. */
const pulse = { quietMs: 1500, progressMs: 1500, probeMs: 1500 }

export class EtcdRegistry implements Registry {
  readonly #options: EtcdRegistryOptions
  readonly #endpoints: readonly Endpoint[]
  readonly #keys: KeyRange
  readonly #access: Access
  readonly #valueBytes: number
  readonly #bagBytes: number
  #follower: EtcdFollower | undefined

  /** Throws LinkspanError config-invalid. */
  constructor(options: EtcdRegistryOptions) {
    const { endpoints, prefix, tls = {}, user, valueBytes, bagBytes } = options
    this.#options = options
    this.#endpoints = endpoints.map(parseEndpoint)
    const open = this.#endpoints.find((endpoint) => !endpoint.secure && !isLoopback(endpoint))
    if (open !== undefined && user !== undefined) {
      const reason = 'would get the password in the clear'
      throw new LinkspanError({ code: 'config-invalid', object: open.url, reason, next: 'use https://' })
    }
    if (this.#endpoints.length === 0 || !/^(\/[\x21-\x24\x26-\x2e\x30-\x7e]+)+$/.test(prefix)) {
      const reason = this.#endpoints.length === 0 ? 'has no endpoint' : `has a malformed prefix, "${prefix}"`
      throw new LinkspanError({ code: 'config-invalid', object: 'registry', reason })
    }
    this.#keys = keysBelow(prefix)
    this.#access = { tls, user, token: undefined }
    this.#valueBytes = valueBytes ?? 16 * mebibyte
    this.#bagBytes = bagBytes ?? 64 * mebibyte
  }

  get health(): EtcdHealth {
    const session = this.#follower?.session
    return { endpoint: session?.endpoint.url, roundTripMs: session?.roundTripMs }
  }

  async *watch(signal: AbortSignal): AsyncIterable<Bag> {
    const stop = new AbortController()
    const abort = (): void => {
      stop.abort()
    }
    if (signal.aborted) return
    signal.addEventListener('abort', abort, { once: true })
    const outbox = new EtcdOutbox(stop.signal)
    const { prefix, auditMs = 300_000, pageKeys = 500, coalesceMs = 5, random = Math.random } = this.#options
    const follower = new EtcdFollower(
      {
        endpoints: this.#endpoints,
        open: (endpoint) => this.#session(endpoint),
        prefix,
        keys: this.#keys,
        limits: { bagBytes: this.#bagBytes, valueBytes: this.#valueBytes },
        pageKeys,
        pulse,
        auditMs,
        random,
      },
      outbox,
    )
    this.#follower = follower
    const running = follower.run(stop.signal)
    try {
      while (!isAborted(stop.signal)) {
        await outbox.wait()
        await pause(coalesceMs, stop.signal)
        if (isAborted(stop.signal)) return
        const bag = outbox.take()
        if (bag !== undefined) yield bag
      }
    } finally {
      signal.removeEventListener('abort', abort)
      stop.abort()
      await running
    }
  }
}
