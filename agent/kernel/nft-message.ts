/**
 * Numbers of nfnetlink's nf_tables (include/uapi/linux/netfilter/nf_tables.h) that the driver uses, its generation, and
 * errors.
 */
import { LinkspanError } from '../errors.ts'
import type { Reason } from '../errors.ts'
import type { Failure, NetlinkSocket } from './addon.ts'
import { be32At, findAttribute, flag, forEachMessage, MessageWriter } from './message.ts'
import { reasonOfFailure } from './route-socket.ts'

/** NETLINK_NETFILTER. */
export const netfilter = 12

const subsystem = 10 << 8
export const message = {
  getTable: subsystem | 1,
  getChain: subsystem | 4,
  getRule: subsystem | 7,
  getSet: subsystem | 10,
  newElement: subsystem | 12,
  getElement: subsystem | 13,
  deleteElement: subsystem | 14,
  getGeneration: subsystem | 16,
  batchBegin: 0x10,
  batchEnd: 0x11,
} as const

/** struct nfgenmsg: family inet, version 0, resource id in network order. */
export const inetHeader = Uint8Array.of(1, 0, 0, 0)
export const batchHeader = Uint8Array.of(0, 0, 0, 10)
export const headerLength = 4

export const ENOENT = 2

const generationId = 1

/** How many transactions this namespace's ruleset has seen. */
export async function readGeneration(socket: NetlinkSocket): Promise<number> {
  const writer = new MessageWriter(64)
  writer.begin(message.getGeneration, flag.request)
  writer.bytes(inetHeader)
  writer.end()
  const answer = await socket.query(writer.take())
  if ('errno' in answer) throw netlinkError('nft generation', answer)
  let id = -1
  forEachMessage(answer, (_type, _flags, _seq, _pid, start, end) => {
    const at = findAttribute(answer, start + headerLength, end, generationId)
    if (at >= 0) id = be32At(answer, at)
  })
  if (id < 0) throw netlinkError('nft generation', { index: 0, errno: 0, message: 'none in the answer' })
  return id
}

export function netlinkError(object: string, failure: Failure): LinkspanError {
  return new LinkspanError(nftReason(object, failure))
}

/** An errno of 0: the answer was not one. */
export function nftReason(object: string, failure: Failure): Reason {
  if (failure.errno === 0) return { code: 'netlink', object, reason: failure.message }
  return reasonOfFailure(failure, object)
}
