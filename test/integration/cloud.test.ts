/**
 * Discovery over the real address: 169.254.169.254 on a link of a namespace, where a metadata service listens on port 80 as
 * the hypervisor's does, and the agent's own connection to it.
 */
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Test } from 'tap'
import { discoverCloud } from '../../agent/cloud/discover.ts'
import type { Discovery } from '../../agent/cloud/discover.ts'
import { metadataAddress } from '../../agent/cloud/metadata-http.ts'
import { capture } from '../support/capture.ts'
import { ip } from '../support/command.ts'
import { isolated } from '../support/isolate.ts'
import { Machine } from '../support/machine.ts'
import {
  awsService,
  awsServiceWithoutTokens,
  azureService,
  firmware,
  gcpService,
  MetadataServer,
} from '../support/metadata-server.ts'
import type { Service } from '../support/metadata-server.ts'

/** More than the 2 s that an asking may take, by what a slow machine adds. */
const heldUpMs = 6000

async function discover(t: Test, machine: keyof typeof firmware): Promise<Discovery | undefined> {
  const stop = new AbortController()
  const { value } = await discoverCloud(stop.signal, { dmi: t.testdir(firmware[machine]) }).next()
  stop.abort()
  return value ?? undefined
}

await isolated(import.meta.url, async () => {
  await t.test('nobody has the address: told at once, as there is no route', async (t) => {
    t.match(await discover(t, 'nitro'), { trouble: { object: 'metadata service of aws', reason: /UNREACH/ } })
  })

  // The VM's uplink: what it sends to the metadata address leaves here, unless a service takes it.
  const far = await Machine.make('far')
  ip(`link add uplink type veth peer name far netns ${far.pid}
    addr add 10.1.16.10/20 dev uplink
    link set uplink up
    route add ${metadataAddress}/32 dev uplink`)
  far.ip('link set far up')

  await t.test(
    'the address is on the link and nobody answers: a start is held up for a moment only',
    async (t) => {
      // A neighbour, so that the kernel does send, and no host that takes it.
      ip(`neigh replace ${metadataAddress} lladdr 02:00:00:00:00:99 dev uplink nud permanent`)
      const began = performance.now()
      t.match(await discover(t, 'gcp'), { trouble: { reason: 'no connection within 1000 ms' } })
      t.ok(performance.now() - began < heldUpMs, `${performance.now() - began} ms`)
    },
  )

  await t.test('on premises no packet is sent', async (t) => {
    const filter = `host ${metadataAddress}`
    const seen = await capture(far, 'far', filter)
    for (const machine of ['qemu', 'hyperV', 'laptop'] as const) {
      t.equal(await discover(t, machine), undefined, machine)
    }
    await pause(200)
    t.same(await seen.stop(), [])
    const control = await capture(far, 'far', filter)
    await discover(t, 'azure')
    await pause(200)
    t.ok((await control.stop()).length > 0, 'control: a machine of a cloud does ask')
  })

  ip(`addr add ${metadataAddress}/32 dev uplink`)

  const serving = async (t: Test, service: Service): Promise<MetadataServer> => {
    const server = await MetadataServer.listen(service, metadataAddress, 80)
    t.teardown(() => {
      server.close()
    })
    return server
  }

  await t.test('the three clouds, each over the real address', async (t) => {
    const table = [
      ['nitro', awsService(), { provider: 'aws', region: 'us-east-1', zone: 'us-east-1c' }, '54.1.2.3'],
      ['xen', awsService(), { provider: 'aws', region: 'us-east-1', zone: 'us-east-1c' }, '54.1.2.3'],
      ['azure', azureService(), { provider: 'azure', region: 'westeurope', zone: '2' }, '20.61.5.6'],
      [
        'gcp',
        gcpService(),
        { provider: 'gcp', region: 'us-central1', zone: 'us-central1-a' },
        '34.71.112.18',
      ],
    ] as const
    for (const [machine, service, expected, address] of table) {
      await t.test(machine, async (t) => {
        const server = await serving(t, service)
        const began = performance.now()
        const found = await discover(t, machine)
        const facts = found !== undefined && 'facts' in found ? found.facts : undefined
        t.match(facts, expected)
        t.equal(facts?.interfaces[0]?.publicAddresses[0], address)
        t.comment(`${server.asked.length} requests in ${(performance.now() - began).toFixed(1)} ms`)
        t.ok(server.asked.every(({ headers }) => headers.host === metadataAddress))
      })
    }
  })

  await t.test('EC2 without tokens is refused, and nothing of it is read', async (t) => {
    const server = await serving(t, awsServiceWithoutTokens())
    t.match(await discover(t, 'nitro'), { trouble: { reason: /version 1 is not used/ } })
    t.same(server.paths, ['PUT /latest/api/token'])
  })

  await t.test('a service that takes the request and is silent', async (t) => {
    await serving(t, () => undefined)
    const began = performance.now()
    const found = await discover(t, 'nitro')
    t.match(found, { trouble: { reason: /gave no answer/, next: /HttpPutResponseHopLimit/ } })
    t.ok(performance.now() - began < heldUpMs, `${performance.now() - began} ms`)
  })

  far.end()
})
