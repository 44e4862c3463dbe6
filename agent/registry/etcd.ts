/**
 * The etcd registry: for fleets, and for changes that arrive in milliseconds. Works with etcd 3.4 and later.
 *
 *     <prefix>/fabric   <prefix>/certificates/<gateway>   <prefix>/records/<gateway>   <prefix>/requests/<gateway>
 *
 * Whatever else lies below the prefix is delivered as well: keys carry no trust, and the documents say what they are. The
 * first bag is all there is; then every change is a bag of its own, or several that came at once. How servers are chosen,
 * watched and given up is told in etcd-follower.ts; who may write what, in etcd-role.ts.
 */
import { isAborted, pause } from '../pause.ts'
import { LinkspanError } from '../errors.ts'
import { maxFabricBytes } from '../model/document.ts'
import type { Bag } from '../model/document.ts'
import { envelopeBytes } from '../trust/envelope.ts'
import { CredentialStore } from './credential.ts'
import type { CredentialFiles } from './credential.ts'
import { isLoopback, parseEndpoint } from './etcd-endpoint.ts'
import { EtcdFollower } from './etcd-follower.ts'
import { keysBelow } from './etcd-key.ts'
import { EtcdOutbox } from './etcd-outbox.ts'
import { EtcdServers } from './etcd-servers.ts'
import type { User } from './etcd-session.ts'
import { EtcdStore } from './etcd-store.ts'
import type { Pulse } from './etcd-watch.ts'
import type { Judge, Registry } from './port.ts'
import { systemResolver } from './resolver.ts'
import type { Resolve } from './resolver.ts'
import { inTurns } from './in-turns.ts'

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
  /** Paths (PEM), looked at before each connection: `ca` instead of the well-known authorities, and ours for etcd. */
  readonly files?: Pick<CredentialFiles, 'ca' | 'certificate' | 'key'>
  /** Absent: etcd takes the client certificate's common name, or has no users. */
  readonly user?: User
  /** Longest value, and all together, in bytes; that of the largest fabric document, and 64 MiB. */
  readonly valueBytes?: number
  readonly bagBytes?: number
  /** Changes that come within this time are one bag, in ms; 5. */
  readonly coalesceMs?: number
  /** Between two audits, in ms; 300,000. */
  readonly auditMs?: number
  /**
   * The first connection of a watch comes within so many ms, at random; 0. For gateways that have last-known-good documents
   * to live from, so that a fleet that starts together does not ask together.
   */
  readonly spreadMs?: number
  /** How soon a dead server is noticed while nothing changes: after the sum at the latest; 4.5 s. */
  readonly pulse?: Pulse
  /** Keys listed at once; 500. */
  readonly pageKeys?: number
  /** For the first answer of a server, in ms; 4,000. */
  readonly answerMs?: number
  /** For an answer with documents, in ms; 10,000. */
  readonly transferMs?: number
  /**
   * Called with a host name before each connection, and waited for: whoever must know the registry's addresses before the
   * first packet goes there learns them here. Hosts that are addresses are not resolved.
   */
  readonly resolve?: Resolve
  readonly random?: () => number
}

/** What `status` may tell of a registry that is followed. */
export interface EtcdHealth {
  /** URL of the server in use; undefined while there is none. */
  readonly endpoint: string | undefined
  /** Of the last small question to it, in ms. */
  readonly roundTripMs: number | undefined
}

const mebibyte = 1024 * 1024
/** Round a value in its message: key, revisions, lengths. */
const framingBytes = 64 * 1024
const steadyPulse = { quietMs: 1500, progressMs: 1500, probeMs: 1500 }

export class EtcdRegistry implements Registry {
  /** Writes a document to its place. Nothing is written where the same bytes are there already. */
  readonly publish?: (document: Uint8Array, signal: AbortSignal, judge?: Judge) => Promise<void>
  readonly #options: EtcdRegistryOptions
  readonly #servers: EtcdServers
  readonly #store: EtcdStore
  #follower: EtcdFollower | undefined

  /** Throws LinkspanError config-invalid. */
  constructor(options: EtcdRegistryOptions) {
    const { prefix, keyOf, files = {}, user, pageKeys = 500 } = options
    const {
      valueBytes = envelopeBytes(maxFabricBytes),
      bagBytes = 64 * mebibyte,
      answerMs = 4000,
      transferMs = 10_000,
    } = options
    const [first, ...others] = options.endpoints.map(parseEndpoint)
    if (first === undefined) throw wrong('registry', 'has no endpoint', 'give https://HOST:2379')
    const endpoints = [first, ...others] as const
    const bare = endpoints.find((endpoint) => !endpoint.isSecure && !isLoopback(endpoint))
    if (bare !== undefined && user !== undefined)
      throw wrong(bare.url, 'would get the password in the clear', 'use https://')
    if (!/^(\/[\x21-\x24\x26-\x2e\x30-\x7e]+)+$/.test(prefix))
      throw wrong(`prefix "${prefix}"`, 'is no prefix of keys', 'give /linkspan/FABRIC')
    this.#options = options
    if ((files.certificate === undefined) !== (files.key === undefined))
      throw wrong('the client certificate', 'certificate and key go together', 'give both or neither')
    this.#servers = new EtcdServers(endpoints, {
      credentials: new CredentialStore(files),
      certificate: files.certificate,
      resolve: options.resolve ?? systemResolver(),
      access: { user, token: undefined },
      patience: { answerMs, transferMs },
      maxAnswerBytes: valueBytes + framingBytes,
    })
    const limits = { valueBytes, bagBytes }
    this.#store = new EtcdStore(this.#servers, { prefix, keys: keysBelow(prefix), limits, pageKeys })
    if (keyOf !== undefined) {
      this.publish = async (document, signal, judge) => {
        await this.#store.put(keyOf(document), document, signal, judge)
      }
    }
  }

  /** For the command line: single keys, and all documents at one moment. */
  get store(): EtcdStore {
    return this.#store
  }

  get latencyMs(): number | undefined {
    return this.health.roundTripMs
  }

  get health(): EtcdHealth {
    const session = this.#follower?.session
    return { endpoint: session?.endpoint.url, roundTripMs: session?.roundTripMs }
  }

  async *watch(signal: AbortSignal): AsyncIterable<Bag> {
    if (signal.aborted) return
    const {
      auditMs = 300_000,
      spreadMs = 0,
      pulse = steadyPulse,
      coalesceMs = 5,
      random = Math.random,
    } = this.#options
    // Also where nobody asks for the next bag any more.
    const stop = new AbortController()
    const abort = (): void => {
      stop.abort()
    }
    signal.addEventListener('abort', abort, { once: true })
    const outbox = new EtcdOutbox(stop.signal)
    const follower = new EtcdFollower(
      this.#servers,
      { place: this.#store.place, pulse, auditMs, spreadMs, random },
      outbox,
    )
    this.#follower = follower
    const running = follower.run(stop.signal)
    try {
      for (;;) {
        await outbox.wait()
        await pause(coalesceMs, stop.signal)
        if (isAborted(stop.signal)) return
        const bag = await inTurns(outbox.take())
        if (bag !== undefined) yield bag
      }
    } finally {
      signal.removeEventListener('abort', abort)
      stop.abort()
      await running
    }
  }
}

function wrong(object: string, reason: string, next: string): LinkspanError {
  return new LinkspanError({ code: 'config-invalid', object, reason, next })
}
