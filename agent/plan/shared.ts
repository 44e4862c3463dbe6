/**
 * Prefixes that several sites share: the same service at two places, an address range with a standby. One site at a time is
 * used, that of the gateway with the lowest number that is of use. Nothing is remembered: who is of use follows from the
 * state of paths, which the probes damp, so every gateway with the same view comes to the same site, and goes back to the
 * first when that is there again.
 *
 * Of use, the best first:
 *
 * - It has a path that is not down. One whose agent is silent still forwards: its site is left for it only within the site.
 * - It drains: whoever takes a gateway out of service wants its traffic to go elsewhere, and there is an elsewhere.
 * - It says that it does not forward.
 * - All its paths are down. Where nobody is better, the prefix stays with its first site and is dropped there.
 * - There is no path, or the mesh does not join it with us.
 *
 * A share's route goes to the group of the site in use, and AllowedIPs are with that site's gateways alone. Its other groups
 * stand whether or not they are used: they hang on path state only, and a switch finds them there.
 */
import type { Name } from '../model/fabric.ts'
import type { Gateway, Snapshot } from '../model/gateway.ts'
import type { Standing } from '../model/path-state.ts'
import type { Prefix } from '../model/prefix.ts'
import { choose } from './choice.ts'
import type { Local } from './local.ts'
import { mayReach } from './mesh.ts'
import { pathsTo } from './path.ts'

/** Prefixes that exactly the same gateways, of several sites, originate. */
export interface SharedSet {
  /** In order of number. */
  readonly gateways: readonly Gateway[]
  readonly prefixes: readonly Prefix[]
}

interface Index {
  readonly sets: readonly SharedSet[]
  readonly of: ReadonlyMap<Prefix, SharedSet>
}

const ranks = {
  fit: 0,
  degraded: 0,
  silent: 0,
  draining: 1,
  'not-forwarding': 2,
  down: 3,
} as const satisfies Record<Standing, number>
const withoutPath = 4
const words = ['', 'is draining', 'does not forward', 'is down', 'has no path'] as const

export interface Use {
  readonly site: Name
  /** By whom it came to be this site. */
  readonly gateway: Gateway
  /** One sentence without a trailing stop. */
  readonly reason: string
}

/** The site that a shared prefix is used at; undefined where no other site has it. */
export function useOf(local: Local, prefix: Prefix): Use | undefined {
  const set = indexOf(local.input.snapshot).of.get(prefix)
  return set === undefined ? undefined : choiceOf(local, set)
}

/** True where the prefix leads to this site, shared or not. */
export function isUsedAt(local: Local, site: Name, prefix: Prefix): boolean {
  const use = useOf(local, prefix)
  return use === undefined || use.site === site
}

export function sharedSets(snapshot: Snapshot): readonly SharedSet[] {
  return indexOf(snapshot).sets
}

/** By input and not by ground: it follows from the state of paths. */
const choices = new WeakMap<Local, Map<SharedSet, Use>>()

export function choiceOf(local: Local, set: SharedSet): Use {
  const known = choices.get(local) ?? new Map<SharedSet, Use>()
  choices.set(local, known)
  const use = known.get(set) ?? chosen(local, set)
  known.set(set, use)
  return use
}

function chosen(local: Local, { gateways }: SharedSet): Use {
  const ranked = gateways.map((gateway) => ({ gateway, rank: rankOf(local, gateway) }))
  // There are two at least, and the sort is stable: the lowest number of the best.
  const [best] = ranked.toSorted((a, b) => a.rank - b.rank) as [(typeof ranked)[number]]
  const { gateway, rank } = best
  const site = gateway.site.name
  const sites = [...new Set(gateways.map((one) => one.site.name))].filter((name) => name !== site)
  const passed = ranked
    .slice(0, ranked.indexOf(best))
    .map((one) => `${one.gateway.name} ${words[one.rank] ?? ''}`)
  const why =
    passed.length > 0 ? passed.join(', ') : `${gateway.name} has the lowest number, ${gateway.number}`
  const own = rank === 0 ? '' : `, and ${gateway.name} ${words[rank] ?? ''}`
  return { site, gateway, reason: `shared with ${sites.join(', ')}: ${why}${own}` }
}

function rankOf(local: Local, gateway: Gateway): number {
  const paths = mayReach(local.fabric, local.self, gateway) ? pathsTo(local, gateway).paths : []
  if (paths.length === 0) return withoutPath
  return ranks[choose(paths, gateway, local.input.paths)?.standing ?? 'down']
}

const indexes = new WeakMap<Snapshot, Index>()
const nothing: Index = { sets: [], of: new Map() }

/** Costs a look at every gateway, and a step for each prefix that one of them shares. */
function indexOf(snapshot: Snapshot): Index {
  let index = indexes.get(snapshot)
  if (index === undefined) {
    const sharing = [...snapshot.gateways.values()].filter(
      ({ shared, state }) => shared !== undefined && state !== 'withdrawn',
    )
    index = sharing.length === 0 ? nothing : build(sharing)
    indexes.set(snapshot, index)
  }
  return index
}

function build(sharing: readonly Gateway[]): Index {
  const origins = new Map<Prefix, Gateway[]>()
  for (const gateway of sharing.toSorted((a, b) => a.number - b.number)) {
    for (const prefix of gateway.shared ?? []) {
      const known = origins.get(prefix)
      if (known === undefined) origins.set(prefix, [gateway])
      else known.push(gateway)
    }
  }
  const sets = new Map<string, { readonly gateways: readonly Gateway[]; readonly prefixes: Prefix[] }>()
  const of = new Map<Prefix, SharedSet>()
  for (const [prefix, gateways] of origins) {
    const key = gateways.map(({ name }) => name).join(' ')
    const set = sets.get(key) ?? { gateways, prefixes: [] }
    sets.set(key, set)
    set.prefixes.push(prefix)
    of.set(prefix, set)
  }
  return { sets: [...sets.values()], of }
}
