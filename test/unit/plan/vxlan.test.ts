import t from 'tap'
import type { Fabric } from '../../../agent/model/fabric.ts'
import type { Kind } from '../../../agent/model/kernel-object.ts'
import { prefix } from '../../../agent/model/prefix.ts'
import { share } from '../../../agent/plan/share.ts'
import { gatewayWith, inputWith, linesOf, notesOf, objectsOf } from '../../support/plan-input.ts'
import type { InputText } from '../../support/plan-input.ts'

const lan = ['lan']
const aws = gatewayWith(1, 'aws-a', { networks: lan })
const gcp = gatewayWith(2, 'gcp-a', { networks: lan })
const azure = gatewayWith(3, 'azure-a', { networks: lan, endpoints: ['internet 192.0.2.3 51820 1400'] })
const fabric: Partial<Fabric> = {
  networks: [
    { name: 'lan', vni: 7001, kind: 'l2' },
    { name: 'office', vni: 7002, kind: 'l2' },
    { name: 'blue', vni: 5001, kind: 'l3' },
  ],
}
const own = { networks: [{ name: 'lan', interfaces: ['eth2'] }] }
const links = ['eth0 192.0.2.1/24', 'eth2']
const kinds: readonly Kind[] = ['link', 'port', 'element', 'fdb']

function lines(text: InputText): readonly string[] {
  return linesOf(inputWith({ fabric, own, links, ...text }), kinds).filter((line) => /700[12]/.test(line))
}

function reasons(text: InputText): readonly string[] {
  return notesOf(inputWith({ fabric, own, links, ...text })).map(
    ({ object, reason }) => `${object}: ${reason}`,
  )
}

void t.test('bridge, VXLAN link, port; flood entry and guard element for each other VTEP', (t) => {
  t.same(lines({ gateways: [aws, gcp, azure, gatewayWith(4, 'other-a')] }), [
    "ip link add name ls-br7001 mtu 1290 group 19539 type bridge && ip link set dev ls-br7001 alias 'linkspan test: network lan' up",
    "ip link add name ls-vx7001 mtu 1290 group 19539 type vxlan id 7001 local 100.127.0.1 dstport 4789 learning && ip link set dev ls-vx7001 master ls-br7001 alias 'linkspan test: network lan' up",
    'ip link set dev eth2 master ls-br7001',
    'nft add element inet linkspan vxlan4_7001 { 100.127.0.3 }',
    'bridge fdb append 00:00:00:00:00:00 dev ls-vx7001 dst 100.127.0.3',
    'nft add element inet linkspan vxlan4_7001 { 100.127.0.2 }',
    'bridge fdb append 00:00:00:00:00:00 dev ls-vx7001 dst 100.127.0.2',
  ])
  t.end()
})

void t.test('an overlay of IPv6 only: 70 bytes', (t) => {
  const six = { ...fabric, overlay: { ipv6: prefix('fd4c::/64') } }
  const found = lines({ gateways: [aws, gcp], fabric: six })
  t.match(found[1], /mtu 1370 .* local fd4c::1 /)
  t.equal(found[3], 'nft add element inet linkspan vxlan6_7001 { fd4c::2 }')
  t.end()
})

void t.test('alone in a network: the bridge, and an MTU that will do', (t) => {
  t.match(lines({ gateways: [aws] }), [/ls-br7001 mtu 1370/, /ls-vx7001 mtu 1370/, /eth2/])
  t.end()
})

void t.test('the guard has a set before there is a link', (t) => {
  const objects = objectsOf(inputWith({ gateways: [aws, gcp], fabric, own, links }))
  const ruleset = objects.find((object) => object.kind === 'ruleset')
  t.ok(ruleset?.sets.some(({ name }) => name === 'vxlan4_7001'))
  t.end()
})

void t.test('a site with two attached gateways stays out, seen from each side', (t) => {
  const twin = gatewayWith(4, 'gcp-b', { plane: 1, networks: lan })
  t.same(
    lines({ gateways: [aws, gcp, azure, twin] }).filter((line) => line.startsWith('bridge')),
    ['bridge fdb append 00:00:00:00:00:00 dev ls-vx7001 dst 100.127.0.3'],
  )
  t.same(reasons({ gateways: [aws, gcp, azure, twin] }), [
    'network lan: gcp-a is left out: gcp-b of its site is attached to the network too: one gateway a site may be',
    'network lan: gcp-b is left out: gcp-a of its site is attached to the network too: one gateway a site may be',
  ])
  t.same(lines({ gateways: [gcp, aws, azure, twin], own: {} }), [])
  t.same(reasons({ gateways: [gcp, aws, azure, twin], own: {} }), [
    'network lan: gcp-b of our site is attached to it too: one gateway a site may be',
  ])
  t.same(
    lines({ gateways: [aws, gcp, { ...twin, state: 'withdrawn' }] }).filter((line) =>
      line.startsWith('bridge'),
    ).length,
    1,
    'one that left does not count',
  )
  t.end()
})

void t.test('what is not joined, and why', (t) => {
  const gateway = gatewayWith(1, 'aws-a', { networks: ['blue'] })
  const wanted = {
    networks: [
      { name: 'lan', interfaces: [] },
      { name: 'pink', interfaces: [] },
    ],
  }
  t.same(reasons({ gateways: [gateway, gcp], own: wanted }), [
    'network blue: networks of kind l3 are not supported by this version',
    'network lan: our certificate and record do not attach us to it, only our configuration does',
    'network pink: the fabric document has no network of this name',
  ])
  t.end()
})

void t.test('who is left out, and why', (t) => {
  const gateways = [aws, gatewayWith(2, 'gcp-a', { networks: lan, endpoints: [] })]
  t.same(reasons({ gateways }).slice(-1), ['network lan: gcp-a is left out: we have no path to it'])
  t.same(reasons({ gateways: [aws, gcp], fabric: { ...fabric, mesh: [] } }).slice(-1), [
    'network lan: gcp-a is left out: the mesh does not join it with us',
  ])
  t.end()
})

void t.test('a link that does not exist, and one of two networks', (t) => {
  const gateways = [gatewayWith(1, 'aws-a', { networks: ['lan', 'office'] })]
  const text = {
    gateways,
    own: {
      networks: [
        { name: 'office', interfaces: ['eth2'] },
        { name: 'lan', interfaces: ['eth2', 'eth3'] },
      ],
    },
  }
  t.same(
    lines(text).filter((line) => line.includes('eth')),
    ['ip link set dev eth2 master ls-br7001'],
  )
  t.same(reasons(text), [
    'link eth3 of network lan: there is no such link',
    'link eth2 of network office: it is given to the network lan already',
  ])
  t.end()
})

void t.test('a network that we left: nothing', (t) => {
  const input = inputWith({ gateways: [gcp, aws], fabric, own: {}, links })
  t.same(share({ ...input, own: { ...input.own, gateway: 'aws-a' } }, 'network office').objects, [])
  t.end()
})
