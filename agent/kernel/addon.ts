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
   * kernel reports every error by itself. Resolves with the failures, in order of index; with ENOBUFS or ETIMEDOUT for a
   * whole batch where answers were lost. A transaction (BATCH_BEGIN first, BATCH_END last) with any failure changed nothing;
   * index 0 is its BATCH_BEGIN and means the whole was refused. Rejects where the messages are not whole, or after close().
   */
  request(messages: Uint8Array, options?: { readonly batch?: number }): Promise<readonly Failure[]>
  /** One message that is answered without a dump (a get); resolves with the answer's messages, errors as Failure. */
  query(message: Uint8Array): Promise<Uint8Array | Failure>
  /**
   * One dump request (NLM_F_DUMP is set by the caller). `onChunk` gets buffers of whole messages, control messages left
   * out, valid during the call only; the reader waits while JavaScript works. `interrupted`: NLM_F_DUMP_INTR was seen,
   * dump again. An error of the dump comes as Failure. Rejects with what `onChunk` throws, or after close().
   */
  dump(
    message: Uint8Array,
    onChunk: (chunk: Uint8Array) => void,
  ): Promise<{ readonly interrupted: boolean } | Failure>
  /** The call under way ends as it would (a dump: after the chunk it reads); calls that wait reject. */
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
   * `onOverflow`: ENOBUFS, events were lost. Bursts are gathered for 2 ms; chunks hold up to 128 KiB. Keeps no process
   * alive; runs until close(). What a callback throws is an uncaught exception. `filter`: classic BPF over whole
   * messages (struct sock_filter, event-filter.ts); what it drops never takes room in the buffer.
   */
  subscribe(
    protocol: number,
    groups: readonly number[],
    bufferBytes: number,
    onChunk: (chunk: Uint8Array) => void,
    onOverflow: () => void,
    filter?: Uint8Array,
  ): Subscription
  /** sd_notify(3) without libsystemd: sends `state` to $NOTIFY_SOCKET given as `socket`. Returns 0 or an errno. */
  notify(socket: string, state: string): number
}

/** The probe engine's functions (native/probe-addon.c), for startProbes() of probe/engine.ts. */
export interface Probes {
  probeStart(port: number, deliver: (news: Float64Array | null, report: Float64Array | null) => void): object
  probePaths(engine: object, wishes: Uint8Array): void
  probeTrials(engine: object, orders: Uint8Array): void
  probeWord(engine: object, flags: number, weight: number, serial: number): void
  probeCounters(engine: object): readonly number[]
  probeStop(engine: object): void
}

/** What the compiled file exports: one call at a time on a handle. */
interface Native extends Probes {
  open(protocol: number): { readonly handle: Handle; readonly portId: number }
  close(handle: Handle): void
  call(handle: Handle, verb: 0, bytes: Uint8Array, batch: number): Promise<readonly Failure[]>
  call(handle: Handle, verb: 1 | 2 | 3, bytes: Uint8Array, batch: number): Promise<Answer>
  subscribe(
    protocol: number,
    groups: Uint8Array,
    bufferBytes: number,
    filter: Uint8Array,
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
    return this.#inTurn(() =>
      attempt('netlink request', () => this.#native.call(this.#handle, verb.request, messages, batch)),
    )
  }

  query(message: Uint8Array): Promise<Uint8Array | Failure> {
    return this.#inTurn(async () => {
      const answer = await attempt('netlink query', () =>
        this.#native.call(this.#handle, verb.query, message, 0),
      )
      return answer.failure ?? answer.bytes
    })
  }

  dump(
    message: Uint8Array,
    onChunk: (chunk: Uint8Array) => void,
  ): Promise<{ readonly interrupted: boolean } | Failure> {
    return this.#inTurn(async () => {
      let interrupted = false
      let failure: Failure | undefined
      let thrown: { readonly error: unknown } | undefined
      let bytes = message
      for (let step: 2 | 3 = verb.dumpStart; ; step = verb.dumpNext) {
        const answer = await attempt('netlink dump', () => this.#native.call(this.#handle, step, bytes, 0))
        bytes = nothing
        interrupted ||= answer.interrupted
        failure ??= answer.failure
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
        return failure ?? { interrupted }
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
  // A subscription lives until it is closed, whether or not its opener keeps it.
  const subscriptions = new Set<object>()
  return {
    openSocket: (protocol) =>
      attemptNow(`netlink socket of protocol ${protocol}`, () => new Socket(native, protocol)),
    subscribe: (protocol, groups, bufferBytes, onChunk, onOverflow, filter = nothing) => {
      const deliver = (chunk: Uint8Array | null): void => {
        if (chunk === null) onOverflow()
        else onChunk(chunk)
      }
      const numbers = new Uint8Array(new Uint32Array(groups).buffer)
      const subscription = attemptNow(`netlink groups ${groups.join(', ')} of protocol ${protocol}`, () =>
        native.subscribe(protocol, numbers, bufferBytes, filter, deliver),
      )
      subscriptions.add(subscription)
      return {
        close: () => {
          subscriptions.delete(subscription)
          native.unsubscribe(subscription)
        },
      }
    },
    notify: (socket, state) => native.notify(socket, state),
  }
}

async function attempt<T>(object: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    throw refusal(object, cause)
  }
}

function attemptNow<T>(object: string, work: () => T): T {
  try {
    return work()
  } catch (cause) {
    throw refusal(object, cause)
  }
}

/** What the compiled file throws is the text of an errno. */
function refusal(object: string, cause: unknown): LinkspanError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new LinkspanError({ code: 'netlink', object, reason }, { cause })
}

let loaded: Addon | undefined

/** Loads native/build/linkspan.node of this package. */
export function addon(): Addon {
  loaded ??= wrap(load())
  return loaded
}

export function probes(): Probes {
  return load()
}

function load(): Native {
  return createRequire(import.meta.url)(addonPath()) as Native
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
