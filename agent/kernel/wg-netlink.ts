/**
 * Kernel WireGuard's generic netlink family (include/uapi/linux/wireguard.h): WG_CMD_SET_DEVICE, encoded by hand.
 *
 * Many peers a message, never WGPEER_F_REPLACE_ALLOWEDIPS. The kernel stops at the first peer it dislikes, so a
 * message that fails is repeated change by change. Newer kernels can take a single prefix away
 * (WGALLOWEDIP_F_REMOVE_ME); older ones answer EINVAL to the first try, and a throw-away peer serves from then on.
 */
import { LinkspanError } from '../errors.ts'
import type { Reason } from '../errors.ts'
import { addressBytes, familyOf, lengthOf, networkOf, parseAddress } from '../model/prefix.ts'
import type { Address, Prefix } from '../model/prefix.ts'
import type { Addon, Failure, NetlinkSocket } from './addon.ts'
import { findAttribute, flag, forEachMessage, MessageWriter, u16At } from './message.ts'
import { discarding } from './peer-change.ts'
import type { PeerChange, PeerChannel } from './peer-change.ts'
import { reasonOfFailure } from './route-socket.ts'

const generic = 16
const controller = 0x10
const getFamily = 3
const familyId = 1
const familyName = 2

const setDevice = 1
const device = { name: 2, peers: 8 } as const
const peer = { publicKey: 1, flags: 3, endpoint: 4, keepalive: 5, allowedIPs: 9 } as const
const peerFlag = { removeMe: 1, updateOnly: 4 } as const
const allowed = { family: 1, address: 2, length: 3, flags: 4 } as const
const allowedRemoveMe = 1
const inet = 2
const inet6 = 10

/** Bytes at which a message is closed; one more change of 1,000 prefixes still fits into its 64 KiB. */
const messageBytes = 16 * 1024
const messagesPerSend = 2
const EINVAL = 22
const EOPNOTSUPP = 95

export class NetlinkChannel implements PeerChannel {
  readonly #socket: NetlinkSocket
  readonly #writer = new MessageWriter()
  #family: Promise<number> | undefined
  /** Whether the kernel knows WGALLOWEDIP_F_REMOVE_ME; undefined until the first try. */
  #removes: boolean | undefined

  constructor(addon: Addon) {
    this.#socket = addon.openSocket(generic)
  }

  close(): void {
    this.#socket.close()
  }

  async send(
    name: string,
    changes: readonly PeerChange[],
    signal: AbortSignal,
  ): Promise<readonly (Reason | undefined)[]> {
    this.#family ??= this.#findFamily()
    const family = await this.#family
    const first = changes.findIndex(({ verb }) => verb === 'disallow')
    const attempt = changes[first]
    if (attempt === undefined || this.#removes !== undefined) {
      return await this.#sendAll(family, name, changes, signal)
    }
    const before = await this.#sendAll(family, name, changes.slice(0, first), signal)
    let failure: Failure | undefined
    let removes: boolean | undefined
    this.#removes = true
    try {
      ;[failure] = await this.#request(family, name, [attempt])
      if (failure === undefined) removes = true
      else if (failure.errno === EINVAL || failure.errno === EOPNOTSUPP) removes = false
    } finally {
      this.#removes = removes // any other failure says nothing of it
    }
    const done = removes === true ? 1 : 0
    const rest = await this.#sendAll(family, name, changes.slice(first + done), signal)
    return done === 1 ? [...before, undefined, ...rest] : [...before, ...rest]
  }

