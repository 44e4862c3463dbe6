/**
 * The nftables driver: table inet linkspan.
 *
 * Chains and rules are few and go through `nft -j`, one transaction a change. Elements are many and go through nfnetlink
 * (nft-element.ts). The kernel counts generations of the whole ruleset, one per transaction: while the count is the one our own last
 * transaction made, nobody else wrote, and nothing needs listing. The fingerprint of the table as we left it is kept
 * beside the digest of the Ruleset it came from, so that a restarted agent knows its own table again.
 */
import { readFile, rename, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { reasonOf } from '../errors.ts'
import type { Reason } from '../errors.ts'
import { carriedCounter, nftTable } from '../model/kernel-number.ts'
import type { KernelObject, Ruleset } from '../model/kernel-object.ts'
import { resultOf } from '../model/op.ts'
import type { Op, OpResult } from '../model/op.ts'
import type { Addon } from './addon.ts'
import { stdinFile } from './exec.ts'
import type { Exec } from './exec.ts'
import { applyElements, dumpSet } from './nft-element.ts'
import type { ElementOp } from './nft-element.ts'
import { netfilter, readGeneration } from './nft-message.ts'
import type { Carried } from './port.ts'
import { removal, replacement } from './nft-ruleset.ts'
import { keyType, readTable } from './nft-table.ts'

export interface Nft {
  /** The Ruleset and its elements; nothing where there is no table. */
  observe(signal: AbortSignal): AsyncIterable<KernelObject[]>
  /** Ops on rulesets and elements, in order. */
  apply(ops: readonly Op[], signal: AbortSignal): Promise<OpResult[]>
  /** The kernel's ruleset generation. */
  generation(): Promise<number>
  /**
   * True where nobody but us wrote since the last observe, and all we wrote since succeeded: what the caller knows still
   * holds. False before the first observe, restart included: elements are not remembered across it.
   */
  unchanged(): Promise<boolean>
  /** True where the table is as it was last loaded. */
  stands(): Promise<boolean>
  /** What the counter of carried packets says. */
  carried(signal: AbortSignal): Promise<Carried>
  close(): void
}

export interface NftOptions {
  readonly addon: Addon
  readonly exec: Exec
  readonly stateDirectory: string
}

/** Of `nft -j list counter` (libnftables-json(5)). */
interface Listed {
  readonly nftables: readonly { readonly counter?: Carried }[]
}

interface Saved {
  readonly digest: string
  readonly fingerprint: string
}

const object = `nft table inet ${nftTable}`
const attempts = 3

export async function openNft({ addon, exec, stateDirectory }: NftOptions): Promise<Nft> {
  const socket = addon.openSocket(netfilter)
  const generation = (): Promise<number> => readGeneration(socket)
  const file = path.join(stateDirectory, 'nft.json')
  let saved = await readSaved(file)
  /** The generation up to which the caller knows everything. */
  let known: number | undefined

  async function* observe(signal: AbortSignal): AsyncGenerator<KernelObject[], void> {
    known = undefined
    let found: KernelObject[][] = []
    for (let attempt = 0; attempt < attempts && known === undefined; attempt++) {
      const before = await generation()
      found = await look(signal)
      if ((await generation()) === before) known = before
    }
    yield* found
  }

  async function look(signal: AbortSignal): Promise<KernelObject[][]> {
    const table = await readTable(socket)
    if (table === undefined) return []
    const digest = table.fingerprint === saved?.fingerprint ? saved.digest : 'foreign'
    const ruleset: Ruleset = { kind: 'ruleset', table: nftTable, sets: [], chains: [], counters: [], digest }
    const found: KernelObject[][] = [[ruleset]]
    for (const set of table.sets) {
      if (set.keyType !== keyType.ipv4 && set.keyType !== keyType.ipv6) continue // not one of ours; goes with the ruleset
      signal.throwIfAborted()
      for (const part of (await dumpSet(socket, set.name)) ?? []) found.push(part)
    }
    return found
  }

  async function apply(ops: readonly Op[], signal: AbortSignal): Promise<OpResult[]> {
    const before = await generation()
    const clean = before === known
    known = undefined
    const errors: (Reason | undefined)[] = []
    let transactions = 0
    for (let at = 0; at < ops.length;) {
      signal.throwIfAborted()
      const run = elementRun(ops, at)
      if (run.length > 0) {
        const outcome = await applyElements(socket, run, signal)
        transactions += outcome.transactions
        for (const error of outcome.errors) errors.push(error)
        at += run.length
      } else {
        const op = ops[at++]
        if (op === undefined) break
        const error = await applyRuleset(op, signal)
        if (error === undefined) transactions++
        errors.push(error)
      }
    }
    const after = await generation()
    // A transaction that found everything done already is not counted by the kernel, hence "at most".
    if (clean && after - before <= transactions && errors.every((error) => error === undefined)) known = after
    return ops.map((op, at) => resultOf(op, errors[at]))
  }

  async function applyRuleset(op: Op, signal: AbortSignal): Promise<Reason | undefined> {
    if (op.object.kind !== 'ruleset')
      return { code: 'internal', object, reason: `no op for ${op.object.kind}` }
    try {
      if (op.verb === 'remove') {
        if ((await readTable(socket)) !== undefined) await load(removal(op.object.table), signal)
        return undefined
      }
      const before = await generation()
      await load(replacement(op.object, await readTable(socket)), signal)
      const table = await readTable(socket)
      // Somebody else's change in between would be taken for ours: then better no fingerprint, and one more replacement.
      const alone = (await generation()) === before + 1
      saved = alone && table ? { digest: op.object.digest, fingerprint: table.fingerprint } : undefined
      await writeSaved(file, saved)
      return undefined
    } catch (error) {
      signal.throwIfAborted()
      return reasonOf(error, object)
    }
  }

  async function load(commands: string, signal: AbortSignal): Promise<void> {
    await exec.run('nft', ['-j', '-f', stdinFile], { input: commands, object, signal, timeoutMs: 30_000 })
  }

  async function carried(signal: AbortSignal): Promise<Carried> {
    const args = ['-j', 'list', 'counter', 'inet', nftTable, carriedCounter]
    const listed = JSON.parse(await exec.run('nft', args, { object, signal })) as Listed
    const counter = listed.nftables.find((entry) => entry.counter !== undefined)?.counter
    return { packets: counter?.packets ?? 0, bytes: counter?.bytes ?? 0 }
  }

  return {
    observe,
    carried,
    apply,
    generation,
    unchanged: async () => known !== undefined && (await generation()) === known,
    stands: async () => saved !== undefined && (await readTable(socket))?.fingerprint === saved.fingerprint,
    close: () => {
      socket.close()
    },
  }
}

/** The element ops from position `at` on. */
function elementRun(ops: readonly Op[], at: number): ElementOp[] {
  const run: ElementOp[] = []
  for (let i = at; i < ops.length; i++) {
    const op = ops[i]
    if (op?.object.kind !== 'element') break
    run.push({ verb: op.verb === 'remove' ? 'remove' : 'add', element: op.object })
  }
  return run
}

async function readSaved(file: string): Promise<Saved | undefined> {
  try {
    const value = JSON.parse(await readFile(file, 'utf8')) as Partial<Saved> | null
    if (typeof value?.digest !== 'string' || typeof value.fingerprint !== 'string') return undefined
    return { digest: value.digest, fingerprint: value.fingerprint }
  } catch {
    // Lost or torn: the table counts as foreign and is replaced once, elements kept.
    return undefined
  }
}

/** No fsync: the file means nothing after a reboot, which empties the kernel's tables. */
async function writeSaved(file: string, value: Saved | undefined): Promise<void> {
  await writeFile(`${file}.next`, JSON.stringify(value ?? null), { mode: 0o600 })
  await rename(`${file}.next`, file)
}
