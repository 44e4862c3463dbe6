import path from 'node:path'
import t from 'tap'
import { cloudOf, readDmi } from '../../../agent/cloud/dmi.ts'
import { firmware } from '../../support/metadata-server.ts'

void t.test('the cloud by its firmware', async (t) => {
  const expected = {
    nitro: 'aws',
    xen: 'aws',
    azure: 'azure',
    gcp: 'gcp',
    hyperV: undefined,
    qemu: undefined,
    laptop: undefined,
  } as const
  for (const [machine, files] of Object.entries(firmware)) {
    const dmi = await readDmi(t.testdir(files))
    t.equal(cloudOf(dmi), expected[machine as keyof typeof firmware], machine)
  }
})

void t.test('a machine without SMBIOS is on premises', async (t) => {
  const dmi = await readDmi(path.join(t.testdir(), 'none'))
  t.same([...new Set(Object.values(dmi))], [''])
  t.equal(cloudOf(dmi), undefined)
})

void t.test('a field that cannot be read is as good as absent', async (t) => {
  const dmi = await readDmi(t.testdir({ sys_vendor: {}, bios_vendor: 'Amazon EC2\n' }))
  t.equal(dmi.sys_vendor, '')
  t.equal(cloudOf(dmi), 'aws')
})
