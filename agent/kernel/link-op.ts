/** Carrying out ops on links: made, changed and removed one by one, for there are few. */
import { constants } from 'node:os'
import { LinkspanError, reasonOf } from '../errors.ts'
import type { Reason } from '../errors.ts'
import { formatObject } from '../model/op-text.ts'
import type { Link } from '../model/kernel-object.ts'
import type { Op } from '../model/op.ts'
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

const { ENODEV, EOPNOTSUPP, EAFNOSUPPORT } = constants.errno

export class LinkOps {
  readonly #socket: RouteSocket
  readonly #links: Links
  readonly #go: WireGuardGo

  constructor(socket: RouteSocket, links: Links, go: WireGuardGo) {
    this.#socket = socket
    this.#links = links
    this.#go = go
  }

  /** All ops of the run; wireguard-go's processes start side by side. Results in order. */
  async apply(ops: readonly Op[], signal: AbortSignal): Promise<readonly (Reason | undefined)[]> {
    await this.#links.refresh()
    const started = await Promise.all(ops.map((op) => this.#start(op, signal)))
    if (ops.some((op) => op.verb === 'add')) await this.#links.refresh()
    const results: (Reason | undefined)[] = []
    for (const [i, op] of ops.entries()) {
      const error = started[i] ?? (op.object.kind === 'link' ? await this.#one(op, op.object, signal) : undefined)
      results.push(error)
      // What follows may name it: as the master of a port, or to be made again under the same name.
      await this.#links.refresh()
    }
    return results
  }

  async #start({ verb, object }: Op, signal: AbortSignal): Promise<Reason | undefined> {
    if (verb !== 'add' || object.kind !== 'link' || object.type !== 'tun') return undefined
    // A tun that is remade: its removal, earlier in this run, has not happened yet.
    if (this.#links.get(object.name) !== undefined) return undefined
    try {
      await this.#go.start(object.name, signal)
      return undefined
    } catch (error) {
      return reasonOf(error, formatObject(object))
    }
  }

  async #one({ verb }: Op, link: Link, signal: AbortSignal): Promise<Reason | undefined> {
    try {
      if (verb === 'remove') await this.#remove(link, signal)
      else {
        if (verb === 'add') await this.#make(link, signal)
        await this.#set(link, verb === 'replace')
      }
      return undefined
    } catch (error) {
      return reasonOf(error, formatObject(link))
    }
  }

  async #make(link: Link, signal: AbortSignal): Promise<void> {
    if (link.type === 'tun') {
      if (this.#links.get(link.name) === undefined) {
        await this.#go.start(link.name, signal)
        await this.#links.refresh()
      }
      return
    }
    const master = link.master === undefined ? undefined : this.#links.ifindexOf(link.master)
    await this.#send(link, (writer) => {
      encodeLinkAdd(writer, link, master)
    })
    await this.#links.refresh()
  }

  async #set(link: Link, replaced: boolean): Promise<void> {
    const ifindex = this.#links.ifindexOf(link.name)
    const master = link.master === undefined ? 0 : this.#links.ifindexOf(link.master)
    const wrong = (this.#links.get(link.name)?.master ?? 0) !== master
    await this.#send(link, (writer) => {
      encodeLinkSet(writer, ifindex, link, wrong ? master : undefined)
    })
    if (!replaced) {
      await this.#send(link, (writer) => {
        encodeNoAutomaticAddress(writer, ifindex)
      }, [EOPNOTSUPP, EAFNOSUPPORT]) // no IPv6 here: no address either
    }
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
    await this.#send(link, (writer) => {
      encodeLinkRemove(writer, ifindex)
    }, [ENODEV])
  }

  async #send(link: Link, encode: (writer: MessageWriter) => void, fine: readonly number[] = []): Promise<void> {
    const writer = new MessageWriter(1024)
    encode(writer)
    const [failure] = await this.#socket.raw.request(writer.take())
    if (failure !== undefined && !fine.includes(failure.errno)) {
      throw new LinkspanError(reasonOfFailure(failure, formatObject(link)))
    }
  }
}
