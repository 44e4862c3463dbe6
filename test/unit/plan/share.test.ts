import { Paths } from '../../support/path-state.ts'
import t from 'tap'
import { affected } from '../../../agent/plan/affected.ts'
import type { PlanInput } from '../../../agent/plan/input.ts'
import { plan, share, shareKeys } from '../../../agent/plan/share.ts'
import { gatewayWith, identityOf, inputWith, objectsOf, snapshotWith } from '../../support/plan-input.ts'

const gateways = [
  gatewayWith(1, 'aws-a', { prefixes: ['10.1.0.0/16'], networks: ['lan'] }),
  gatewayWith(2, 'aws-b', { plane: 1, prefixes: ['10.1.0.0/16'] }),
  gatewayWith(3, 'gcp-a', { prefixes: ['10.2.0.0/16'], networks: ['lan'] }),
  gatewayWith(4, 'azure-a', { prefixes: ['10.3.0.0/16', '10.30.0.0/24'] }),
]
const fabric = { networks: [{ name: 'lan', vni: 7001, kind: 'l2' as const }] }
const input = inputWith({ gateways, fabric })

/** The input with one gateway replaced. */
function changed(
  name: string,
  change: Partial<(typeof gateways)[number]>,
  from: PlanInput = input,
): PlanInput {
  const others = [...from.snapshot.gateways.values()].filter((gateway) => gateway.name !== name)
  const gateway = from.snapshot.gateways.get(name)
  const list = gateway === undefined ? others : [...others, { ...gateway, ...change }]
  return { ...from, snapshot: snapshotWith(list, from.snapshot.fabric) }
}

void t.test('keys: host, groups, remote sites, gateways, networks, each by name', (t) => {
  t.same(shareKeys(input), [
    'host',
    'groups aws',
    'groups azure',
    'groups gcp',
    'site azure',
    'site gcp',
    'gateway aws-b',
    'gateway azure-a',
    'gateway gcp-a',
    'network lan',
  ])
  t.same(
    [...plan(input)].map(({ key }) => key),
    shareKeys(input),
  )
  t.end()
})

void t.test('no two objects are the same thing', (t) => {
  const identities = objectsOf(input).map(identityOf)
  t.equal(new Set(identities).size, identities.length)
  t.end()
})

void t.test('while the snapshot does not hold us: nothing, and a note', (t) => {
  const unknown = { ...input, own: { ...input.own, gateway: 'new-a' } }
  const shares = [...plan(unknown)]
  t.match(shares, [{ key: 'host', objects: [], notes: [{ kind: 'own-unknown' }] }])
  t.same(share(unknown, 'site gcp').objects, [])
  t.same(affected(unknown, input), shareKeys(input))
  t.same(new Set(affected(input, unknown)), new Set(shareKeys(input)), 'all that was must go')
  t.end()
})

void t.test('a key that is gone has an empty share', (t) => {
  for (const key of ['site x', 'groups x', 'gateway x', 'network x', 'site aws', 'gateway aws-a'] as const) {
    t.same(share(input, key), { key, objects: [], notes: [] })
  }
  t.end()
})

void t.test('the order of documents changes nothing', (t) => {
  const backwards = inputWith({ gateways: [gateways[0]!, ...gateways.slice(1).reverse()], fabric })
  t.same([...plan(backwards)], [...plan(inputWith({ gateways, fabric }))])
  t.end()
})

void t.test('affected: prefixes of a remote gateway', (t) => {
  const prefixes = gateways[3]!.prefixes.slice(0, 1)
  t.same(affected(input, changed('azure-a', { prefixes })), ['groups azure', 'site azure', 'gateway azure-a'])
  const shorter = changed('azure-a', { prefixes, certified: prefixes })
  t.same(
    affected(input, shorter),
    ['host', 'groups azure', 'site azure', 'gateway azure-a'],
    'nobody else has a /24',
  )
  t.end()
})

void t.test('affected: anything else of a remote gateway', (t) => {
  t.same(affected(input, changed('azure-a', { weight: 2 })), [
    'groups azure',
    'site azure',
    'gateway azure-a',
  ])
  t.same(affected(input, changed('gcp-a', { endpoints: [] })), [
    'host',
    'groups gcp',
    'site gcp',
    'gateway gcp-a',
    'network lan',
  ])
  t.same(
    affected(changed('none', {}), {
      ...input,
      snapshot: snapshotWith(gateways.slice(0, 3), input.snapshot.fabric),
    }),
    ['host', 'groups azure', 'site azure', 'gateway azure-a'],
  )
  t.end()
})

void t.test('affected: our own site', (t) => {
  t.same(affected(input, changed('aws-b', { weight: 2 })), [
    'host',
    'groups aws',
    'site aws',
    'gateway aws-b',
    'network lan',
  ])
  t.same(
    affected(input, changed('aws-b', { prefixes: [] })).length,
    shareKeys(input).length,
    'own prefixes: all',
  )
  t.same(affected(input, changed('aws-a', { generation: 1 })).length, shareKeys(input).length)
  t.end()
})

void t.test('affected: fabric, configuration, host, paths', (t) => {
  const all = shareKeys(input)
  t.same(
    affected(input, { ...input, snapshot: { ...input.snapshot, fabric: { ...input.snapshot.fabric } } }),
    all,
  )
  t.same(affected(input, { ...input, own: { ...input.own, interfaces: ['eth5'] } }), ['host', 'network lan'])
  const [link] = input.facts.links
  const up = { ...input.facts, links: [{ ...link!, up: false, ifindex: 9 }] }
  t.same(affected(input, { ...input, facts: up }), ['host', 'network lan'])
  const mtu = { ...input.facts, links: [{ ...link!, mtu: 1400 }] }
  t.same(affected(input, { ...input, facts: mtu }), all)
  const paths = new Paths(['gcp-a internet'])
  t.same(affected(input, { ...input, paths }), ['groups gcp'], 'no route, no peer')
  const weight = new Paths(['gcp-a weight=3'])
  t.same(affected(input, { ...input, paths: weight }), ['groups gcp'])
  const mtu1328 = new Paths(['gcp-a internet mtu=1328'])
  t.same(affected(input, { ...input, paths: mtu1328 }), ['site gcp', 'gateway gcp-a'], 'no group, no network')
  t.same(affected(input, { ...input, paths: new Paths(['aws-b internet mtu=1328']) }), ['gateway aws-b'])
  t.same(
    affected(input, { ...input, paths: new Paths(['gcp-a internet mtu=1440']) }),
    [],
    'no less than it was',
  )
  t.same(affected({ ...input, paths: mtu1328 }, input), ['site gcp', 'gateway gcp-a'])
  t.same(affected({ ...input, paths }, { ...input, paths: new Paths(['gcp-a internet']) }), [])
  t.end()
})
