import t from 'tap'
import { mayReach, selects } from '../../../agent/plan/mesh.ts'
import { fabricWith, gatewayWith, inputWith, linesOf, notesOf } from '../../support/plan-input.ts'

const aws = gatewayWith(1, 'aws-a', {
  site: { provider: 'aws', region: 'us-east-1', labels: { tier: 'hub' } },
})
const gcp = gatewayWith(2, 'gcp-a', {
  site: { provider: 'gcp', labels: { tier: 'spoke' } },
  prefixes: ['10.2.0.0/16'],
})
const azure = gatewayWith(3, 'azure-a', {
  site: { provider: 'azure', labels: { tier: 'spoke' } },
  prefixes: ['10.3.0.0/16'],
})

void t.test('a selector holds where all that it gives holds', (t) => {
  t.ok(selects({}, aws.site))
  t.ok(selects({ provider: 'aws', labels: { tier: 'hub' } }, aws.site))
  t.notOk(selects({ provider: 'aws', region: 'eu' }, aws.site))
  t.notOk(selects({ site: 'gcp' }, aws.site))
  t.notOk(selects({ labels: { tier: 'hub', zone: 'x' } }, aws.site))
  t.end()
})

void t.test('a rule holds in both directions, and gateways of one site always may', (t) => {
  const hub = fabricWith({
    mesh: [{ between: { labels: { tier: 'hub' } }, and: { labels: { tier: 'spoke' } } }],
  })
  t.ok(mayReach(hub, aws, gcp))
  t.ok(mayReach(hub, gcp, aws))
  t.notOk(mayReach(hub, gcp, azure))
  t.ok(mayReach(hub, gcp, gatewayWith(4, 'gcp-b')))
  t.ok(mayReach(fabricWith(), gcp, azure))
  t.notOk(mayReach(fabricWith({ mesh: [] }), gcp, azure))
  t.end()
})

void t.test('outside the mesh: no peer, no group, no route, but the guard', (t) => {
  const input = inputWith({
    gateways: [gcp, aws, azure],
    fabric: { mesh: [{ between: { provider: 'aws' }, and: {} }] },
  })
  t.same(linesOf(input, ['peer']), [
    'wg set ls-wg0 peer aws-a/0 endpoint 192.0.2.1:51820 persistent-keepalive 25 # aws-a',
  ])
  t.same(linesOf(input, ['route', 'allowed-ip', 'element'], '10.3.0.0'), [
    'nft add element inet linkspan remote4_16 { 10.3.0.0 }',
  ])
  t.match(notesOf(input), [{ kind: 'outside-mesh', gateway: 'azure-a' }])
  t.end()
})
