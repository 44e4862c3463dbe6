/** When a gateway takes over for the hosts of its site, and when it steps down. */
import t from 'tap'
import { fitMs, silentMs, SiteRole } from '../../../agent/daemon/site-role.ts'
import { isolation, ownStanding } from '../../../agent/daemon/health.ts'
import type { Standing } from '../../../agent/model/path-state.ts'
import { candidatesOf } from '../../../agent/plan/active.ts'
import type { Candidate } from '../../../agent/plan/active.ts'
import { Paths } from '../../support/path-state.ts'
import { gatewayWith, inputWith } from '../../support/plan-input.ts'

const two = (a: Standing, b: Standing): readonly Candidate[] => [
  { name: 'gw-a', plane: 0, standing: a, seen: true },
  { name: 'gw-b', plane: 1, standing: b, seen: true },
]

void t.test('the lowest plane waits until it has been fit for a while', (t) => {
  const role = new SiteRole('gw-a')
  t.same(role.look(two('fit', 'fit'), 1000), { chosen: 'gw-a', isActive: false, againMs: fitMs })
  t.equal(role.look(two('fit', 'fit'), 1000 + fitMs - 1).isActive, false)
  t.same(role.look(two('fit', 'fit'), 1000 + fitMs), { chosen: 'gw-a', isActive: true })
  t.equal(role.look(two('not-forwarding', 'fit'), 20_000).isActive, false, 'down at once')
  t.same(role.look(two('fit', 'fit'), 21_000), { chosen: 'gw-a', isActive: false, againMs: fitMs })
  t.equal(role.look(two('not-forwarding', 'fit'), 22_000).isActive, false, 'it came and went')
  t.equal(role.look(two('fit', 'fit'), 26_500).isActive, false, 'the wait begins anew')
  t.equal(role.look(two('fit', 'fit'), 26_500 + fitMs).isActive, true)
  t.end()
})

void t.test('who was fit all along takes over at once, and steps down at once', (t) => {
  const role = new SiteRole('gw-b')
  t.equal(role.look(two('fit', 'fit'), 0).isActive, false)
  t.same(role.look(two('down', 'fit'), fitMs), { chosen: 'gw-b', isActive: true })
  t.same(role.look(two('fit', 'fit'), fitMs + 10), { chosen: 'gw-a', isActive: false })
  t.equal(role.look(two('draining', 'fit'), fitMs + 20).isActive, true)
  t.equal(role.look(two('draining', 'draining'), fitMs + 30).chosen, 'gw-a', 'none is better')
  t.end()
})

void t.test('a silent agent is about to come back, and then it is not', (t) => {
  const role = new SiteRole('gw-b')
  role.look(two('fit', 'fit'), 0)
  t.same(role.look(two('silent', 'fit'), 10_000), { chosen: 'gw-a', isActive: false, againMs: silentMs })
  t.equal(role.look(two('silent', 'fit'), 10_000 + silentMs - 1).isActive, false)
  t.equal(role.look(two('silent', 'fit'), 10_000 + silentMs).isActive, true)
  t.equal(role.look(two('degraded', 'fit'), 50_000).isActive, false)
  t.end()
})

void t.test('candidates: the site of the snapshot, as paths say', (t) => {
  const site = { site: 'aws' }
  const gateways = [
    gatewayWith(1, 'aws-b', { ...site, plane: 1 }),
    gatewayWith(2, 'aws-a', { ...site, plane: 0 }),
    gatewayWith(3, 'aws-c', { ...site, plane: 2, endpoints: ['other 192.0.2.3'] }),
    gatewayWith(4, 'aws-d', { ...site, plane: 3, state: 'withdrawn' }),
    gatewayWith(5, 'gcp-a'),
  ]
  const input = inputWith({ gateways })
  t.same(
    candidatesOf(input, new Paths(['aws-a internet']), 'draining').map((one) => Object.values(one).join(' ')),
    ['aws-b 1 draining true', 'aws-a 0 down true', 'aws-c 2 fit false'],
  )
  const barred = gatewayWith(1, 'aws-b', { ...site, barred: true })
  t.same(candidatesOf(inputWith({ gateways: [barred] }), new Paths([]), 'fit'), [], 'barred')
  t.same(candidatesOf(inputWith({ gateways, own: { gateway: 'aws-d' } }), new Paths([]), 'fit'), [])
  t.end()
})

void t.test('how we stand ourselves', (t) => {
  const planned = inputWith({ gateways: [gatewayWith(1, 'aws-a'), gatewayWith(2, 'gcp-a')] })
  const entries = (...all: readonly string[]) => ({
    entries: () =>
      all.map((text) => {
        const [site = '', standing = ''] = text.split(' ')
        return { site, verdict: { standing } } as never
      }),
  })
  const well = { isDraining: false, isCanaryFailed: false }
  const none = entries()
  t.equal(ownStanding(undefined, none, well), 'down', 'nothing is set up')
  t.equal(ownStanding(planned, none, well), 'fit')
  t.equal(ownStanding(planned, none, { ...well, isDraining: true }), 'draining')
  t.equal(ownStanding(planned, none, { isDraining: true, isCanaryFailed: true }), 'not-forwarding')
  t.equal(ownStanding(planned, entries('gcp down', 'az fit', 'aws down'), well), 'fit')
  t.equal(ownStanding(planned, entries('gcp down', 'az down', 'aws fit'), well), 'not-forwarding')
  t.equal(ownStanding(planned, entries('gcp down'), well), 'not-forwarding', 'alone at its site')
  t.equal(ownStanding(planned, entries('gcp down', 'aws down'), well), 'down', 'it sees nobody')
  t.equal(isolation(planned, entries('aws down')), undefined, 'there is no other site')
  t.end()
})
