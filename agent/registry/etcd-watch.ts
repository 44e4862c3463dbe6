/**
 * One watch: the changes of a key range from a revision on, until it ends. It never mends itself; how it ended says how to
 * go on.
 *
 * A server that is frozen, or behind a network that drops everything, ends nothing and says nothing, so silence is asked
 * about. First on the stream (a progress request): that costs etcd next to nothing, and it answers while it defragments.
 * Servers do not answer it while a watch catches up with old revisions (etcd#17557), so a small read decides before the
 * server counts as dead. Progress answers prove life and nothing else: up to 3.4.24 and 3.5.7 the revision they carry may
 * be ahead of the events (etcd#15220).
 */
import { isAborted, pause } from '../pause.ts'
import type { Stream } from './etcd-connection.ts'
import { EtcdFailure, status } from './etcd-failure.ts'
import { isInRange } from './etcd-key.ts'
import type { KeyRange } from './etcd-key.ts'
import type { KeyValue, WatchRequest, WatchResponse } from './etcd-message.ts'
import { malformed } from './etcd-session.ts'
import type { EtcdSession } from './etcd-session.ts'

/** In ms; the sum is how soon a dead server is noticed at the latest. */
export interface Pulse {
  /** Of silence before the stream is asked for progress. */
  readonly quietMs: number
  /** For its answer. */
  readonly progressMs: number
  /** For the answer to the read that decides. */
  readonly probeMs: number
}

export interface WatchHandler {
  /** The watch stands: from here on nothing is missed. */
  started(): void
  put(kv: KeyValue): void
  deleted(key: Uint8Array): void
  /** All changes up to this revision have been told. */
  upTo(revision: number): void
}

/** `over`: the time is up. `behind`: changes are lost, or cannot be told, so everything must be listed again. */
export type WatchEnd = 'over' | 'behind'

export interface WatchOptions {
  readonly keys: KeyRange
  /** The first that is told. */
  readonly fromRevision: number
  readonly lastsMs: number
  readonly pulse: Pulse
}

/** Throws EtcdFailure where the server failed us, or the signal's reason. */
export async function watchKeys(
  session: EtcdSession,
  options: WatchOptions,
  handler: WatchHandler,
  signal: AbortSignal,
): Promise<WatchEnd> {
  signal.throwIfAborted()
  const watch = new Watch(session, options, handler)
  const over = setTimeout(() => {
    watch.end('over')
  }, options.lastsMs)
  const abort = (): void => {
    watch.fail(signal.reason)
  }
  signal.addEventListener('abort', abort, { once: true })
  try {
    return await watch.ended
  } finally {
    clearTimeout(over)
    signal.removeEventListener('abort', abort)
    watch.close()
  }
}

class Watch {
  readonly ended: Promise<WatchEnd>
  readonly #session: EtcdSession
  readonly #options: WatchOptions
  readonly #handler: WatchHandler
  readonly #stream: Stream<WatchRequest>
  readonly #closing = new AbortController()
  #settle: { readonly end: (end: WatchEnd) => void; readonly fail: (error: unknown) => void } | undefined
  #heardAt = performance.now()
  /** Progress was asked for, and nothing came since. */
  #askedAt: number | undefined

  constructor(session: EtcdSession, options: WatchOptions, handler: WatchHandler) {
    this.#session = session
    this.#options = options
    this.#handler = handler
    this.ended = new Promise((end, fail) => {
      this.#settle = { end, fail }
    })
    this.#stream = session.watch({
      message: (message) => {
        this.#hear(message)
      },
      end: (failure) => {
        // A change that is longer than an answer may be would come again and again.
        if (failure.isTooLarge) this.end('behind')
        else this.fail(failure)
      },
    })
    const { keys, fromRevision } = options
    this.#stream.write({
      create: { key: keys.start, rangeEnd: keys.end, startRevision: fromRevision, fragment: true },
    })
    void this.#listen()
  }

  end(end: WatchEnd): void {
    this.#settle?.end(end)
  }

  fail(error: unknown): void {
    this.#settle?.fail(error)
  }

  close(): void {
    this.#closing.abort()
    this.#stream.cancel()
  }

  #hear(answer: WatchResponse): void {
    this.#heardAt = performance.now()
    if (this.#askedAt !== undefined) this.#session.roundTripMs = this.#heardAt - this.#askedAt
    this.#askedAt = undefined
    if (answer.canceled) {
      if (answer.compactRevision > 0) this.end('behind')
      else this.fail(cancellation(answer.cancelReason))
      return
    }
    try {
      if (answer.created) this.#handler.started()
      this.#tell(answer)
    } catch (error) {
      this.fail(error)
    }
  }

  #tell({ events, fragment }: WatchResponse): void {
    let last = 0
    for (const { type, kv } of events) {
      const { keys, fromRevision } = this.#options
      if (kv === undefined || !isInRange(kv.key, keys) || kv.modRevision < fromRevision)
        throw malformed('a change that was not asked for')
      if (type === 0) this.#handler.put(kv)
      else this.#handler.deleted(kv.key)
      last = kv.modRevision
    }
    // All changes of one revision come in one answer, but an answer may come in fragments.
    if (last > 0 && !fragment) this.#handler.upTo(last)
  }

  async #listen(): Promise<void> {
    const { quietMs, progressMs, probeMs } = this.#options.pulse
    const { signal } = this.#closing
    while (!isAborted(signal)) {
      const quiet = this.#heardAt + quietMs - performance.now()
      if (quiet > 0) {
        await pause(quiet, signal)
        continue
      }
      const askedAt = (this.#askedAt = performance.now())
      this.#stream.write({ progress: {} })
      await pause(progressMs, signal)
      if (isAborted(signal) || this.#heardAt >= askedAt) continue
      try {
        await this.#session.touch(
          this.#options.keys.start,
          { serializable: true, deadlineMs: probeMs },
          signal,
        )
        this.#heardAt = performance.now()
      } catch (error) {
        // The stream may have spoken meanwhile, as it does where it was us who were frozen.
        if (this.#heardAt < askedAt) this.fail(error)
      }
    }
  }
}

/** The text is that of a gRPC error as Go prints it. */
function cancellation(reason: string): EtcdFailure {
  const detail = reason.replace(/^rpc error: code = \w+ desc = /, '')
  const code = /permission denied/.test(detail) ? status.permissionDenied : status.unavailable
  return new EtcdFailure(code, detail === '' ? 'the watch was cancelled' : detail)
}
