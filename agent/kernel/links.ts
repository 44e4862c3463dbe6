/**
 * The one map between names and ifindexes. The kernel speaks in ifindexes, everything above the driver in names. It is
 * made anew by each dump of links and kept by events, so that a link remade under its old name is found at once.
 */
import { constants } from 'node:os'
import { LinkspanError } from '../errors.ts'
import { linkPattern } from '../model/kernel-number.ts'
import { decodeLink, encodeLinkDump, encodeLinkGet } from './link.ts'
import type { ObservedLink } from './link.ts'
import { forEachMessage, MessageWriter } from './message.ts'
import { message } from './rtnetlink.ts'
import { reasonOfFailure } from './route-socket.ts'
import type { RouteSocket } from './route-socket.ts'
import { Told } from './told.ts'

/** What a chunk of link events says that nobody has been told yet. */
export interface LinkNews {
  readonly foreign: boolean
  /** Names of ours that changed, perhaps by ourselves. */
  readonly own: ReadonlySet<string>
}

export class Links {
  readonly told = new Told()
  readonly #socket: RouteSocket
  #byName = new Map<string, ObservedLink>()
  #names = new Map<number, string>()

  constructor(socket: RouteSocket) {
    this.#socket = socket
  }

  /** All links, asked anew. */
  async refresh(): Promise<readonly ObservedLink[]> {
    const writer = new MessageWriter(64)
    encodeLinkDump(writer)
    const found = await this.#socket.collect(writer.take(), 'links', (bytes, type, start, end) =>
      type === message.newLink ? decodeLink(bytes, start, end) : undefined,
    )
    this.#byName = new Map(found.map((link) => [link.name, link]))
    this.#names = new Map(found.map((link) => [link.ifindex, link.name]))
    return found
  }

  /** One link, asked anew; undefined where there is none. Throws LinkspanError `netlink`. */
  async look(name: string): Promise<ObservedLink | undefined> {
    const writer = new MessageWriter(64)
    encodeLinkGet(writer, name)
    const answer = await this.#socket.raw.query(writer.take())
    if ('errno' in answer) {
      if (answer.errno !== constants.errno.ENODEV)
        throw new LinkspanError(reasonOfFailure(answer, `link ${name}`))
      const known = this.#byName.get(name)
      if (known !== undefined) this.#drop(known)
      return undefined
    }
    let found: ObservedLink | undefined
    forEachMessage(answer, (type, _flags, _seq, _pid, start, end) => {
      if (type === message.newLink) found = decodeLink(answer, start, end)
    })
    if (found !== undefined) this.#put(found)
    return found
  }

  get(name: string): ObservedLink | undefined {
    return this.#byName.get(name)
  }

  readonly nameOf = (ifindex: number): string | undefined => this.#names.get(ifindex)

  /** Throws LinkspanError `netlink` where there is no such link. */
  readonly ifindexOf = (name: string): number => {
    const link = this.#byName.get(name)
    if (link === undefined) {
      throw new LinkspanError({
        code: 'netlink',
        object: `link ${name}`,
        reason: 'ENODEV: there is no such link',
      })
    }
    return link.ifindex
  }

  /** Takes in link events. */
  take(chunk: Uint8Array): LinkNews {
    const own = new Set<string>()
    let foreign = false
    const news = (name: string): void => {
      if (linkPattern.test(name)) own.add(name)
      else foreign = true
    }
    forEachMessage(chunk, (type, _flags, _seq, _pid, start, end) => {
      if (type !== message.newLink && type !== message.delLink) return
      // A bridge tells of its ports in family AF_BRIDGE, a leaving one by RTM_DELLINK: the link itself is still there.
      if (chunk[start] !== 0) return
      const link = decodeLink(chunk, start, end)
      const known = this.#byName.get(this.#names.get(link.ifindex) ?? '')
      if (type === message.delLink) {
        if (known !== undefined) this.#drop(known)
        if (this.told.has(link.ifindex)) news(link.name)
        return
      }
      if (known !== undefined && known.name !== link.name) {
        this.#drop(known)
        news(known.name)
      }
      this.#put(link)
      if (!this.told.knows(link)) news(link.name)
    })
    return { foreign, own }
  }

  #put(link: ObservedLink): void {
    this.#byName.set(link.name, link)
    this.#names.set(link.ifindex, link.name)
  }

  #drop(link: ObservedLink): void {
    // Another link may have taken the name since.
    if (this.#byName.get(link.name)?.ifindex === link.ifindex) this.#byName.delete(link.name)
    this.#names.delete(link.ifindex)
  }
}
