/**
 * Shares: after any sequence of changes, the shares that `affected` named one by one add up to a full plan, and no two
 * objects of a plan are the same thing.
 */
import { Paths } from '../support/path-state.ts'
import fc from 'fast-check'
import t from 'tap'
import type { Fabric } from '../../agent/model/fabric.ts'
import type { Gateway } from '../../agent/model/gateway.ts'
import type { HostFacts } from '../../agent/model/host.ts'
import type { Own } from '../../agent/model/own.ts'
import { address, prefix } from '../../agent/model/prefix.ts'
import { affected } from '../../agent/plan/affected.ts'
import { GroupIds } from '../../agent/plan/group-id.ts'
import type { PlanInput, Share, ShareKey } from '../../agent/plan/input.ts'
import { plan, share, shareKeys } from '../../agent/plan/share.ts'
import {
  fabricWith,
  gatewayWith,
  identityOf,
  inputWith,
  linkWith,
  snapshotWith,
} from '../support/plan-input.ts'
import type { GatewayText } from '../support/plan-input.ts'

const pick = <T>(...values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values)

/** Number, name, plane; prefixes are those of the site, and some that sites share. */
const seats = [
  [1, 's1-a', 0],
  [2, 's1-b', 1],
  [3, 's2-a', 0],
  [4, 's2-b', 1],
  [5, 's3-a', 0],
  [6, 's4-a', 2],
] as const
const sitePrefixes = (n: string): readonly string[] => [
  `10.${n}.0.0/16`,
  `10.${n}.7.0/24`,
  `10.0.${n}.0/24`,
  `172.16.0.${n}/32`,
  `fd00:${n}::/48`,
  `10.1.${n}9.0/24`,
]
/** Site 1 is our own. */
const sharedPrefixes = (n: string): readonly string[] =>
  [
    ['10.200.0.0/16', '1234'],
    ['10.200.3.0/24', '234'],
    ['fd00:200::/48', '24'],
    ['10.201.0.0/16', '34'],
  ].flatMap(([text = '', sites = '']) => (sites.includes(n) ? [text] : []))

interface Seat {
  readonly kind: 'gateway'
  readonly seat: number
  readonly text: GatewayText | undefined
}
type Edit =
  | Seat
  | { readonly kind: 'fabric'; readonly fabric: Partial<Fabric> }
  | { readonly kind: 'own'; readonly own: Partial<Own> }
  | { readonly kind: 'facts'; readonly links: readonly string[]; readonly facts: Partial<HostFacts> }
  | { readonly kind: 'paths'; readonly down: readonly string[] }

const gatewayText = (seat: number): fc.Arbitrary<GatewayText> => {
  const [number, name, plane] = seats[seat]!
  const site = name.slice(1, 2)
  return fc.record({
    plane: pick(plane),
    prefixes: fc.subarray([...sitePrefixes(site), ...sharedPrefixes(site)]),
    certified: fc.subarray([...sitePrefixes(site), `192.168.${site}.0/25`]),
    endpoints: pick(
      [`internet 192.0.2.${number}`],
      [`internet 192.0.2.${number}`, `dx 10.9.0.${number} 51820 1400`],
      [`internet 2001:db8::${number}`, `dx 10.9.0.${number}`],
      ['internet -'],
      [`dx 10.9.0.${number}`],
      [],
    ),
    generation: pick(0, 0, 1),
    rotating: pick(false, false, true),
    weight: pick(1, 1, 3),
    state: pick('active', 'active', 'active', 'draining', 'withdrawn'),
    networks: fc.subarray(['lan', 'blue']),
    site: pick({ labels: {} }, { labels: {} }, { labels: { zone: 'x' } }),
  })
}

/** Of every lane over the internet: that it is down, and that it was heard. The far end's device is that of s1-a there. */
function laneWords(name: string): readonly string[] {
  return [0, 1, 2, 3].flatMap((lane) => {
    const place = `${name} internet${lane === 0 ? '' : `.${lane}`}`
    const proven = `${place} proven=${name}/${32 * (lane & 1) + 4 * (lane >> 1)}`
    return [`${place} down`, proven, `${place} mtu=${1280 + 16 * lane}`]
  })
}

