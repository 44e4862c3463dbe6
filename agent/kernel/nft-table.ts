/**
 * Table inet linkspan as the kernel has it: its sets and chains, and a fingerprint by which it is recognised as untouched.
 *
 * By nfnetlink, because the `nft` program reads all elements to list a table (0.3 s at 100,000). Handles are part of the
 * fingerprint: a rule that was deleted and made again is another one. Counters and element counts are not.
 */
import { createHash } from 'node:crypto'
import type { Hash } from 'node:crypto'
import { nftTable } from '../model/kernel-number.ts'
import type { NetlinkSocket } from './addon.ts'
import {
  be32At,
  findAttribute,
  flag,
  forEachMessage,
  MessageWriter,
  stringAt,
  valueLength,
} from './message.ts'
import { ENOENT, headerLength, inetHeader, message, netlinkError } from './nft-message.ts'

export interface Table {
  /** Named sets. */
  readonly sets: readonly { readonly name: string; readonly keyType: number }[]
  readonly chains: readonly PresentChain[]
  readonly fingerprint: string
}

export interface PresentChain {
  readonly name: string
  /** Absent: no base chain. */
  readonly hook?: number
  readonly priority?: number
  readonly policy?: number
}

/** nft's data types (include/datatype.h of nftables): what a set's keys are. */
export const keyType = { ipv4: 7, ipv6: 8 } as const

const tableAttribute = { name: 1, flags: 2, handle: 4 } as const
const chainAttribute = { table: 1, handle: 2, name: 3, hook: 4, policy: 5 } as const
const hookAttribute = { number: 1, priority: 2 } as const
const setAttribute = { table: 1, name: 2, flags: 3, keyType: 4, keyLength: 5, handle: 16 } as const
const ruleAttribute = { table: 1, chain: 2, handle: 3, expressions: 4 } as const
const anonymous = 1
const attempts = 5

/** Undefined where there is no such table. */
export async function readTable(socket: NetlinkSocket): Promise<Table | undefined> {
  const hash = createHash('sha256')
  const writer = new MessageWriter(256)
  writer.begin(message.getTable, flag.request)
  writer.bytes(inetHeader)
  writer.attrString(tableAttribute.name, nftTable)
  writer.end()
  const answer = await socket.query(writer.take())
  if ('errno' in answer) {
    if (answer.errno === ENOENT) return undefined
    throw netlinkError(`nft table inet ${nftTable}`, answer)
  }
  forEachMessage(answer, (_type, _flags, _seq, _pid, start, end) => {
    include(hash, answer, start, end, [tableAttribute.flags, tableAttribute.handle])
  })

  const sets: Table['sets'][number][] = []
  await dumpAll(socket, message.getSet, setAttribute.table, (bytes, start, end) => {
    const { name, flags, keyType, keyLength, handle } = setAttribute
    include(hash, bytes, start, end, [name, flags, keyType, keyLength, handle])
    if (((number(bytes, start, end, flags) ?? 0) & anonymous) !== 0) return
    sets.push({ name: text(bytes, start, end, name), keyType: number(bytes, start, end, keyType) ?? 0 })
  })
  const chains: PresentChain[] = []
  await dumpAll(socket, message.getChain, chainAttribute.table, (bytes, start, end) => {
    if (text(bytes, start, end, chainAttribute.table) !== nftTable) return
    const { handle, name, hook, policy } = chainAttribute
    include(hash, bytes, start, end, [handle, name, hook, policy])
    chains.push(chainAt(bytes, start, end))
  })
  await dumpAll(socket, message.getRule, ruleAttribute.table, (bytes, start, end) => {
    const { chain, handle, expressions } = ruleAttribute
    include(hash, bytes, start, end, [chain, handle, expressions])
  })
  return { sets, chains, fingerprint: hash.digest('hex') }
}

type Visit = (bytes: Uint8Array, start: number, end: number) => void

/** All objects of one kind; those of other tables are left out where the kernel can do it. Dumps are small: read whole. */
async function dumpAll(socket: NetlinkSocket, type: number, tableName: number, visit: Visit): Promise<void> {
  const writer = new MessageWriter(256)
  writer.begin(type, flag.request | flag.dump)
  writer.bytes(inetHeader)
  writer.attrString(tableName, nftTable)
  writer.end()
  const request = writer.take()
  for (let attempt = 1; ; attempt++) {
    const chunks: Uint8Array[] = []
    const outcome = await socket.dump(request, (chunk) => {
      chunks.push(chunk.slice())
    })
    if ('errno' in outcome) throw netlinkError(`nft table inet ${nftTable}`, outcome)
    // Changed while it was read: once more; the generation tells the caller in the end.
    if (outcome.interrupted && attempt < attempts) continue
    for (const chunk of chunks) {
      forEachMessage(chunk, (_type, _flags, _seq, _pid, start, end) => {
        visit(chunk, start + headerLength, end)
      })
    }
    return
  }
}

function chainAt(bytes: Uint8Array, start: number, end: number): PresentChain {
  const name = text(bytes, start, end, chainAttribute.name)
  const hook = findAttribute(bytes, start, end, chainAttribute.hook)
  if (hook < 0) return { name }
  const stop = hook + valueLength(bytes, hook)
  return {
    name,
    hook: number(bytes, hook, stop, hookAttribute.number) ?? -1,
    priority: (number(bytes, hook, stop, hookAttribute.priority) ?? 0) | 0,
    policy: number(bytes, start, end, chainAttribute.policy) ?? -1,
  }
}

function include(hash: Hash, bytes: Uint8Array, start: number, end: number, types: readonly number[]): void {
  for (const type of types) {
    const at = findAttribute(bytes, start, end, type)
    const length = at < 0 ? 0 : valueLength(bytes, at)
    hash.update(`${type} ${length} `)
    if (at >= 0) hash.update(bytes.subarray(at, at + length))
  }
}

function number(bytes: Uint8Array, start: number, end: number, type: number): number | undefined {
  const at = findAttribute(bytes, start, end, type)
  return at < 0 ? undefined : be32At(bytes, at)
}

function text(bytes: Uint8Array, start: number, end: number, type: number): string {
  const at = findAttribute(bytes, start, end, type)
  return at < 0 ? '' : stringAt(bytes, at, at + valueLength(bytes, at))
}
