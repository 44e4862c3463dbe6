import t from 'tap'
import { gcp, gcpFacts } from '../../../agent/cloud/gcp.ts'
import { gcpId, gcpInterfaces, gcpService, gcpZone, serve } from '../../support/metadata-server.ts'

const facts = (...interfaces: readonly unknown[]): ReturnType<typeof gcpFacts> =>
  gcpFacts({ id: gcpId, zone: gcpZone, interfaces: JSON.stringify(interfaces) })

void t.test('a VM with an interface in each of two networks, the first dual-stack', async (t) => {
  const server = await serve(t, gcpService())
  t.same(await gcp.ask(server.client()), {
    provider: 'gcp',
    region: 'us-central1',
    zone: 'us-central1-a',
    instance: '3459161384849251192',
    interfaces: [
      {
        mac: '42:01:0a:80:00:07',
        privateAddresses: ['10.128.0.7', '2600:1900:4000:9b21::'],
        publicAddresses: ['34.71.112.18', '2600:1900:4000:9b21::'],
        networkPrefixes: [],
        subnetPrefixes: ['10.128.0.0/20'],
        mtu: 1460,
      },
      {
        mac: '42:01:c0:a8:01:02',
        privateAddresses: ['192.168.1.2'],
        publicAddresses: [],
        networkPrefixes: [],
        subnetPrefixes: ['192.168.1.0/24'],
        mtu: 8896,
      },
    ],
    unusable: [],
  })
  t.ok(server.asked.every(({ headers }) => headers['metadata-flavor'] === 'Google'))
  t.notMatch(server.paths.join('\n'), /attributes|service-accounts|instance\/\?/, 'no secrets are read')
})

void t.test('an answer without its header is not taken', async (t) => {
  const service = gcpService()
  const server = await serve(t, (request) => {
    const answer = service(request)
    return request.url?.endsWith('zone') === true ? { ...answer, headers: {} } : answer
  })
  await t.rejects(gcp.ask(server.client()), /without Metadata-Flavor: Google/)
})

void t.test('internal IPv6 is no public address', (t) => {
  const found = facts({ ...gcpInterfaces[0], ipv6s: ['fd20:ab1:2c3:0:0:0:0:0'] })
  t.same(found?.interfaces[0]?.publicAddresses, ['34.71.112.18'])
  t.same(found?.interfaces[0]?.privateAddresses, ['10.128.0.7', 'fd20:ab1:2c3::'])
  t.end()
})

void t.test('missing fields are empty', (t) => {
  t.same(facts({}), {
    provider: 'gcp',
    region: 'us-central1',
    zone: 'us-central1-a',
    instance: gcpId,
    interfaces: [
      { mac: '', privateAddresses: [], publicAddresses: [], networkPrefixes: [], subnetPrefixes: [] },
    ],
    unusable: [],
  })
  const none = gcpFacts({ id: undefined, zone: undefined, interfaces: '[]' })
  t.same([none?.zone, none?.region, none?.instance, none?.interfaces], ['', '', '', []])
  t.end()
})

void t.test('wrong types and masks that are none are left out and told', (t) => {
  const masks = ['255.0.255.0', '255.255.240.1', 'ffff:ffff::', 20, '255.255.240', {}]
  for (const subnetmask of masks) {
    const found = facts({ ip: '10.128.0.7', subnetmask })
    t.same(found?.interfaces[0]?.subnetPrefixes, [], JSON.stringify(subnetmask))
    t.match(found?.unusable, [/is no mask/])
  }
  t.same(facts({ ip: '10.128.0.7', subnetmask: '0.0.0.0' })?.unusable, [
    'interface 0 subnet "0.0.0.0/0" is everything, not a network',
  ])
  const found = facts(
    { ip: 7, mac: [], mtu: '1460', ipv6s: 'x', accessConfigs: [null, { externalIp: '10.0.0.1' }] },
    null,
    'x',
  )
  t.equal(found?.interfaces.length, 3)
  t.equal(found?.unusable.length, 5)
  t.end()
})

void t.test('a zone of another form has no region', (t) => {
  for (const [zone, region] of [
    ['projects/7/zones/europe-west4-b', 'europe-west4'],
    ['us-central1-ai1a', 'us-central1'],
    ['nowhere', ''],
    ['projects/7/zones/', ''],
    ['<html>', ''],
  ] as const) {
    t.equal(gcpFacts({ id: gcpId, zone, interfaces: '[]' })?.region, region, zone)
  }
  t.end()
})

void t.test('lists that are none', async (t) => {
  for (const interfaces of [undefined, '', 'null', '{}', '7', '<html>', '[']) {
    t.equal(gcpFacts({ id: gcpId, zone: gcpZone, interfaces }), undefined, JSON.stringify(interfaces))
  }
  const server = await serve(t, gcpService({}))
  await t.rejects(gcp.ask(server.client()), /list of network interfaces is none/)
})
