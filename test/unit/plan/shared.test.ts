/** Prefixes that sites share: which site is used, what goes with it, and what a change of path state touches. */
import t from 'tap'
import { diff } from '../../../agent/diff/diff.ts'
import { formatOp } from '../../../agent/model/op-text.ts'
import { prefix } from '../../../agent/model/prefix.ts'
import { affected } from '../../../agent/plan/affected.ts'
import { isUsedAt, sharedSets } from '../../../agent/plan/shared.ts'
import { localOf } from '../../../agent/plan/local.ts'
import type { PlanInput } from '../../../agent/plan/input.ts'
import { Paths } from '../../support/path-state.ts'
import { gatewayWith, inputWith, linesOf, notesOf, objectsOf } from '../../support/plan-input.ts'
import type { GatewayText, InputText } from '../../support/plan-input.ts'

const both = '10.9.0.0/16'
const gateway = (number: number, name: string, text: GatewayText = {}): InputText['gateways'][number] =>
  gatewayWith(number, name, { prefixes: [both], ...text })
const home = gatewayWith(9, 'home-a', { prefixes: ['10.1.0.0/16'] })
const first = gateway(1, 's1-a')
const second = gateway(2, 's2-a')
const third = gateway(3, 's3-a')

/** Site and reason, for each shared prefix. */
function uses(input: PlanInput): readonly string[] {
  return notesOf(input).flatMap(({ kind, site, reason }) =>
    kind === 'prefix-shared' ? [`${site ?? ''}: ${reason}`] : [],
  )
}

function among(gateways: InputText['gateways'], ...down: readonly string[]): PlanInput {
  return inputWith({ gateways: [home, ...gateways], down })
}

void t.test('the site of the lowest number that is not down', (t) => {
  const all = [third, second, first]
  t.same(uses(among(all)), ['s1: shared with s2, s3: s1-a has the lowest number, 1'])
  t.same(uses(among(all, 's1-a internet')), ['s2: shared with s1, s3: s1-a is down'])
  t.same(uses(among(all, 's1-a internet', 's2-a internet')), [
    's3: shared with s1, s2: s1-a is down, s2-a is down',
  ])
  t.same(
    uses(among(all, 's1-a internet', 's2-a internet', 's3-a internet')),
    ['s1: shared with s2, s3: s1-a has the lowest number, 1, and s1-a is down'],
    'where nobody is better it is dropped on the way to the first',
  )
  for (const standing of ['degraded', 'silent'])
    t.match(uses(among(all, `s1-a internet ${standing}`)), [/^s1: /], `${standing} is not down`)
  t.same(uses(among(all, 's1-a internet draining')), ['s2: shared with s1, s3: s1-a is draining'])
  t.same(uses(among([gateway(1, 's1-a', { state: 'draining' }), second])), [
    's2: shared with s1: s1-a is draining',
  ])
  t.same(uses(among([first, second], 's1-a internet not-forwarding', 's2-a internet draining')), [
    's2: shared with s1: s1-a does not forward, and s2-a is draining',
  ])
  t.end()
})

void t.test('a site with several gateways is left when the last of them is down', (t) => {
  const all = [first, gateway(3, 's1-b', { plane: 1 }), second]
  t.match(uses(among(all)), [/^s1: /])
  t.same(
    uses(among(all, 's1-a internet')),
    ['s2: shared with s1: s1-a is down'],
    'the lowest number decides: 2 is before 3',
  )
  const near = [first, gateway(2, 's1-b', { plane: 1 }), gateway(3, 's2-a')]
  t.same(uses(among(near, 's1-a internet')), ['s1: shared with s2: s1-a is down'])
  t.match(uses(among(near, 's1-a internet', 's1-b internet')), [/^s2: /])
  t.end()
})

void t.test('where no path leads, or the mesh does not, another site is used', (t) => {
  const pathless = gateway(1, 's1-a', { endpoints: [] })
  t.same(uses(among([pathless, second])), ['s2: shared with s1: s1-a has no path'])
  t.match(uses(among([pathless, second], 's2-a internet')), [/^s2: .*s2-a is down$/], 'and dropped there')
  const mesh = [{ between: { site: 'home' }, and: { site: 's2' } }]
  t.match(uses(inputWith({ gateways: [home, first, second], fabric: { mesh } })), [/^s2: /])
  t.match(uses(among([gateway(1, 's1-a', { state: 'withdrawn' }), second, third])), [/^s2: shared with s3/])
  t.end()
})

