/**
 * Following a registry in etcd, whatever happens to servers and network:
 *
 *     open ──▶ list ──▶ watch from revision + 1 ──▶ audit ──▶ watch ──▶ …
 *       │                  │ compacted, or a change too long to be told ──▶ list
 *       └◀─ next endpoint ─┴─ connection lost, watch cancelled ──▶ open, and watch from where we were
 *
 * The list is everything, with values, and makes a complete bag. The audit lists keys and the revisions they were written
 * at, which is little, and reads what differs: a watch has been known to lose a change (etcd#18089), and two members to
 * hold different data. Where the history itself is another one (a cluster made anew, a backup restored), nothing that is
 * known can be held against it, and everything is listed.
 *
 * Endpoints are tried in turn. The registry counts as unreachable once all of them failed; what is known stays in force.
 */
import { isAborted, pause } from '../pause.ts'
import { LinkspanError } from '../errors.ts'
import type { Reason } from '../errors.ts'
import type { EtcdContent } from './etcd-content.ts'
import type { Endpoint } from './etcd-endpoint.ts'
import { EtcdFailure } from './etcd-failure.ts'
import { keyOfName, nameOfKey, originOf } from './etcd-key.ts'
import { listDocuments, listRevisions } from './etcd-list.ts'
import type { Place } from './etcd-list.ts'
import { range } from './etcd-message.ts'
import type { Header, KeyValue } from './etcd-message.ts'
import type { EtcdOutbox } from './etcd-outbox.ts'
import { backoffMs } from './etcd-backoff.ts'
import type { EtcdServers } from './etcd-servers.ts'
import { reasonAt } from './etcd-session.ts'
import type { EtcdSession } from './etcd-session.ts'
import { watchKeys } from './etcd-watch.ts'
import type { Pulse, WatchHandler } from './etcd-watch.ts'
import { inTurns } from './in-turns.ts'

export interface FollowerOptions {
  readonly place: Place
  readonly pulse: Pulse
  /** Between two audits, in ms; a tenth of jitter either way. */
  readonly auditMs: number
  /** The first connection comes within so many ms, at random. */
  readonly spreadMs: number
  readonly random: () => number
}

/** Keys an audit reads one by one; where more differ, everything is listed. */
const mostSingle = 64
/** A session that stood so long did well: the next failure begins a new row, in ms. */
const soundMs = 10_000
/** Keys taken out between two chances for the event loop. */
const step = 4096

export class EtcdFollower {
  readonly #servers: EtcdServers
  readonly #options: FollowerOptions
  readonly #outbox: EtcdOutbox
  readonly #failures = new Map<Endpoint, Reason>()
  #content: EtcdContent | undefined
  /** Where we are: all changes up to its revision are known. */
  #at: Header | undefined
  #session: EtcdSession | undefined
  #failed = 0
  #standsSince: number | undefined

  constructor(servers: EtcdServers, options: FollowerOptions, outbox: EtcdOutbox) {
    this.#servers = servers
    this.#options = options
    this.#outbox = outbox
  }

  /** The session that follows now. */
  get session(): EtcdSession | undefined {
    return this.#standsSince === undefined ? undefined : this.#session
  }

