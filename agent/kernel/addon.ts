/**
 * The addon as TypeScript sees it: bytes in, errnos out. Sole importer of the compiled file.
 *
 * One socket class carries rtnetlink, generic netlink and nfnetlink. All system calls happen off the main thread; calls
 * on one socket are queued and run one after the other. TypeScript encodes and decodes every message.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { LinkspanError } from '../errors.ts'

/** One message the kernel refused. */
export interface Failure {
  /** Position of the message in the request, from 0. */
  readonly index: number
  /** Positive errno. */
  readonly errno: number
  /** Extended ACK text (NLMSGERR_ATTR_MSG), or ''. */
  readonly message: string
}

export interface NetlinkSocket {
  /** Port id: events that carry it in nlmsg_pid were caused by this socket. */
  readonly portId: number
  /**
   * Sends complete, 4-byte aligned, concatenated messages, `batch` of them a sendmsg (default 64; 0: all in one, for
   * nfnetlink transactions). The addon fills in nlmsg_seq and asks for an ACK on the last message of each sendmsg; the
   * kernel reports every error by itself. Resolves with the failures, in order of index.
   */
  request(messages: Uint8Array, options?: { readonly batch?: number }): Promise<readonly Failure[]>
  /** One message that is answered without a dump (a get); resolves with the answer's messages, errors as Failure. */
  query(message: Uint8Array): Promise<Uint8Array | Failure>
  /**
   * One dump request (NLM_F_DUMP is set by the caller). `onChunk` gets buffers of whole messages, control messages left
   * out, valid during the call only; the reader waits while JavaScript works. `interrupted`: NLM_F_DUMP_INTR was seen,
   * dump again. An error of the dump comes as Failure.
   */
  dump(
    message: Uint8Array,
    onChunk: (chunk: Uint8Array) => void,
  ): Promise<{ readonly interrupted: boolean } | Failure>
  close(): void
}

export interface Subscription {
  close(): void
}

export interface Addon {
  /** `protocol`: NETLINK_ROUTE 0, NETLINK_NETFILTER 12, NETLINK_GENERIC 16. Extended ACKs and strict dump checks are on. */
  openSocket(protocol: number): NetlinkSocket
  /**
   * Joins multicast groups with a receive buffer of `bufferBytes` (SO_RCVBUFFORCE) and reads on a thread of its own.
   * `onOverflow`: ENOBUFS, events were lost.
   */
  subscribe(
    protocol: number,
    groups: readonly number[],
    bufferBytes: number,
    onChunk: (chunk: Uint8Array) => void,
    onOverflow: () => void,
  ): Subscription
  /** sd_notify(3) without libsystemd: sends `state` to $NOTIFY_SOCKET given as `socket`. Returns 0 or an errno. */
  notify(socket: string, state: string): number
}

/** What the compiled file exports: one call at a time on a handle. */
interface Native {
  open(protocol: number): { readonly handle: Handle; readonly portId: number }
  close(handle: Handle): void
  call(handle: Handle, verb: 0, bytes: Uint8Array, batch: number): Promise<readonly Failure[]>
  call(handle: Handle, verb: 1 | 2 | 3, bytes: Uint8Array, batch: number): Promise<Answer>
  subscribe(
    protocol: number,
    groups: Uint32Array,
    bufferBytes: number,
    deliver: (chunk: Uint8Array | null) => void,
  ): object
  unsubscribe(subscription: object): void
  notify(socket: string, state: string): number
}

declare const handleBrand: unique symbol
type Handle = object & { readonly [handleBrand]: true }

interface Answer {
  readonly bytes: Uint8Array
  readonly done: boolean
  readonly interrupted: boolean
  readonly failure?: Failure
}

const verb = { request: 0, query: 1, dumpStart: 2, dumpNext: 3 } as const
const nothing = new Uint8Array(0)

class Socket implements NetlinkSocket {
  readonly portId: number
  readonly #native: Native
  readonly #handle: Handle
  #last: Promise<unknown> = Promise.resolve()

  constructor(native: Native, protocol: number) {
    this.#native = native
    const { handle, portId } = native.open(protocol)
    this.#handle = handle
    this.portId = portId
  }

  request(messages: Uint8Array, options: { readonly batch?: number } = {}): Promise<readonly Failure[]> {
    const batch = options.batch ?? 64
    return this.#inTurn(() => this.#native.call(this.#handle, verb.request, messages, batch))
  }

  query(message: Uint8Array): Promise<Uint8Array | Failure> {
    return this.#inTurn(async () => {
      const answer = await this.#native.call(this.#handle, verb.query, message, 0)
      return answer.failure ?? answer.bytes
    })
  }

  dump(
    message: Uint8Array,
    onChunk: (chunk: Uint8Array) => void,
  ): Promise<{ readonly interrupted: boolean } | Failure> {
    return this.#inTurn(async () => {
      let interrupted = false
      let thrown: { readonly error: unknown } | undefined
      for (let step: 2 | 3 = verb.dumpStart; ; step = verb.dumpNext) {
        const answer = await this.#native.call(
          this.#handle,
          step,
          step === verb.dumpStart ? message : nothing,
          0,
        )
        interrupted ||= answer.interrupted
        // A visitor that throws must not leave half a dump in the socket: read on, then throw.
        if (thrown === undefined && answer.bytes.length > 0) {
          try {
            onChunk(answer.bytes)
          } catch (error) {
            thrown = { error }
          }
        }
        if (!answer.done) continue
        if (thrown !== undefined) throw thrown.error
        return answer.failure ?? { interrupted }
      }
    })
  }

  close(): void {
    this.#native.close(this.#handle)
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work, work)
    this.#last = turn.catch(() => undefined) // the caller has the rejection; the next turn only waits
    return turn
  }
}

function wrap(native: Native): Addon {
  return {
    openSocket: (protocol) => new Socket(native, protocol),
    subscribe: (protocol, groups, bufferBytes, onChunk, onOverflow) => {
      const subscription = native.subscribe(protocol, new Uint32Array(groups), bufferBytes, (chunk) => {
        if (chunk === null) onOverflow()
        else onChunk(chunk)
      })
      return {
        close: () => {
          native.unsubscribe(subscription)
        },
      }
    },
    notify: (socket, state) => native.notify(socket, state),
  }
}

let loaded: Addon | undefined

/** Loads native/build/linkspan.node of this package. */
export function addon(): Addon {
  loaded ??= wrap(createRequire(import.meta.url)(addonPath()) as Native)
  return loaded
}

function addonPath(): string {
  for (let folder = path.dirname(fileURLToPath(import.meta.url)); ; folder = path.dirname(folder)) {
    const file = path.join(folder, 'native', 'build', 'linkspan.node')
    if (existsSync(file)) return file
    if (folder === path.dirname(folder)) {
      throw new LinkspanError({
        code: 'unsupported',
        object: 'native/build/linkspan.node',
        reason: 'the addon has not been built',
        next: 'run scripts/build native; it needs a C compiler (apt-get install gcc libc6-dev)',
      })
    }
  }
}
