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

let loaded: Addon | undefined

/** Loads native/build/linkspan.node of this package. */
export function addon(): Addon {
  loaded ??= createRequire(import.meta.url)(addonPath()) as Addon
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
