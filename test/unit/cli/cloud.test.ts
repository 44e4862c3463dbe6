/** What a dry run asks of the cloud: one outcome, and then no more. */
import t from 'tap'
import { askCloudOnce } from '../../../agent/cli/cloud.ts'
import type { Config } from '../../../agent/model/config.ts'
import { awsService, firmware, MetadataServer } from '../../support/metadata-server.ts'

const config: Config = {
  file: '/etc/linkspan/config.yml',
  fabric: 'prod',
  authority: 'A'.repeat(43),
  site: { name: 's1', provider: '', region: '', labels: {} },
  own: { gateway: 'g1', site: 's1', exclude: [], networks: [], services: [], registryAddresses: [] },
  prefixes: [],
  registry: { kind: 'file', directory: '/r' },
  metrics: false,
}

void t.test('the first outcome', async (t) => {
  const server = await MetadataServer.listen(awsService())
  const options = { dial: server.dial, wholeMs: 2000, retryMs: [1] }
  const asked = await askCloudOnce(config, { ...options, dmi: t.testdir(firmware.nitro) })
  t.equal(asked.cloud?.provider, 'aws')
  t.ok((asked.cloud?.addresses.length ?? 0) > 0)
  t.ok((asked.cloud?.interfaces?.length ?? 0) > 0)
  t.notOk(asked.isUncertain)
  server.close()

  const silent = await askCloudOnce(config, { ...options, wholeMs: 200, dmi: t.testdir(firmware.nitro) })
  t.equal(silent.cloud, undefined)
  t.ok(silent.isUncertain, 'there is a cloud, and it says nothing')
  const alone = await askCloudOnce(config, { ...options, dmi: t.testdir(firmware.laptop) })
  t.notOk(alone.isUncertain, 'on premises')
})
