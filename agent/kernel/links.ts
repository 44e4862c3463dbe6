/**
 * The one map between names and ifindexes. The kernel speaks in ifindexes, everything above the driver in names. It is
 * made anew by each dump of links and kept by events, so that a link remade under its old name is found at once.
 */
import { LinkspanError } from '../errors.ts'
import { forEachMessage, MessageWriter } from './message.ts'
import { decodeLink, encodeLinkDump } from './link.ts'
import type { ObservedLink } from './link.ts'
import { message } from './rtnetlink.ts'
import type { RouteSocket } from './route-socket.ts'

export class Links {
  readonly #socket: RouteSocket
  #byName = new Map<string, ObservedLink>()
  #names = new Map<number, string>()

  constructor(socket: RouteSocket) {
    this.#socket = socket
  }

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

  all(): Iterable<ObservedLink> {
    return this.#byName.values()
  }

  get(name: string): ObservedLink | undefined {
    return this.#byName.get(name)
  }

  readonly nameOf = (ifindex: number): string | undefined => this.#names.get(ifindex)

  /** Throws LinkspanError `netlink` where there is no such link. */
  readonly ifindexOf = (name: string): number => {
    const link = this.#byName.get(name)
    if (link === undefined) {
      throw new LinkspanError({ code: 'netlink', object: `link ${name}`, reason: 'ENODEV: there is no such link' })
    }
    return link.ifindex
  }

  /** Takes in link events; true where something changed that anybody cares for. */
  take(chunk: Uint8Array): ReadonlySet<string> {
    const changed = new Set<string>()
    forEachMessage(chunk, (type, _flags, _seq, _pid, start, end) => {
      if (type !== message.newLink && type !== message.delLink) return
      const link = decodeLink(chunk, start, end)
      const known = this.#byName.get(this.#names.get(link.ifindex) ?? '')
      if (type === message.delLink) {
        // The bridge tells of a port that leaves by RTM_DELLINK of family AF_BRIDGE: the link itself is still there.
        if (chunk[start] !== 0 || known === undefined) return
        this.#byName.delete(known.name)
        this.#names.delete(link.ifindex)
        changed.add(known.name)
        return
      }
      if (chunk[start] !== 0 || (known !== undefined && sameLink(known, link))) return
      if (known !== undefined && known.name !== link.name) {
        this.#byName.delete(known.name)
        changed.add(known.name)
      }
      this.#byName.set(link.name, link)
      this.#names.set(link.ifindex, link.name)
      changed.add(link.name)
    })
    return changed
  }
}

function sameLink(a: ObservedLink, b: ObservedLink): boolean {
  return (
    a.name === b.name &&
    a.up === b.up &&
    a.mtu === b.mtu &&
    a.group === b.group &&
    a.master === b.master &&
    a.alias === b.alias &&
    a.mac === b.mac
  )
}
