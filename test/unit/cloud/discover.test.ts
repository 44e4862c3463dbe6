import t from 'tap'
import type { Test } from 'tap'
import { discoverCloud } from '../../../agent/cloud/discover.ts'
import type { Discovery, DiscoverOptions } from '../../../agent/cloud/discover.ts'
import {
  awsService,
  awsServiceWithoutTokens,
  azureService,
  firmware,
  gcpInterfaces,
  gcpService,
  MetadataServer,
} from '../../support/metadata-server.ts'
import type { Service } from '../../support/metadata-server.ts'

interface Ground {
  readonly server: MetadataServer
  readonly discover: (options?: DiscoverOptions) => AsyncGenerator<Discovery, void>
  readonly stop: AbortController
}

async function ground(t: Test, machine: keyof typeof firmware, service: Service): Promise<Ground> {
  const server = await MetadataServer.listen(service)
  const stop = new AbortController()
  t.teardown(() => {
    stop.abort()
    server.close()
  })
  const dmi = t.testdir(firmware[machine])
  const fast = { dmi, dial: server.dial, retryMs: [1, 1], againMs: 1 }
  return { server, stop, discover: (options) => discoverCloud(stop.signal, { ...fast, ...options }) }
}

async function first(of: AsyncGenerator<Discovery, void>): Promise<Discovery> {
  const { value } = await of.next()
  if (value === undefined) throw new Error('nothing was found')
  return value
}

const region = (found: Discovery): string => ('facts' in found ? found.facts.region : found.trouble.reason)

void t.test('on premises nobody is asked', async (t) => {
  for (const machine of ['qemu', 'hyperV', 'laptop'] as const) {
    const { server, discover } = await ground(t, machine, awsService())
    t.same(await discover().next(), { done: true, value: undefined }, machine)
    t.same(server.asked, [])
  }
})

void t.test('each cloud is asked in its own way', async (t) => {
  const table = [
    ['nitro', awsService(), 'us-east-1'],
    ['xen', awsService(), 'us-east-1'],
    ['azure', azureService(), 'westeurope'],
    ['gcp', gcpService(), 'us-central1'],
  ] as const
  for (const [machine, service, expected] of table) {
    const { discover } = await ground(t, machine, service)
    t.equal(region(await first(discover())), expected, machine)
  }
})

void t.test('a firmware that names one cloud, on the network of another', async (t) => {
  const { server, discover } = await ground(t, 'nitro', gcpService())
  t.match(await first(discover()), {
    trouble: { object: 'metadata service of aws', reason: /^is switched off/ },
  })
  t.same(server.paths, ['PUT /latest/api/token'])
})

void t.test('a service that is silent holds a start up no longer than it may', async (t) => {
  const { discover } = await ground(t, 'gcp', () => undefined)
  const began = performance.now()
  t.match(await first(discover({ wholeMs: 200 })), { trouble: { reason: /in time/ } })
  t.ok(performance.now() - began < 2000)
})

void t.test('a service that was not ready is asked again, and a trouble is told once', async (t) => {
  const service = azureService()
  let failures = 4
  const { server, discover } = await ground(t, 'azure', (request) =>
    failures-- > 0 ? { status: 503 } : service(request),
  )
  const found = discover()
  t.match(region(await first(found)), /answered 503/)
  t.equal(region(await first(found)), 'westeurope')
  t.equal(server.asked.length, 6, 'four askings in vain, of which one was told')
})

void t.test('what changes is told, what stays is not', async (t) => {
  const { server, discover } = await ground(t, 'gcp', gcpService())
  const found = discover()
  const addresses = async (): Promise<readonly string[]> => {
    const next = await first(found)
    return 'facts' in next ? next.facts.interfaces.flatMap((each) => each.publicAddresses) : []
  }
  t.same(await addresses(), ['34.71.112.18', '2600:1900:4000:9b21::'])
  const waiting = addresses()
  const before = server.asked.length
  while (server.asked.length < before + 9) await new Promise((resolve) => setTimeout(resolve, 5))
  server.become(gcpService([{ ...gcpInterfaces[0], accessConfigs: [{ externalIp: '34.9.9.9' }] }]))
  t.same(await waiting, ['34.9.9.9', '2600:1900:4000:9b21::'])
})

void t.test('facts stay through a trouble, which is told again after them', async (t) => {
  const { server, discover } = await ground(t, 'nitro', awsService())
  const found = discover()
  t.equal(region(await first(found)), 'us-east-1')
  server.become(awsServiceWithoutTokens())
  t.match(region(await first(found)), /gives no token/)
  const waiting = first(found)
  server.become(awsService())
  const before = server.asked.length
  while (server.asked.length < before + 60) await new Promise((resolve) => setTimeout(resolve, 5))
  server.become(awsServiceWithoutTokens())
  t.match(region(await waiting), /gives no token/, 'the same facts are not told twice')
})

void t.test('a stop ends it, whatever it waits for', async (t) => {
  const pausing = await ground(t, 'gcp', gcpService())
  const found = pausing.discover({ againMs: 600_000 })
  await first(found)
  const waiting = found.next()
  pausing.stop.abort()
  t.same(await waiting, { done: true, value: undefined })
  const asking = await ground(t, 'gcp', () => undefined)
  const unanswered = asking.discover({ wholeMs: 600_000 }).next()
  setTimeout(() => {
    asking.stop.abort()
  }, 50)
  t.same(await unanswered, { done: true, value: undefined })
})
