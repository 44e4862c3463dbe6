/**
 * Ruleset objects and libnftables-json(5): one transaction that replaces chains and rules and keeps every set that stays,
 * elements included; and the fingerprint of a listing, by which a table is recognised as untouched.
 */
import { createHash } from 'node:crypto'
import type { NftChain, NftSet, Ruleset } from '../model/kernel-object.ts'

/** What a listing shows of the table. */
export interface Listing {
  readonly sets: readonly { readonly name: string; readonly type: unknown; readonly flags: unknown }[]
  readonly chains: readonly Shape[]
  /** Equal for equal content: handles, counters and the order inside anonymous sets left out. */
  readonly fingerprint: string
}

interface Shape {
  readonly name: string
  readonly hook: string
  readonly prio: number
  readonly policy: string
}

const family = 'inet'

/** Commands that turn the listed table (undefined: there is none) into the ruleset, for one `nft -j -f -`. */
export function replacement(ruleset: Ruleset, listing: Listing | undefined): string {
  const { table } = ruleset
  const at = { family, table }
  const chains = new Map(ruleset.chains.map((chain) => [chain.name, chain]))
  const sets = new Map(ruleset.sets.map((set) => [set.name, set]))
  const commands: unknown[] = [{ add: { table: { family, name: table } } }]
  // Rules go first: they hold the chains and sets that go next.
  for (const { name } of listing?.chains ?? []) commands.push({ flush: { chain: { ...at, name } } })
  for (const present of listing?.chains ?? []) {
    if (!sameChain(chains.get(present.name), present)) {
      commands.push({ delete: { chain: { ...at, name: present.name } } })
    }
  }
  for (const present of listing?.sets ?? []) {
    if (!sameSet(sets.get(present.name), present)) {
      commands.push({ delete: { set: { ...at, name: present.name } } })
    }
  }
  for (const { name, type, flags } of ruleset.sets) {
    commands.push({ add: { set: { ...at, name, type, ...(flags === undefined ? {} : { flags }) } } })
  }
  for (const { name, hook, priority, policy } of ruleset.chains) {
    commands.push({ add: { chain: { ...at, name, type: 'filter', hook, prio: priority, policy } } })
  }
  for (const { name, rules } of ruleset.chains) {
    for (const { expr } of rules) commands.push({ add: { rule: { ...at, chain: name, expr } } })
  }
  return JSON.stringify({ nftables: commands })
}

export function removal(table: string): string {
  return JSON.stringify({ nftables: [{ delete: { table: { family, name: table } } }] })
}

function sameChain(chain: NftChain | undefined, present: Shape): boolean {
  return chain?.hook === present.hook && chain.priority === present.prio && chain.policy === present.policy
}

function sameSet(
  set: NftSet | undefined,
  present: { readonly type: unknown; readonly flags: unknown },
): boolean {
  return (
    set !== undefined &&
    JSON.stringify(set.type) === JSON.stringify(present.type) &&
    JSON.stringify(set.flags ?? []) === JSON.stringify(present.flags ?? [])
  )
}

/** Reads `nft -j -t list table`. Throws SyntaxError or TypeError on what is not a listing. */
export function readListing(text: string): Listing {
  const { nftables } = JSON.parse(text) as { nftables: readonly Entry[] }
  const sets: Listing['sets'][number][] = []
  const chains: Shape[] = []
  const content: unknown[] = []
  for (const entry of nftables) {
    if (entry.metainfo !== undefined) continue
    if (entry.set !== undefined) {
      sets.push({ name: String(entry.set['name']), type: entry.set['type'], flags: entry.set['flags'] })
    }
    if (entry.chain !== undefined) {
      const { name, hook, prio, policy } = entry.chain
      chains.push({
        name: String(name),
        hook: String(hook),
        prio: typeof prio === 'number' ? prio : NaN,
        policy: String(policy),
      })
    }
    content.push(normal(entry))
  }
  return { sets, chains, fingerprint: createHash('sha256').update(JSON.stringify(content)).digest('hex') }
}

interface Entry {
  readonly metainfo?: unknown
  readonly set?: Readonly<Record<string, unknown>>
  readonly chain?: Readonly<Record<string, unknown>>
}

function normal(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(normal)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => key !== 'handle' && key !== 'elem')
      .map(([key, inner]) => {
        if (key === 'counter') return [key, null]
        if (key === 'set' && Array.isArray(inner)) return [key, inner.map(normal).map(textOf).sort()]
        return [key, normal(inner)]
      }),
  )
}

function textOf(value: unknown): string {
  return JSON.stringify(value)
}
