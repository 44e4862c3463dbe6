/**
 * Elements of nft sets by nfnetlink (include/uapi/linux/netfilter/nf_tables.h).
 *
 * One element of 100,000 costs the kernel microseconds, while the `nft` program reads the whole set first. A transaction is
 * BATCH_BEGIN, messages of many elements each, BATCH_END, in one sendmsg; it is carried out whole or not at all. So a
 * transaction that failed is looked into: elements that are already as wanted are left out, the rest is halved until the
 * bad one stands alone.
 */
import { LinkspanError } from '../errors.ts'
import type { Reason } from '../errors.ts'
import { nftTable } from '../model/kernel-number.ts'
import type { SetElement } from '../model/kernel-object.ts'
import { addressBytes, formatAddress } from '../model/prefix.ts'
import type { Address } from '../model/prefix.ts'
import type { Failure, NetlinkSocket } from './addon.ts'
import {
  findAttribute,
  flag,
  forEachAttribute,
  forEachMessage,
  MessageWriter,
  valueLength,
} from './message.ts'
import {
  batchHeader,
  ENOENT,
  headerLength,
  inetHeader,
  message,
  netlinkError,
  nftReason,
} from './nft-message.ts'

export interface ElementOp {
  readonly verb: 'add' | 'remove'
  readonly element: SetElement
}

export interface ElementOutcome {
  /** One per op, absent for done. */
  readonly errors: readonly (Reason | undefined)[]
  /** Transactions that went through. */
  readonly transactions: number
}

const EEXIST = 17

/** Elements of one message (a nested attribute holds 64 KiB) and of one transaction (a send buffer of 208 KiB). */
const messageElements = 1000
const transactionElements = 4000
const attempts = 5

const attribute = { table: 1, set: 2, elements: 3, element: 1, key: 1, value: 1 } as const

/** Results while a list of ops is worked off. */
interface Progress {
  readonly errors: (Reason | undefined)[]
  transactions: number
}

/** Carries out the ops, in transactions of some thousands; the order among them does not matter. */
export async function applyElements(
  socket: NetlinkSocket,
  ops: readonly ElementOp[],
  signal: AbortSignal,
): Promise<ElementOutcome> {
  const progress: Progress = { errors: new Array<Reason | undefined>(ops.length), transactions: 0 }
  for (let from = 0; from < ops.length; from += transactionElements) {
    signal.throwIfAborted()
    const part = Array.from({ length: Math.min(transactionElements, ops.length - from) }, (_, i) => from + i)
    const failure = await transact(socket, ops, part, progress)
    if (failure !== undefined) await inquire(socket, ops, part, failure, progress)
  }
  return progress
}

/** After a failure: leaves out what is as wanted already, then halves. */
async function inquire(
  socket: NetlinkSocket,
  ops: readonly ElementOp[],
  part: readonly number[],
  failure: Failure,
  progress: Progress,
): Promise<void> {
  const present = new Map<string, Set<string> | undefined>()
  const open: number[] = []
  for (const at of part) {
    const op = ops[at]
    if (op === undefined) continue
    const { set, key } = op.element
    if (!present.has(set)) present.set(set, await keysOf(socket, set))
    const keys = present.get(set)
    if ((keys?.has(key) ?? false) === (op.verb === 'add')) continue
    if (keys === undefined) progress.errors[at] = refusal(op, failure, 'there is no such set')
    else open.push(at)
  }
  await halve(socket, ops, open, progress)
}

async function halve(
  socket: NetlinkSocket,
  ops: readonly ElementOp[],
  part: readonly number[],
  progress: Progress,
): Promise<void> {
  if (part.length === 0) return
  const failure = await transact(socket, ops, part, progress)
  if (failure === undefined) return
  const [only] = part
  if (part.length === 1 && only !== undefined) {
    const op = ops[only]
    if (op !== undefined) progress.errors[only] = refusal(op, failure)
    return
  }
  const middle = part.length >> 1
  await halve(socket, ops, part.slice(0, middle), progress)
  await halve(socket, ops, part.slice(middle), progress)
}

async function keysOf(socket: NetlinkSocket, set: string): Promise<Set<string> | undefined> {
  const parts = await dumpSet(socket, set)
  return parts && new Set(parts.flat().map(({ key }) => key))
}

