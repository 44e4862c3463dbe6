/**
 * A Ruleset as libnftables-json(5): one transaction that replaces chains and rules and keeps every set that stays, with
 * its elements.
 */
import type { NftChain, NftSet, Ruleset } from '../model/kernel-object.ts'
import { keyType } from './nft-table.ts'
import type { PresentChain, Table } from './nft-table.ts'

const family = 'inet'
/** enum nf_inet_hooks, and verdicts (include/uapi/linux/netfilter.h). */
const hooks = { prerouting: 0, input: 1, forward: 2, output: 3, postrouting: 4 } as const
const policies = { drop: 0, accept: 1 } as const

/** Commands that turn the table as it is (undefined: there is none) into the ruleset, for one `nft -j -f -`. */
export function replacement(ruleset: Ruleset, present: Table | undefined): string {
  const { table } = ruleset
  const at = { family, table }
  const chains = new Map(ruleset.chains.map((chain) => [chain.name, chain]))
  const sets = new Map(ruleset.sets.map((set) => [set.name, set]))
  const commands: unknown[] = [{ add: { table: { family, name: table } } }]
  // Rules go first: they hold the chains and sets that go next.
  for (const { name } of present?.chains ?? []) commands.push({ flush: { chain: { ...at, name } } })
  for (const chain of present?.chains ?? []) {
    if (!sameChain(chains.get(chain.name), chain)) {
      commands.push({ delete: { chain: { ...at, name: chain.name } } })
    }
  }
  for (const set of present?.sets ?? []) {
    if (!sameSet(sets.get(set.name), set.keyType))
      commands.push({ delete: { set: { ...at, name: set.name } } })
  }
  for (const { name, type, flags } of ruleset.sets) {
    commands.push({ add: { set: { ...at, name, type, ...(flags === undefined ? {} : { flags }) } } })
  }
  for (const name of ruleset.counters) commands.push({ add: { counter: { ...at, name } } })
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

function sameChain(chain: NftChain | undefined, present: PresentChain): boolean {
  return (
    chain !== undefined &&
    hooks[chain.hook] === present.hook &&
    chain.priority === present.priority &&
    policies[chain.policy] === present.policy
  )
}

/** Sets of other types than addresses cannot be told apart here: they are made anew. */
function sameSet(set: NftSet | undefined, present: number): boolean {
  return (
    (set?.type === 'ipv4_addr' && present === keyType.ipv4) ||
    (set?.type === 'ipv6_addr' && present === keyType.ipv6)
  )
}