void t.test('one route, one guard element, and AllowedIPs with the site in use alone', (t) => {
  const lines = (input: PlanInput): readonly string[] => linesOf(input, ['route', 'allowed-ip'], both)
  const elements = (input: PlanInput): number =>
    objectsOf(input).filter(({ kind }) => kind === 'element').length
  const input = among([first, second])
  t.match(lines(input).toSorted(), [/table 19539/, /s1-a\//])
  const after = { ...input, paths: new Paths(['s1-a internet']) }
  t.match(lines(after).toSorted(), [/table 19539/, /s2-a\//])
  t.equal(elements(after), elements(input))
  t.equal(elements(input), elements(among([first])), 'two sites or one: the same guard')
  t.end()
})

void t.test('a switch replaces one route and moves one AllowedIP; the groups of both sites stand', (t) => {
  const input = among([first, second, third])
  const after = { ...input, paths: new Paths(['s1-a internet']) }
  const { ops } = diff(objectsOf(after), objectsOf(input), { nowSeconds: 0 })
  t.same(
    ops.map(({ verb, object }) => `${verb} ${object.kind}`),
    ['replace allowed-ip', 'replace group', 'replace group', 'replace route'],
    ops.map(formatOp).join('\n'),
  )
  t.end()
})

void t.test('devices of different planes: there before the route leads there, gone after it', (t) => {
  const input = among([first, gateway(2, 's2-a', { plane: 1 })])
  const after = { ...input, paths: new Paths(['s1-a internet']) }
  const { ops } = diff(objectsOf(after), objectsOf(input), { nowSeconds: 0 })
  t.same(
    ops.filter(({ object }) => object.kind !== 'group').map(({ verb, object }) => `${verb} ${object.kind}`),
    ['add allowed-ip', 'replace route', 'remove allowed-ip'],
  )
  t.end()
})

void t.test('our own site has it: it is ours, and nothing of it leads elsewhere', (t) => {
  const ours = gatewayWith(9, 'home-a', { prefixes: ['10.1.0.0/16', both] })
  const input = inputWith({ gateways: [ours, first, second] })
  t.same(linesOf(input, ['allowed-ip'], both), [])
  t.match(linesOf(input, ['route'], both), [/throw/])
  t.same(uses(input), [])
  t.match(
    notesOf(input).filter(({ prefix: of }) => of === both),
    [{ reason: 'our own site originates it' }, { reason: 'our own site originates it' }],
  )
  t.end()
})

void t.test('prefixes inside and around a shared one lead where they did', (t) => {
  const inside = gatewayWith(4, 's4-a', { prefixes: ['10.9.5.0/24'] })
  const around = gatewayWith(5, 's5-a', { prefixes: ['10.8.0.0/15'] })
  for (const down of [[], ['s1-a internet']]) {
    const input = among([first, second, inside, around], ...down)
    t.match(linesOf(input, ['allowed-ip'], '10.9.5.0/24'), [/s4-a\//])
    t.match(linesOf(input, ['allowed-ip'], '10.8.0.0/15'), [/s5-a\//])
    t.equal(linesOf(input, ['route'], both).length, 1)
  }
  t.end()
})

void t.test(
  'a path re-plans the sites that share with its gateway, and only where another site is used',
  (t) => {
    const other = gatewayWith(4, 's4-a', { prefixes: ['10.4.0.0/16'] })
    const input = among([first, second, third, other, gateway(5, 's5-a', { prefixes: ['10.5.0.0/16'] })])
    const keys = (...down: readonly string[]): readonly string[] =>
      affected(input, { ...input, paths: new Paths(down) })
    t.same(keys('s4-a internet'), ['groups s4'])
    t.same(keys('s1-a internet degraded'), ['groups s1'])
    t.same(keys('s3-a internet'), ['groups s3'], 'it is not used')
    t.same(keys('s1-a internet'), [
      'groups s1',
      'site s1',
      'site s2',
      'site s3',
      'gateway s1-a',
      'gateway s2-a',
      'gateway s3-a',
    ])
    t.end()
  },
)

void t.test('prefixes that the same gateways share are one set', (t) => {
  const many = ['10.9.0.0/16', '10.9.1.0/24', 'fd00:9::/48']
  const input = among([gateway(1, 's1-a', { prefixes: many }), gateway(2, 's2-a', { prefixes: many }), third])
  t.same(
    sharedSets(input.snapshot).map(({ gateways, prefixes }) => [gateways.map(({ name }) => name), prefixes]),
    [
      [['s1-a', 's2-a', 's3-a'], ['10.9.0.0/16']],
      [
        ['s1-a', 's2-a'],
        ['10.9.1.0/24', 'fd00:9::/48'],
      ],
    ],
  )
  const local = localOf(input)
  t.ok(local !== undefined && isUsedAt(local, 's1', prefix(both)) && !isUsedAt(local, 's2', prefix(both)))
  t.ok(
    local !== undefined && isUsedAt(local, 's7', prefix('10.77.0.0/16')),
    'what nobody shares is where it is',
  )
  t.same(sharedSets(among([first]).snapshot), [])
  t.end()
})