function refusal({ element }: ElementOp, failure: Failure, said?: string): Reason {
  const object = `nft element ${element.set} ${element.key}`
  return said === undefined ? nftReason(object, failure) : { code: 'netlink', object, reason: said }
}

/** One transaction; undefined where it went through. A lone op that finds its work done is no failure. */
async function transact(
  socket: NetlinkSocket,
  ops: readonly ElementOp[],
  part: readonly number[],
  progress: Progress,
): Promise<Failure | undefined> {
  const [failure] = await socket.request(encode(ops, part), { batch: 0 })
  if (failure === undefined) {
    progress.transactions++
    return undefined
  }
  const [only] = part
  if (part.length === 1 && only !== undefined) {
    const done = ops[only]?.verb === 'remove' ? ENOENT : EEXIST
    if (failure.errno === done) return undefined
  }
  return failure
}

function encode(ops: readonly ElementOp[], part: readonly number[]): Uint8Array {
  const groups = new Map<string, Group>()
  for (const at of part) {
    const op = ops[at]
    if (op === undefined) continue
    const name = `${op.verb} ${op.element.set}`
    const group = groups.get(name)
    if (group === undefined) groups.set(name, { verb: op.verb, set: op.element.set, keys: [op.element.key] })
    else group.keys.push(op.element.key)
  }
  const writer = new MessageWriter()
  writer.begin(message.batchBegin, flag.request)
  writer.bytes(batchHeader)
  writer.end()
  for (const { verb, set, keys } of groups.values()) {
    for (let from = 0; from < keys.length; from += messageElements) {
      if (verb === 'add') writer.begin(message.newElement, flag.request | flag.create)
      else writer.begin(message.deleteElement, flag.request)
      writer.bytes(inetHeader)
      writer.attrString(attribute.table, nftTable)
      writer.attrString(attribute.set, set)
      writer.nest(attribute.elements)
      for (const key of keys.slice(from, from + messageElements)) {
        writer.nest(attribute.element)
        writer.nest(attribute.key)
        writer.attr(attribute.value, addressBytes(key as Address))
        writer.endNest()
        writer.endNest()
      }
      writer.endNest()
      writer.end()
    }
  }
  writer.begin(message.batchEnd, flag.request)
  writer.bytes(batchHeader)
  writer.end()
  return writer.take()
}

interface Group {
  readonly verb: 'add' | 'remove'
  readonly set: string
  readonly keys: string[]
}

/** Undefined where there is no such set. In portions as the kernel gave them. */
export async function dumpSet(socket: NetlinkSocket, set: string): Promise<SetElement[][] | undefined> {
  const writer = new MessageWriter(256)
  writer.begin(message.getElement, flag.request | flag.dump)
  writer.bytes(inetHeader)
  writer.attrString(attribute.table, nftTable)
  writer.attrString(attribute.set, set)
  writer.end()
  const request = writer.take()
  for (let attempt = 1; ; attempt++) {
    const parts: SetElement[][] = []
    const outcome = await socket.dump(request, (chunk) => {
      parts.push(readElements(set, chunk))
    })
    if ('errno' in outcome) {
      if (outcome.errno === ENOENT) return undefined
      throw netlinkError(`nft set ${set}`, outcome)
    }
    if (!outcome.interrupted) return parts
    if (attempt === attempts) {
      throw new LinkspanError({
        code: 'netlink',
        object: `nft set ${set}`,
        reason: `the set changed during each of ${attempts} dumps`,
      })
    }
  }
}

function readElements(set: string, chunk: Uint8Array): SetElement[] {
  const found: SetElement[] = []
  forEachMessage(chunk, (type, _flags, _seq, _pid, start, end) => {
    if (type !== message.newElement) return
    const list = findAttribute(chunk, start + headerLength, end, attribute.elements)
    if (list < 0) return
    forEachAttribute(chunk, list, list + valueLength(chunk, list), (_type, from, to) => {
      const key = findAttribute(chunk, from, to, attribute.key)
      const value = key < 0 ? -1 : findAttribute(chunk, key, key + valueLength(chunk, key), attribute.value)
      if (value < 0) return
      const bytes = chunk.subarray(value, value + valueLength(chunk, value))
      found.push({ kind: 'element', set, key: formatAddress(bytes) })
    })
  })
  return found
}
