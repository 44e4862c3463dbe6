/**
 * fast-check arbitraries: worlds, edits of worlds, damage done behind our back, and how properties are run.
 *
 * Runs are seeded: the same seed gives the same cases. LINKSPAN_RUNS sets the number of runs, LINKSPAN_SEED the seed.
 */
import fc from 'fast-check'
import { prefixPool } from './world.ts'
import type { Holding, World, WorldGateway } from './world.ts'

const seed = Number(process.env['LINKSPAN_SEED'] ?? 1763700000)

/** Parameters of a property; `runs` by default, and no longer than `seconds`. */
export function parameters<T>(
  runs: number,
  seconds: number,
  examples: T[] = [],
): fc.Parameters<T> & { readonly seed: number } {
  const asked = process.env['LINKSPAN_RUNS']
  const numRuns = asked === undefined ? runs : Number(asked)
  const limit = asked === undefined ? { interruptAfterTimeLimit: seconds * 1000 } : {}
  return { seed, numRuns, examples, includeErrorInReport: true, ...limit }
}

const index = (length: number): fc.Arbitrary<number> => fc.integer({ min: 0, max: length - 1 })
const flags = (length: number): fc.Arbitrary<boolean[]> =>
  fc.array(fc.boolean(), { minLength: length, maxLength: length })
const often = fc.constantFrom(true, true, true, false)
const seldom = fc.constantFrom(false, false, false, true)
const reach = fc.constantFrom(
  'four' as const,
  'four' as const,
  'both' as const,
  'both' as const,
  'six' as const,
  'nat' as const,
  'none' as const,
)

export const worldGateway: fc.Arbitrary<WorldGateway> = fc.record({
  present: often,
  generation: index(3),
  reach: fc.array(reach, { minLength: 3, maxLength: 3 }),
  attached: flags(2),
  weight: fc.constantFrom(1, 1, 1, 2, 256),
  state: fc.constantFrom('active', 'active', 'active', 'active', 'draining', 'withdrawn'),
  moved: seldom,
})

const holding: fc.Arbitrary<Holding> = fc.record({
  site: fc.integer({ min: -1, max: 5 }),
  by: fc.integer({ min: 1, max: 15 }),
  also: fc.constantFrom(-1, -1, -1, 0, 1, 2, 3),
})
const mesh = fc.constantFrom('all' as const, 'all' as const, 'all' as const, 'hub' as const, 'label' as const)
const down = fc.uniqueArray(index(72), { maxLength: 12 })
const host = fc.record({
  ipv6: often,
  wireguard: seldom,
  lanUp: often,
  lan: fc.constantFrom(4, 4, 5, 0),
  routes: index(3),
})
const own = fc.record({
  exclude: fc.uniqueArray(index(prefixPool.length), { maxLength: 2 }),
  bound: seldom,
  attached: flags(2),
  services: index(3),
  registry: fc.boolean(),
})

/** One to six sites of one to four gateways. This host's gateway is there, most of the time. */
export const worldArbitrary: fc.Arbitrary<World> = fc.record({
  sites: fc.array(fc.array(worldGateway, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 6 }),
  prefixes: fc.array(holding, { minLength: prefixPool.length, maxLength: prefixPool.length }),
  mesh,
  underlays: fc.integer({ min: 1, max: 3 }),
  networks: index(3),
  mtu: fc.constantFrom(0, 0, 1400, 8500),
  down,
  own,
  host,
})

export type Edit =
  | { readonly edit: 'gateway'; readonly site: number; readonly plane: number; readonly to: WorldGateway }
  | {
      readonly edit: 'prefix'
      readonly at: number
      readonly to: Holding
    }
  | { readonly edit: 'world'; readonly to: Partial<World> }

/** One change: a gateway, a prefix, or something of the fabric, the paths, the configuration or the host. */
export const editArbitrary: fc.Arbitrary<Edit> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      edit: fc.constant('gateway' as const),
      site: index(6),
      plane: index(4),
      to: worldGateway,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      edit: fc.constant('prefix' as const),
      at: index(prefixPool.length),
      to: holding,
    }),
  },
  ...[
    down.map((to): Partial<World> => ({ down: to })),
    mesh.map((to): Partial<World> => ({ mesh: to })),
    fc.integer({ min: 1, max: 3 }).map((to): Partial<World> => ({ underlays: to })),
    index(3).map((to): Partial<World> => ({ networks: to })),
    fc.constantFrom(0, 1400, 8500).map((to): Partial<World> => ({ mtu: to })),
    own.map((to): Partial<World> => ({ own: to })),
    host.map((to): Partial<World> => ({ host: to })),
  ].map((part) => ({
    weight: 1,
    arbitrary: fc.record({ edit: fc.constant('world' as const), to: part }),
  })),
)

export function edited(world: World, edit: Edit): World {
  switch (edit.edit) {
    case 'gateway': {
      const sites = world.sites.map((gateways, site) => {
        if (site !== edit.site) return gateways
        const plane = Math.min(edit.plane, gateways.length)
        return [...gateways.slice(0, plane), edit.to, ...gateways.slice(plane + 1)]
      })
      return { ...world, sites }
    }
    case 'prefix':
      return { ...world, prefixes: world.prefixes.map((holder, i) => (i === edit.at ? edit.to : holder)) }
    case 'world':
      return { ...world, ...edit.to }
  }
}

/** Each world follows from the one before by one to four edits. */
export const historyArbitrary: fc.Arbitrary<readonly World[]> = fc
  .tuple(
    worldArbitrary,
    fc.array(fc.array(editArbitrary, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 5 }),
  )
  .map(([first, steps]) => {
    const worlds = [first]
    for (const edits of steps) worlds.push(edits.reduce(edited, worlds.at(-1) ?? first))
    return worlds
  })