  /** Until the signal aborts. Throws nothing. */
  async run(signal: AbortSignal): Promise<void> {
    const { endpoints } = this.#servers
    await pause(this.#options.spreadMs * this.#options.random(), signal)
    while (!isAborted(signal)) {
      const endpoint = this.#servers.current
      let refused = false
      try {
        this.#session = await this.#servers.open(endpoint)
        await this.#follow(this.#session, signal)
      } catch (error) {
        if (isAborted(signal)) return
        refused = this.#lose(endpoint, error)
      } finally {
        this.#session?.close()
        this.#session = this.#standsSince = undefined
      }
      // The first round through the endpoints is quick: one dead server is no reason to wait.
      await pause(
        backoffMs(Math.ceil(this.#failed / endpoints.length), refused, this.#options.random),
        signal,
      )
    }
  }

  /** True where the server is there and will not have us. */
  #lose(endpoint: Endpoint, error: unknown): boolean {
    const stood = this.#standsSince
    if (stood !== undefined && performance.now() - stood > soundMs) this.#failed = 0
    this.#failed++
    this.#servers.giveUp(endpoint)
    const failure = error instanceof EtcdFailure ? error : undefined
    // A token that ended looks like a missing right to a watch (etcd#12385).
    if (failure?.isRefusal === true) this.#session?.forgetToken()
    // A connection that breaks after it stood is made anew first, and nobody hears of a server that restarts quickly.
    if (stood === undefined || failure?.isSilence === true)
      this.#failures.set(endpoint, reasonAt(error, endpoint))
    const { endpoints } = this.#servers
    if (endpoints.every((each) => this.#failures.has(each))) {
      this.#outbox.unreachable(endpoints.flatMap((each) => this.#failures.get(each) ?? []))
    }
    return (
      failure?.isRefusal === true || (error instanceof LinkspanError && error.code !== 'registry-unreadable')
    )
  }

  async #follow(session: EtcdSession, signal: AbortSignal): Promise<never> {
    const { pulse, place } = this.#options
    const { keys } = place
    // Through the whole cluster: a member that lags behind must not look like history that went back.
    const header = await session.touch(keys.start, { serializable: false }, signal)
    if (!this.#continues(header)) await this.#list(session, signal)
    for (let behind = 0; ;) {
      const fromRevision = (this.#at?.revision ?? 0) + 1
      const lastsMs = this.#options.auditMs * (0.9 + this.#options.random() / 5)
      const handler = this.#handler()
      const end = await watchKeys(session, { keys, fromRevision, lastsMs, pulse }, handler, signal)
      if (end === 'over') {
        behind = 0
        await this.#audit(session, signal)
      } else {
        // Again and again only where somebody keeps writing what we do not take.
        if (behind++ > 0) await pause(backoffMs(behind, true, this.#options.random), signal)
        await this.#list(session, signal)
      }
    }
  }

  /** True where the cluster is the one we knew, and its history goes on from where we are. */
  #continues({ clusterId, revision, raftTerm }: Header): boolean {
    const at = this.#at
    if (at === undefined || this.#content === undefined) return false
    return clusterId === at.clusterId && revision >= at.revision && raftTerm >= at.raftTerm
  }

  async #list(session: EtcdSession, signal: AbortSignal): Promise<void> {
    const { content, documents, header } = await listDocuments(session, this.#options.place, signal)
    this.#content = content
    this.#at = header
    this.#outbox.all(documents, () => content.unreadable)
  }

  async #audit(session: EtcdSession, signal: AbortSignal): Promise<void> {
    const { revisions, header } = await listRevisions(session, this.#options.place, signal)
    const content = this.#continues(header) ? this.#content : undefined
    const differences = content && (await inTurns(content.differences(revisions), signal))
    if (differences === undefined || differences.changed.length > mostSingle) {
      await this.#list(session, signal)
      return
    }
    await inTurns(this.#removeAll(differences.gone), signal)
    for (const name of differences.changed) {
      const { revision } = header
      try {
        const { kvs } = await session.call(range, { key: keyOfName(name), revision }, signal)
        for (const kv of kvs.slice(0, 1)) this.#put(name, kv.modRevision, kv.value)
      } catch (error) {
        if (!(error instanceof EtcdFailure && error.isTooLarge)) throw error
        this.#put(name, revisions.get(name) ?? revision, undefined)
      }
    }
    this.#at = header
    this.#outbox.checked()
  }

  #handler(): WatchHandler {
    return {
      started: () => {
        this.#standsSince ??= performance.now()
        this.#failures.clear()
        this.#outbox.unreachable([])
      },
      put: ({ key, modRevision, value }: KeyValue) => {
        this.#put(nameOfKey(key), modRevision, value)
      },
      deleted: (key) => {
        this.#remove(nameOfKey(key))
      },
      upTo: (revision) => {
        if (this.#at !== undefined) this.#at = { ...this.#at, revision }
      },
    }
  }

  #put(name: string, revision: number, value: Uint8Array | undefined): void {
    const isTaken = this.#content?.put(name, revision, value) === true
    if (isTaken && value !== undefined) this.#outbox.put(originOf(name), new Uint8Array(value))
    else this.#outbox.rouse()
  }

  *#removeAll(names: readonly string[]): Generator<void, void> {
    for (const [i, name] of names.entries()) {
      this.#remove(name)
      if (i % step === 0) yield
    }
  }

  #remove(name: string): void {
    if (this.#content?.remove(name) === true) this.#outbox.remove(originOf(name))
    else this.#outbox.rouse()
  }
}
