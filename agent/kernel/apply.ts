/**
 * Carrying out ops on rtnetlink objects: a run of ops becomes one batch of messages, and the messages the kernel refused
 * become results. What counts as done although the kernel said no is decided in one function.
 */
import { constants } from 'node:os'
import { LinkspanError, reasonOf } from '../errors.ts'
import type { Reason } from '../errors.ts'
import { formatObject } from '../model/op-text.ts'
import type { KernelObject } from '../model/kernel-object.ts'
import type { Op, OpResult } from '../model/op.ts'
import { encodeAddress } from './address.ts'
import type { Failure } from './addon.ts'
import { encodeFdb } from './fdb.ts'
import { encodeMaster } from './link.ts'
import type { Links } from './links.ts'
import { MessageWriter } from './message.ts'
import { encodeGroup, encodeNexthop } from './nexthop.ts'
import { encodeRoute } from './route.ts'
import { encodeRule } from './rule.ts'
import { reasonOfFailure } from './route-socket.ts'
import type { RouteSocket } from './route-socket.ts'

export type BatchedKind = 'address' | 'port' | 'fdb' | 'nexthop' | 'group' | 'route' | 'rule'

const batched: ReadonlySet<string> = new Set<BatchedKind>([
  'address',
  'port',
  'fdb',
  'nexthop',
  'group',
  'route',
  'rule',
])

export function isBatched(object: KernelObject): boolean {
  return batched.has(object.kind)
}

/** Ops encoded before the event loop gets a turn: 4,096 routes take about 3 ms. */
const slice = 4096
/** Bytes: a slice of routes takes 290 kB. */
const room = 512 * 1024

/**
 * Results in the order of the ops. While the kernel works through one slice the next is encoded, and its results made for
 * the case that all goes well: the kernel is the slower of the two, so neither costs time.
 */
export async function applyBatch(
  socket: RouteSocket,
  links: Links,
  ops: readonly Op[],
  signal: AbortSignal,
): Promise<readonly OpResult[]> {
  const results: OpResult[] = []
  // Two, in turns: one is lent to the socket while the other is filled.
  const writers = [new MessageWriter(room), new MessageWriter(room)] as const
  let writer: MessageWriter = writers[0]
  let underWay: Promise<void> = Promise.resolve()
  for (let from = 0; from < ops.length; from += slice) {
    if (signal.aborted) break
    const sent = encodeSlice(writer, links, ops, from, results)
    await underWay
    if (sent.length > 0) underWay = sendSlice(socket, writer.lend(), sent, ops, results)
    writer = writer === writers[0] ? writers[1] : writers[0]
  }
  await underWay
  signal.throwIfAborted()
  return results
}

/** Encodes ops from `from` on, with a result for each; answers the op number of each message. */
function encodeSlice(
  writer: MessageWriter,
  links: Links,
  ops: readonly Op[],
  from: number,
  results: OpResult[],
): readonly number[] {
  const sent: number[] = []
  for (let i = from; i < Math.min(from + slice, ops.length); i++) {
    const op = ops[i]
    if (op === undefined) continue
    let result: OpResult = { op }
    try {
      encode(writer, op, links)
      sent.push(i)
    } catch (error) {
      // A link that is gone took the object with it.
      const gone = op.verb === 'remove' && error instanceof LinkspanError && error.code === 'netlink'
      if (!gone) result = { op, error: reasonOf(error, formatObject(op.object)) }
    }
    results.push(result)
  }
  return sent
}

async function sendSlice(
  socket: RouteSocket,
  messages: Uint8Array,
  sent: readonly number[],
  ops: readonly Op[],
  results: OpResult[],
): Promise<void> {
  for (const failure of await socket.raw.request(messages)) {
    const i = sent[failure.index]
    const op = i === undefined ? undefined : ops[i]
    const error = op === undefined ? undefined : outcome(op, failure)
    if (i !== undefined && op !== undefined && error !== undefined) results[i] = { op, error }
  }
}

function encode(writer: MessageWriter, op: Op, links: Links): void {
  const { verb, object } = op
  const addOrRemove = verb === 'remove' ? 'remove' : 'add'
  switch (object.kind) {
    case 'address': {
      const ifindex = links.ifindexOf(object.link)
      encodeAddress(writer, addOrRemove, object, ifindex)
      links.told.address(addOrRemove, ifindex, object.address)
      return
    }
    case 'port': {
      const ifindex = links.ifindexOf(object.link)
      const master = verb === 'remove' ? 0 : links.ifindexOf(object.master)
      encodeMaster(writer, ifindex, master)
      return
    }
    case 'fdb': {
      const ifindex = links.ifindexOf(object.link)
      encodeFdb(writer, addOrRemove, object, ifindex)
      return
    }
    case 'nexthop':
      // Looked up first: a message half written cannot be taken back.
      if (object.device !== undefined && verb !== 'remove') links.ifindexOf(object.device)
      encodeNexthop(writer, verb, object, links.ifindexOf)
      return
    case 'group':
      encodeGroup(writer, verb, object)
      return
    case 'route':
      if (object.link !== undefined) links.ifindexOf(object.link)
      encodeRoute(writer, verb, object, links.ifindexOf)
      return
    case 'rule':
      encodeRule(writer, addOrRemove, object)
      return
    default:
      throw new TypeError(`${object.kind} is not for rtnetlink batches`)
  }
}

const { ENOENT, ESRCH, ENODEV, ENXIO, EADDRNOTAVAIL, EEXIST } = constants.errno

/** What the kernel's refusal means: the one place where "already so" is told from "failed". */
function outcome({ verb, object }: Op, failure: Failure): Reason | undefined {
  const { errno } = failure
  if (verb === 'remove' && [ENOENT, ESRCH, ENODEV, ENXIO, EADDRNOTAVAIL].includes(errno)) return undefined
  if (verb === 'add' && errno === EEXIST) {
    // An address or FDB entry has no more to it than its key.
    if (object.kind === 'address' || object.kind === 'fdb') return undefined
    return {
      code: 'conflict',
      object: formatObject(object),
      reason: 'EEXIST: another one stands in its place',
      next: 'the next audit tells whose it is',
    }
  }
  return reasonOfFailure(failure, formatObject(object))
}
