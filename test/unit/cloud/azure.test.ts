import t from 'tap'
import { azure, azureFacts } from '../../../agent/cloud/azure.ts'
import {
  azureBalancer,
  azureCompute,
  azureInstance,
  azureInterfaces,
  azureService,
  serve,
} from '../../support/metadata-server.ts'

const facts = (instance: unknown, balancer?: unknown): ReturnType<typeof azureFacts> =>
  azureFacts(JSON.stringify(instance), balancer === undefined ? undefined : JSON.stringify(balancer))

const withInterface = (of: unknown): unknown => ({ compute: azureCompute, network: { interface: [of] } })

void t.test('a dual-stack VM with two interfaces and addresses of the Standard SKU', async (t) => {
  const server = await serve(t, azureService())
  t.same(await azure.ask(server.client()), {
    provider: 'azure',
    region: 'westeurope',
    zone: '2',
    instance: '02aab8a4-74ef-476e-8182-f6d2ba4166a6',
    interfaces: [
      {
        mac: '00:22:48:0f:1b:2c',
        privateAddresses: ['10.2.0.4', 'fd00:a1b:8b8c::4'],
        publicAddresses: ['20.61.5.6', '2603:1020:206:4::17'],
        networkPrefixes: [],
        subnetPrefixes: ['10.2.0.0/24'],
      },
      {
        mac: '00:22:48:0f:1b:2d',
        privateAddresses: ['10.2.1.4'],
        publicAddresses: [],
        networkPrefixes: [],
        subnetPrefixes: ['10.2.1.0/24'],
      },
    ],
    unusable: [],
  })
  t.same(server.paths, [
    'GET /metadata/instance?api-version=2020-09-01&format=json',
    'GET /metadata/loadbalancer?api-version=2020-10-01&format=json',
  ])
  t.ok(server.asked.every(({ headers }) => headers['metadata'] === 'true'))
})

void t.test('no public address at all, and one of the Basic SKU', async (t) => {
  const server = await serve(t, azureService(azureInstance, null))
  t.same(
    (await azure.ask(server.client())).interfaces.flatMap((each) => each.publicAddresses),
    [],
  )
  const basic = {
    ipv4: { ipAddress: [{ privateIpAddress: '10.2.0.4', publicIpAddress: '20.1.1.1' }], subnet: [] },
  }
  t.same(facts(withInterface(basic))?.interfaces[0]?.publicAddresses, ['20.1.1.1'])
})

void t.test("a load balancer's frontend, which is many VMs', is no address of this one", (t) => {
  const { loadbalancer } = azureBalancer as { loadbalancer: object }
  const shared = { loadbalancer: { ...loadbalancer, publicIpAddresses: [] } }
  t.same(facts(azureInstance, shared)?.interfaces[0]?.publicAddresses, [])
  t.end()
})

void t.test(
  'a balancer document that is not told fails the asking: the address is not as if there were none',
  async (t) => {
    for (const status of [401, 429, 500, 503]) {
      const service = azureService()
      const server = await serve(t, (request) =>
        request.url?.includes('loadbalancer') === true ? { status } : service(request),
      )
      await t.rejects(azure.ask(server.client()), new RegExp(`answered ${status}`))
    }
    const old = azureService()
    const server = await serve(t, (request) =>
      request.url?.includes('loadbalancer') === true ? { status: 400 } : old(request),
    )
    t.equal((await azure.ask(server.client())).region, 'westeurope', 'a stack that has no such document')
  },
)

void t.test('missing fields are empty', (t) => {
  t.same(facts({ compute: {}, network: {} }), {
    provider: 'azure',
    region: '',
    zone: '',
    instance: '',
    interfaces: [],
    unusable: [],
  })
  t.equal(facts({ ...(azureInstance as object), compute: { ...azureCompute, zone: '' } })?.zone, '')
  t.equal(
    facts({ network: { interface: azureInterfaces } })?.interfaces.length,
    2,
    'classic VMs have no compute',
  )
  t.same(facts(withInterface({}))?.interfaces, [
    { mac: '', privateAddresses: [], publicAddresses: [], networkPrefixes: [], subnetPrefixes: [] },
  ])
  t.end()
})

void t.test('wrong types and prefixes that cannot be are left out and told', (t) => {
  const found = facts(
    withInterface({
      macAddress: 17,
      ipv4: {
        ipAddress: [{ privateIpAddress: ['10.2.0.4'], publicIpAddress: '10.2.0.4' }, null, 'x'],
        subnet: [
          { address: '10.2.0.7', prefix: '24' },
          { address: '0.0.0.0', prefix: '0' },
          { address: '10.2.0.0' },
          { address: '10.3.0.0', prefix: 24 },
          { address: '2603:1020:206:4::', prefix: '64' },
        ],
      },
      ipv6: { ipAddress: 'none', subnet: {} },
    }),
    {
      loadbalancer: { publicIpAddresses: [{ frontendIpAddress: '127.0.0.1', privateIpAddress: '10.2.0.4' }] },
    },
  )
  t.same(found?.interfaces[0]?.subnetPrefixes, ['10.3.0.0/24', '2603:1020:206:4::/64'])
  t.same(found?.interfaces[0]?.publicAddresses, [])
  t.equal(found?.unusable.length, 9)
  t.end()
})

void t.test('documents that are none', async (t) => {
  for (const text of [
    undefined,
    '',
    'null',
    '[]',
    '7',
    '<html>',
    '{"compute":',
    '{}',
    '{"error":"Not found"}',
  ]) {
    t.equal(azureFacts(text, undefined), undefined, JSON.stringify(text))
  }
  t.same(
    facts(azureInstance, 'garbage')?.interfaces.flatMap((each) => each.publicAddresses),
    [],
  )
  const server = await serve(t, () => ({ body: '{}' }))
  await t.rejects(azure.ask(server.client()), /instance document is none/)
})
