/** What a gateway says where its registry can only be read: whole files that anybody may read, the newest of each place. */
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { outboxDirectory, OutboxRegistry, readOutbox } from '../../../agent/registry/outbox.ts'
import type { Registry } from '../../../agent/registry/port.ts'
import { delivered, recordDocument, requestDocument, sealed, signed } from '../../support/documents.ts'

const bag = { documents: [delivered(recordDocument(1))], complete: true, unreadable: [] } as const
const readOnly: Registry = {
  // eslint-disable-next-line @typescript-eslint/require-await
  watch: async function* () {
    yield bag
  },
  latencyMs: 7,
}
const { signal } = new AbortController()

void t.test('lays documents down in the places of a file registry', async (t) => {
  const directory = outboxDirectory(t.testdir())
  const registry = new OutboxRegistry(readOnly, directory)
  for await (const each of registry.watch(signal)) t.equal(each, bag, 'reading is the registry’s own')
  t.equal(registry.latencyMs, 7)
  const request = signed(requestDocument(1))
  t.equal(await registry.outbox.read(request), undefined, 'nothing, and no directory yet')
  const umask = process.umask(0o077)
  try {
    await registry.publish(sealed(requestDocument(1)), signal)
    await registry.publish(sealed(recordDocument(1)), signal)
  } finally {
    process.umask(umask)
  }
  const path = join(directory, 'requests', 'g1.jws')
  t.equal(registry.outbox.pathOf(request), path)
  t.strictSame(await readFile(path), sealed(requestDocument(1)))
  t.strictSame(await registry.outbox.read(request), request)
  const modeOf = async (of: string): Promise<number> => (await stat(of)).mode & 0o777
  t.strictSame(
    [await modeOf(directory), await modeOf(join(directory, 'records')), await modeOf(path)],
    [0o755, 0o755, 0o644],
    'public, whatever the umask is',
  )
  const before = (await stat(path)).ino
  await registry.publish(sealed(requestDocument(1)), signal)
  t.equal((await stat(path)).ino, before, 'the same bytes stay')
})

void t.test('what is damaged there does not count, and what cannot be written is said', async (t) => {
  const directory = outboxDirectory(t.testdir())
  const registry = new OutboxRegistry(readOnly, directory)
  const record = signed(recordDocument(1))
  await registry.publish(sealed(recordDocument(1)), signal)
  const path = registry.outbox.pathOf(record)
  await writeFile(path, sealed(recordDocument(1)).subarray(0, -9))
  t.equal(await readOutbox(path), undefined)
  await registry.publish(sealed(recordDocument(1)), signal)
  t.strictSame(await readOutbox(path), record, 'written anew')
  await t.rejects(registry.publish(Buffer.from('{}'), signal), { code: 'document-invalid' })
  await t.rejects(registry.publish(sealed(recordDocument(1)), AbortSignal.abort()))
  const file = join(t.testdir(), 'file')
  await writeFile(file, '')
  const nowhere = new OutboxRegistry(readOnly, file)
  await t.rejects(nowhere.publish(sealed(recordDocument(1)), signal), { code: 'registry-unreadable' })
})
