/** Carrying out ops on links: made, changed and removed one by one, for there are few. */
import { constants } from 'node:os'
import { LinkspanError, reasonOf } from '../errors.ts'
import type { Reason } from '../errors.ts'
import { formatObject } from '../model/op-text.ts'
import type { Link } from '../model/kernel-object.ts'
import { resultOf } from '../model/op.ts'
import type { Op, OpResult } from '../model/op.ts'
import {
  encodeLinkAdd,
  encodeLinkRemove,
  encodeLinkSet,
  encodeLinkUp,
  encodeNoAutomaticAddress,
} from './link.ts'
import type { Links } from './links.ts'
import { MessageWriter } from './message.ts'
import { reasonOfFailure } from './route-socket.ts'
import type { RouteSocket } from './route-socket.ts'
import type { WireGuardGo } from './wireguard-go.ts'

const { EEXIST, ENODEV, EOPNOTSUPP, EAFNOSUPPORT } = constants.errno

export class LinkOps {
  readonly #socket: RouteSocket
  readonly #links: Links
  readonly #go: WireGuardGo
  #run: Promise<void> = Promise.resolve()

  constructor(socket: RouteSocket, links: Links, go: WireGuardGo) {
    this.#socket = socket
    this.#links = links
    this.#go = go
  }

  /** Resolves when no run is under way. */
  idle(): Promise<void> {
    return this.#run
  }

  /** All ops of the run; wireguard-go's processes start side by side. Results in order. */
  apply(ops: readonly Op[], signal: AbortSignal): Promise<readonly OpResult[]> {
    const run = this.#apply(ops, signal)
    this.#run = run.then(
      () => undefined,
      () => undefined, // the caller has the error
    )
    return run
  }

  async #apply(ops: readonly Op[], signal: AbortSignal): Promise<readonly OpResult[]> {
    await this.#links.refresh()
    const started = await Promise.all(ops.map((op) => this.#start(op, signal)))
    if (ops.some(({ verb, object }) => verb === 'add' && object.kind === 'link' && object.type === 'tun')) {
      await this.#links.refresh()
    }
    const results: OpResult[] = []
    for (const [i, op] of ops.entries()) {
      const { object } = op
      if (object.kind !== 'link') throw new TypeError(`${object.kind} is no link`)
      signal.throwIfAborted()
      results.push(resultOf(op, started[i] ?? (await this.#one(op, object, signal))))
      await this.#tell(object.name)
    }
    return results
  }

  /** What the link is now is our own doing, and no news. */
  async #tell(name: string): Promise<void> {
    const before = this.#links.get(name)
    const link = await this.#links.look(name)
    if (link !== undefined) this.#links.told.link(link)
    else if (before !== undefined) this.#links.told.forget(before.ifindex)
  }

  async #start({ verb, object }: Op, signal: AbortSignal): Promise<Reason | undefined> {
    if (verb !== 'add' || object.kind !== 'link' || object.type !== 'tun') return undefined
    // A tun that is remade: its removal, earlier in this run, has not happened yet.
    if (this.#links.get(object.name) !== undefined) return undefined
    try {
      await this.#startGo(object.name, signal)
      return undefined
    } catch (error) {
      return reasonOf(error, formatObject(object))
    }
  }

  /** A start that leaves no link leaves no name either: the next link under it may be the kernel's. */
  async #startGo(name: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#go.start(name, signal)
    } catch (error) {
      // Where nobody can say whether there is a link, the name stays listed, and a tun under it ours.
      const isGone = await this.#links.look(name).then(
        (link) => link === undefined,
        () => false,
      )
      if (isGone) await this.#go.forget(name)
      throw error
    }
  }

  async #one({ verb }: Op, link: Link, signal: AbortSignal): Promise<Reason | undefined> {
    try {
      if (verb === 'remove') await this.#remove(link, signal)
      else {
        if (verb === 'add') await this.#make(link, signal)
        await this.#set(link)
      }
      return undefined
    } catch (error) {
      return reasonOf(error, formatObject(link))
    }
  }

  async #make(link: Link, signal: AbortSignal): Promise<void> {
    if (link.type === 'tun') {
      if (this.#links.get(link.name) !== undefined) return // started with the others
      await this.#startGo(link.name, signal)
      await this.#links.look(link.name)
      return
    }
    const master = link.master === undefined ? undefined : this.#links.ifindexOf(link.master)
    await this.#send(link, (writer) => {
      encodeLinkAdd(writer, link, master)
    })
    // wireguard-go made it once, and the kernel does now.
    if (this.#go.names.has(link.name)) await this.#go.forget(link.name)
    await this.#links.look(link.name)
  }

  /** What can be set only on a link that exists; all of it each time, for a start may have died half way. */
  async #set(link: Link): Promise<void> {
    const ifindex = this.#links.ifindexOf(link.name)
    const master = link.master === undefined ? 0 : this.#links.ifindexOf(link.master)
    const wrong = (this.#links.get(link.name)?.master ?? 0) !== master
    await this.#send(link, (writer) => {
      encodeLinkSet(writer, ifindex, link, wrong ? master : undefined)
    })
    await this.#send(
      link,
      (writer) => {
        encodeNoAutomaticAddress(writer, ifindex)
      },
      [EOPNOTSUPP, EAFNOSUPPORT], // no IPv6 here: no address either
    )
    await this.#send(link, (writer) => {
      encodeLinkUp(writer, ifindex, link.up)
    })
  }

  async #remove(link: Link, signal: AbortSignal): Promise<void> {
    if (this.#go.names.has(link.name)) {
      await this.#go.stop(link.name, signal)
      return
    }
    const ifindex = this.#links.get(link.name)?.ifindex
    if (ifindex === undefined) return
    this.#links.told.forget(ifindex)
    await this.#send(
      link,
      (writer) => {
        encodeLinkRemove(writer, ifindex)
      },
      [ENODEV],
    )
  }

  async #send(
    link: Link,
    encode: (writer: MessageWriter) => void,
    fine: readonly number[] = [],
  ): Promise<void> {
    const writer = new MessageWriter(1024)
    encode(writer)
    const [failure] = await this.#socket.raw.request(writer.take())
    if (failure === undefined || fine.includes(failure.errno)) return
    const reason = reasonOfFailure(failure, formatObject(link))
    throw new LinkspanError(failure.errno === EEXIST ? { ...reason, code: 'conflict' } : reason)
  }
}