  async #sendAll(
    family: number,
    name: string,
    changes: readonly PeerChange[],
    signal: AbortSignal,
  ): Promise<(Reason | undefined)[]> {
    const errors: (Reason | undefined)[] = []
    for (let from = 0; from < changes.length;) {
      signal.throwIfAborted()
      let size = 0
      let to = from
      while (to < changes.length && size < messagesPerSend * messageBytes) size += sizeOf(changes[to++])
      const part = changes.slice(from, to)
      from = to
      const failures = await this.#request(family, name, part)
      if (failures.length === 0) {
        errors.push(...part.map(() => undefined))
        continue
      }
      for (const change of part) {
        const [failure] = part.length === 1 ? failures : await this.#request(family, name, [change])
        errors.push(failure && refusal(name, change, failure))
      }
    }
    return errors
  }

  async #request(family: number, name: string, changes: readonly PeerChange[]): Promise<readonly Failure[]> {
    const writer = this.#writer
    let open = false
    const close = (): void => {
      writer.endNest()
      writer.end()
      open = false
    }
    for (const change of this.#removes === true ? changes : discarding(changes)) {
      if (!open) {
        writer.begin(family, flag.request)
        writer.bytes(Uint8Array.of(setDevice, 1, 0, 0))
        writer.attrString(device.name, name)
        writer.nest(device.peers)
        open = true
      }
      writePeer(writer, change)
      if (writer.nestLength >= messageBytes) close()
    }
    if (open) close()
    return await this.#socket.request(writer.take(), { batch: messagesPerSend })
  }

  async #findFamily(): Promise<number> {
    const writer = new MessageWriter(256)
    writer.begin(controller, flag.request)
    writer.bytes(Uint8Array.of(getFamily, 1, 0, 0))
    writer.attrString(familyName, 'wireguard')
    writer.end()
    const answer = await this.#socket.query(writer.take())
    let id = 0
    if (!('errno' in answer)) {
      forEachMessage(answer, (_type, _flags, _seq, _pid, start, end) => {
        const at = findAttribute(answer, start + 4, end, familyId)
        if (at >= 0) id = u16At(answer, at)
      })
    }
    if (id !== 0) return id
    this.#family = undefined // the module may be loaded later
    throw new LinkspanError({
      code: 'unsupported',
      object: 'wireguard',
      reason: 'the kernel has no WireGuard',
    })
  }
}

function sizeOf(change: PeerChange | undefined): number {
  return 100 + 40 * (change?.prefixes.length ?? 0)
}

function writePeer(writer: MessageWriter, change: PeerChange): void {
  const { publicKey, verb, endpoint, keepalive, prefixes } = change
  const key = Buffer.from(publicKey, 'base64')
  writer.nest(0)
  writer.attr(peer.publicKey, key)
  if (verb === 'remove') writer.attrU32(peer.flags, peerFlag.removeMe)
  if (verb === 'allow' || verb === 'disallow') writer.attrU32(peer.flags, peerFlag.updateOnly)
  if (endpoint !== undefined) writer.attr(peer.endpoint, socketAddress(endpoint))
  if (keepalive !== undefined) writer.attrU16(peer.keepalive, keepalive)
  if (prefixes.length > 0) {
    writer.nest(peer.allowedIPs)
    for (const prefix of prefixes) writeAllowed(writer, prefix, verb === 'disallow')
    writer.endNest()
  }
  writer.endNest()
  if (verb === 'discard') writePeer(writer, { publicKey, verb: 'remove', prefixes: [], ops: [] })
}

function writeAllowed(writer: MessageWriter, prefix: Prefix, remove: boolean): void {
  writer.nest(0)
  writer.attrU16(allowed.family, familyOf(prefix) === 4 ? inet : inet6)
  writer.attr(allowed.address, addressBytes(networkOf(prefix)))
  writer.attrU8(allowed.length, lengthOf(prefix))
  if (remove) writer.attrU32(allowed.flags, allowedRemoveMe)
  writer.endNest()
}

/** `192.0.2.1:51820` or `[2001:db8::1]:51820` as sockaddr_in (16 bytes) or sockaddr_in6 (28). */
function socketAddress(endpoint: string): Uint8Array {
  const colon = endpoint.lastIndexOf(':')
  const host = endpoint.slice(0, colon).replace(/^\[|\]$/g, '')
  const bytes = addressBytes(parseAddress(host) as Address)
  const port = Number(endpoint.slice(colon + 1))
  const four = bytes.length === 4
  const result = new Uint8Array(four ? 16 : 28)
  const view = new DataView(result.buffer)
  view.setUint16(0, four ? inet : inet6, true)
  view.setUint16(2, port)
  result.set(bytes, four ? 4 : 8) // sin6_flowinfo lies between
  return result
}

function refusal(name: string, { publicKey, verb }: PeerChange, failure: Failure): Reason {
  const what = verb === 'discard' || verb === 'disallow' ? 'allowed-ips' : `peer ${publicKey}`
  return reasonOfFailure(failure, `wg ${name} ${what}`)
}