const edit: fc.Arbitrary<Edit> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc
      .integer({ min: 0, max: 5 })
      .chain((seat) =>
        fc
          .option(gatewayText(seat), { nil: undefined, freq: 6 })
          .map((text): Edit => ({ kind: 'gateway', seat, text })),
      ),
  },
  {
    weight: 1,
    arbitrary: pick<Partial<Fabric>>(
      {},
      { prefer: ['dx', 'internet'] },
      { mesh: [{ between: { site: 's1' }, and: { labels: { zone: 'x' } } }] },
    ).map((fabric): Edit => ({ kind: 'fabric', fabric })),
  },
  {
    weight: 1,
    arbitrary: pick<Partial<Own>>(
      {},
      { exclude: [prefix('10.3.0.0/16')] },
      { networks: [{ name: 'lan', interfaces: ['eth2'] }] },
      { interfaces: ['eth1'] },
      { registryAddresses: [address('172.16.0.2')] },
    ).map((own): Edit => ({ kind: 'own', own })),
  },
  {
    weight: 1,
    arbitrary: fc
      .record({
        links: pick(
          ['eth0 192.0.2.1/24', 'eth1 10.1.0.5/24'],
          ['eth0 192.0.2.1/24', 'eth1 10.1.0.5/24 down'],
          ['eth0 192.0.2.1/24 mtu=1400', 'eth1 10.1.0.5/24', 'eth2'],
          ['eth0 192.0.2.1/24', 'eth1 10.2.7.1/24 fd00:1::5/64', 'dx0 10.9.0.1/24 mtu=9000'],
        ),
        facts: pick<Partial<HostFacts>>(
          {},
          { ipv6: false },
          { routes: [{ prefix: prefix('0.0.0.0/0'), link: 'dx0', metric: 0 }] },
        ),
      })
      .map(({ links, facts }): Edit => ({ kind: 'facts', links, facts })),
  },
  {
    weight: 2,
    arbitrary: fc
      .subarray(
        seats.flatMap(([, name]) => [
          ...[`${name} internet`, `${name} dx`],
          ...[`${name} internet mtu=1200`, `${name} dx mtu=1280`, `${name} dx mtu=9000`],
          ...laneWords(name),
        ]),
      )
      .map((down): Edit => ({ kind: 'paths', down })),
  },
)

/** The input after an edit; all that the edit does not name stays the same object. */
function edited(input: PlanInput, edit: Edit): PlanInput {
  const { snapshot } = input
  switch (edit.kind) {
    case 'gateway': {
      const [number, name] = seats[edit.seat]!
      const others = [...snapshot.gateways.values()].filter((gateway) => gateway.name !== name)
      const gateways: Gateway[] =
        edit.text === undefined ? others : [...others, gatewayWith(number, name, edit.text)]
      return { ...input, snapshot: snapshotWith(gateways, snapshot.fabric) }
    }
    case 'fabric':
      return { ...input, snapshot: { ...snapshot, fabric: fabricWith({ ...fabric, ...edit.fabric }) } }
    case 'own':
      return { ...input, own: { ...first.own, ...edit.own } }
    case 'facts':
      return { ...input, facts: { ...first.facts, links: edit.links.map(linkWith), ...edit.facts } }
    case 'paths':
      return {
        ...input,
        paths: new Paths(edit.down),
      }
  }
}

const fabric: Partial<Fabric> = {
  underlays: [{ name: 'internet' }, { name: 'dx', mtu: 8500 }],
  networks: [
    { name: 'lan', vni: 7001, kind: 'l2' },
    { name: 'blue', vni: 5001, kind: 'l3' },
  ],
}
const first = inputWith({
  gateways: seats.map(([number, name, plane]) =>
    gatewayWith(number, name, {
      plane,
      prefixes: [...sitePrefixes(name.slice(1, 2)).slice(0, 2), ...sharedPrefixes(name.slice(1, 2)).slice(1)],
    }),
  ),
  fabric,
  own: {
    endpoints: [
      { underlay: 'internet', port: 51820 },
      { underlay: 'dx', port: 51820 },
    ],
  },
})

const text = ({ objects, notes }: Share): string =>
  [...objects, ...notes]
    .map((one) => JSON.stringify(one))
    .sort()
    .join('\n')

void t.test('the union of shares equals a full plan after any sequence of changes', (t) => {
  let objects = 0
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 12 }), (edits) => {
      let input: PlanInput = { ...first, ids: new GroupIds() }
      const shares = new Map<ShareKey, Share>()
      let before: PlanInput | undefined
      for (const next of [undefined, ...edits]) {
        if (next !== undefined) input = edited(input, next)
        for (const key of affected(before, input)) shares.set(key, share(input, key))
        const full = new Map([...plan(input)].map((one) => [one.key, one]))
        for (const [key, one] of shares) {
          const wanted = full.get(key)
          if (text(one) !== (wanted === undefined ? '' : text(wanted))) {
            throw new Error(
              `share ${key} is stale:\n${text(one)}\n-- wanted:\n${wanted === undefined ? '' : text(wanted)}`,
            )
          }
        }
        for (const key of full.keys()) if (!shares.has(key)) throw new Error(`share ${key} is missing`)
        const seen = new Set<string>()
        for (const { objects: held } of full.values()) {
          for (const object of held) {
            const identity = identityOf(object)
            if (seen.has(identity)) throw new Error(`two objects are ${identity}`)
            seen.add(identity)
          }
        }
        objects += seen.size
        before = input
      }
    }),
    { numRuns: 150, seed: Number(process.env['LINKSPAN_SEED'] ?? 1763700000) },
  )
  t.ok(objects > 10_000, 'the fabrics were not empty')
  t.end()
})

void t.test('nothing is affected where nothing changed', (t) => {
  t.same(affected(first, { ...first }), [])
  t.same(affected(first, { ...first, snapshot: { ...first.snapshot }, facts: { ...first.facts } }), ['host'])
  t.same(affected(undefined, first), shareKeys(first))
  t.end()
})
