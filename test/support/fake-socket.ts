/** A netlink socket without a kernel: it refuses as told, and lists some links of ours and a set of elements. */
import { constants } from 'node:os'
import type { Addon, Failure, NetlinkSocket } from '../../agent/kernel/addon.ts'
import { forEachMessage, MessageWriter } from '../../agent/kernel/message.ts'
import { message } from '../../agent/kernel/rtnetlink.ts'
import { linkGroup } from '../../agent/model/kernel-number.ts'

const nft = { getTable: 0xa01, newElement: 0xa0c, getElement: 0xa0d, getGeneration: 0xa10, getSet: 0xa0a }
const controller = 0x10
const inet = Uint8Array.of(1, 0, 0, 0)

export class FakeSocket implements NetlinkSocket {
  readonly portId = 1
  /** The errno for a message: its bytes, its place in the request, the number of the request. */
  refuse: (bytes: Uint8Array, index: number, request: number) => number = () => 0
  /** Errnos of dumps, by message type. */
  readonly dumpErrnos = new Map<number, number>()
  /** How often a dump is torn, by message type. */
  readonly torn = new Map<number, number>()
  /** Errno of a look at the nft table. */
  refuseTable = 0
  hasTable = false
  /** Keys of the one set. */
  elements: readonly string[] = []
  readonly #links: readonly string[]
  #requests = 0

  constructor(links: readonly string[]) {
    this.#links = links
  }

  request(messages: Uint8Array): Promise<readonly Failure[]> {
    const request = this.#requests++
    const failures: Failure[] = []
    let index = 0
    forEachMessage(messages, (_type, _flags, _seq, _pid, start, end) => {
      const errno = this.refuse(messages.subarray(start, end), index, request)
      if (errno !== 0) failures.push({ index, errno, message: '' })
      index++
    })
    return Promise.resolve(failures)
  }

  query(bytes: Uint8Array): Promise<Uint8Array | Failure> {
    const writer = new MessageWriter(512)
    switch (typeOf(bytes)) {
      case message.getLink: {
        const name = this.#links.find((each) => Buffer.from(bytes).includes(`${each}\0`))
        if (name === undefined) return refused(constants.errno.ENODEV)
        this.#writeLink(writer, name)
        break
      }
      case nft.getTable:
        if (this.refuseTable !== 0) return refused(this.refuseTable)
        if (!this.hasTable) return refused(constants.errno.ENOENT)
        writer.begin(nft.getTable, 0)
        writer.bytes(inet)
        writer.end()
        break
      case nft.getGeneration:
        writer.begin(nft.getGeneration, 0)
        writer.bytes(inet)
        writer.attr(1, Uint8Array.of(0, 0, 0, 7))
        writer.end()
        break
      default:
        // The family of WireGuard.
        writer.begin(controller, 0)
        writer.u32(0)
        writer.attrU16(1, 0x1d)
        writer.end()
    }
    return Promise.resolve(writer.take())
  }

  dump(
    bytes: Uint8Array,
    onChunk: (chunk: Uint8Array) => void,
  ): Promise<{ readonly interrupted: boolean } | Failure> {
    const type = typeOf(bytes)
    const errno = this.dumpErrnos.get(type)
    if (errno !== undefined) return refused(errno)
    const writer = new MessageWriter(1024)
    if (type === message.getLink) for (const name of this.#links) this.#writeLink(writer, name)
    else if (type === nft.getElement) this.#writeElements(writer)
    else if (type === nft.getSet) writeSet(writer)
    onChunk(writer.take())
    const torn = this.torn.get(type) ?? 0
    if (torn > 0) this.torn.set(type, torn - 1)
    return Promise.resolve({ interrupted: torn > 0 })
  }

  close(): void {
    // nothing to close
  }

  #writeLink(writer: MessageWriter, name: string): void {
    writer.begin(message.newLink, 0)
    for (const number of [0, 2 + this.#links.indexOf(name), 1, 0]) writer.u32(number)
    writer.attrString(3, name)
    writer.attrU32(4, 1420)
    writer.attrU32(27, linkGroup)
    writer.nest(18)
    writer.attrString(1, name.startsWith('ls-vx') ? 'vxlan' : 'wireguard')
    writer.endNest()
    writer.end()
  }

  #writeElements(writer: MessageWriter): void {
    writer.begin(nft.newElement, 0)
    writer.bytes(inet)
    writer.nest(3)
    for (const key of this.elements) {
      writer.nest(1)
      writer.nest(1)
      writer.attr(1, Uint8Array.from(key.split('.'), Number))
      writer.endNest()
      writer.endNest()
    }
    writer.endNest()
    writer.end()
  }
}

/** Set remote4_16 of ipv4_addr. */
function writeSet(writer: MessageWriter): void {
  writer.begin(nft.getSet, 0)
  writer.bytes(inet)
  writer.attrString(2, 'remote4_16')
  writer.attr(4, Uint8Array.of(0, 0, 0, 7))
  writer.end()
}

function typeOf(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint16(4, true)
}

function refused(errno: number): Promise<Failure> {
  return Promise.resolve({ index: 0, errno, message: '' })
}

export function fakeAddon(socket: NetlinkSocket): Addon {
  return {
    openSocket: () => socket,
    subscribe: () => ({ close: () => undefined }),
    notify: () => 0,
  }
}
