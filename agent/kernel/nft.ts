/**
 * The nftables driver: table inet linkspan.
 *
 * Chains and rules are few and go through `nft -j`, one transaction a change. Elements are many and go through nfnetlink
 * (nft-element.ts). The kernel counts generations of the whole ruleset, one per transaction: while the count is the one our own last
 * transaction made, nobody else wrote, and nothing needs listing. What a table of ours looks like in a listing is kept as
 * a fingerprint beside the digest of the Ruleset it came from, so that a restarted agent knows its own table again.
 */
import { readFile, rename, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { LinkspanError, reasonOf } from '../errors.ts'
import type { Reason } from '../errors.ts'
import { nftTable } from '../model/kernel-number.ts'
import type { KernelObject, Ruleset } from '../model/kernel-object.ts'
import type { Op, OpResult } from '../model/op.ts'
import type { Addon } from './addon.ts'
import type { Exec } from './exec.ts'
import { openElements } from './nft-element.ts'
import type { ElementOp } from './nft-element.ts'
import { readListing, removal, replacement } from './nft-ruleset.ts'
import type { Listing } from './nft-ruleset.ts'

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
  close(): void
}

export interface NftOptions {
  readonly addon: Addon
  readonly exec: Exec
  readonly stateDirectory: string
}

interface Saved {
  readonly digest: string
  readonly fingerprint: string
}

const object = `nft table inet ${nftTable}`
const attempts = 3
/** nft's words, in LC_ALL=C, for a table that is not there. */
const noTable = 'No such file or directory'

export async function openNft({ addon, exec, stateDirectory }: NftOptions): Promise<Nft> {
  const elements = openElements(addon)
  const file = path.join(stateDirectory, 'nft.json')
  let saved = await readSaved(file)
  /** The generation up to which the caller knows everything. */
  let known: number | undefined

  async function list(signal: AbortSignal): Promise<Listing | undefined> {
    try {
      const args = ['-j', '-t', 'list', 'table', 'inet', nftTable]
      return readListing(await exec.run('nft', args, { object, signal }))
    } catch (error) {
      if (error instanceof LinkspanError && error.reason.includes(noTable)) return undefined
      throw error
    }
  }

  async function* observe(signal: AbortSignal): AsyncGenerator<KernelObject[], void> {
    known = undefined
    let found: KernelObject[][] = []
    for (let attempt = 0; attempt < attempts && known === undefined; attempt++) {
      const before = await elements.generation()
      found = await look(signal)
      if ((await elements.generation()) === before) known = before
    }
    yield* found
  }

  async function look(signal: AbortSignal): Promise<KernelObject[][]> {
    const listing = await list(signal)
    if (listing === undefined) return []
    const digest = listing.fingerprint === saved?.fingerprint ? saved.digest : 'foreign'
    const ruleset: Ruleset = { kind: 'ruleset', table: nftTable, sets: [], chains: [], digest }
    const found: KernelObject[][] = [[ruleset]]
    for (const { name, type } of listing.sets) {
      if (type !== 'ipv4_addr' && type !== 'ipv6_addr') continue // not one of ours; goes with the ruleset
      signal.throwIfAborted()
      for (const part of (await elements.dump(name)) ?? []) found.push(part)
    }
    return found
  }

  async function apply(ops: readonly Op[], signal: AbortSignal): Promise<OpResult[]> {
    const before = await elements.generation()
    const clean = before === known
    known = undefined
    const errors: (Reason | undefined)[] = []
    let transactions = 0
    for (let at = 0; at < ops.length;) {
      signal.throwIfAborted()
      const run = elementRun(ops, at)
      if (run.length > 0) {
        const outcome = await elements.apply(run, signal)
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
    const after = await elements.generation()
    // A transaction that found everything done already is not counted by the kernel, hence "at most".
    if (clean && after - before <= transactions && errors.every((error) => error === undefined)) known = after
    return ops.map((op, at) => {
      const error = errors[at]
      return error === undefined ? { op } : { op, error }
    })
  }

  async function applyRuleset(op: Op, signal: AbortSignal): Promise<Reason | undefined> {
    if (op.object.kind !== 'ruleset')
      return { code: 'internal', object, reason: `no op for ${op.object.kind}` }
    try {
      if (op.verb === 'remove') {
        if ((await list(signal)) !== undefined) await load(removal(op.object.table), signal)
        return undefined
      }
      const before = await elements.generation()
      await load(replacement(op.object, await list(signal)), signal)
      const listing = await list(signal)
      // Somebody else's change in between would be taken for ours: then better no fingerprint, and one more replacement.
      const alone = (await elements.generation()) === before + 1
      saved = alone && listing ? { digest: op.object.digest, fingerprint: listing.fingerprint } : undefined
      await writeSaved(file, saved)
      return undefined
    } catch (error) {
      signal.throwIfAborted()
      return reasonOf(error, object)
    }
  }

  async function load(commands: string, signal: AbortSignal): Promise<void> {
    await exec.run('nft', ['-j', '-f', '-'], { input: commands, object, signal, timeoutMs: 30_000 })
  }

  return {
    observe,
    apply,
    generation: () => elements.generation(),
    unchanged: async () => known !== undefined && (await elements.generation()) === known,
    close: () => {
      elements.close()
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
