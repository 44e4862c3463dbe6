/** Listing a registry, and single acts on it, with servers that answer too much, too slowly, or something else. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import type { Test } from 'tap'
import { LinkspanError } from '../../../agent/errors.ts'
import type { Reason } from '../../../agent/errors.ts'
import { maxFabricBytes } from '../../../agent/model/document.ts'
import { EtcdRegistry } from '../../../agent/registry/etcd.ts'
import { envelopeBytes } from '../../../agent/trust/envelope.ts'
import { prefix } from '../../support/etcd-following.ts'
import type { Options } from '../../support/etcd-following.ts'
import { FakeEtcd } from '../../support/fake-etcd.ts'
import type { RangeAnswer } from '../../support/fake-etcd.ts'

async function fakeFor(t: Test, count = 0): Promise<FakeEtcd> {
  const fake = await FakeEtcd.start()
  t.teardown(() => {
    fake.end()
  })
  for (let i = 0; i < count; i++)
    fake.put(`${prefix}/records/g${String(i).padStart(3, '0')}`, `document ${i}`)
  return fake
}

function registryOn(fake: FakeEtcd, options: Partial<Options> = {}): EtcdRegistry {
  return new EtcdRegistry({ endpoints: [fake.url], prefix, ...options })
}

function signal(): AbortSignal {
  return AbortSignal.timeout(30_000)
}

async function refusalOf(act: Promise<unknown>): Promise<Reason> {
  try {
    await act
  } catch (error) {
    if (error instanceof LinkspanError) return error
    throw error
  }
  throw new Error('was not refused')
}

void t.test('pages, all of one revision', async (t) => {
  const fake = await fakeFor(t, 25)
  const revisions: number[] = []
  fake.onRange = ({ revision }) => {
    revisions.push(revision)
    // Somebody writes meanwhile.
    fake.put('/elsewhere', 'x')
    return undefined
  }
  const { documents, complete } = await registryOn(fake, { pageKeys: 10 }).store.list(signal())
  t.equal(documents.length, 25)
  t.equal(complete, true)
  t.same(revisions, [0, 27, 27])
})

void t.test('smaller pages where they are too long, and a key that is too long alone', async (t) => {
  const fake = await fakeFor(t, 40)
  for (const i of [7, 8, 30])
    fake.put(`${prefix}/records/g0${String(i).padStart(2, '0')}`, Buffer.alloc(90_000))
  fake.put(`${prefix}/records/g012`, Buffer.alloc(200_000))
  const { documents, unreadable } = await registryOn(fake, { valueBytes: 100_000 }).store.list(signal())
  t.equal(documents.length, 39)
  t.match(unreadable, [{ object: `etcd:${prefix}/records/g012`, reason: 'is longer than 100000 bytes' }])
})

void t.test('smaller pages where they are slow', async (t) => {
  const fake = await fakeFor(t, 20)
  fake.onRange = ({ limit }) => (limit > 5 ? 'silence' : undefined)
  const { documents } = await registryOn(fake, { pageKeys: 16, transferMs: 100 }).store.list(signal())
  t.equal(documents.length, 20)
  t.ok(fake.asked.includes('touch'), 'a server that answers small questions is alive')

  fake.onRange = () => 'silence'
  const reason = await refusalOf(registryOn(fake, { transferMs: 100, answerMs: 100 }).store.list(signal()))
  t.match(reason, { code: 'registry-unreadable', object: fake.url, reason: 'does not answer' })
})

void t.test('answers that etcd does not give', async (t) => {
  const fake = await fakeFor(t, 5)
  const header = { clusterId: 1n, revision: 9 }
  const kv = (key: string): NonNullable<RangeAnswer['kvs']>[number] => ({
    key: Buffer.from(key),
    modRevision: 3,
  })
  const answers: readonly (readonly [string, (count: number) => RangeAnswer])[] = [
    ['an answer without header', () => ({})],
    ['an empty page with more to follow', () => ({ header, more: true })],
    ['keys that were not asked for', () => ({ header, kvs: [kv('/elsewhere')] })],
    ['keys that were not asked for', () => ({ header, kvs: [kv(`${prefix}/b`), kv(`${prefix}/a`)] })],
    ['keys that were not asked for', () => ({ header, kvs: [kv(`${prefix}/b`), kv(`${prefix}/b`)] })],
    ['keys that were not asked for', () => ({ header, kvs: [kv(`${prefix}/a`)], more: true })],
    [
      'more keys than were asked for',
      () => ({ header, kvs: Array.from({ length: 11 }, (_, i) => kv(`${prefix}/${i + 10}`)) }),
    ],
    [
      'pages of two clusters',
      (count) => ({ header: { clusterId: BigInt(count) }, kvs: [kv(`${prefix}/${count}`)], more: count < 3 }),
    ],
  ]
  for (const [what, answer] of answers) {
    let count = 0
    fake.onRange = () => answer(++count)
    t.match(await refusalOf(registryOn(fake, { pageKeys: 10 }).store.list(signal())), {
      code: 'registry-unreadable',
      object: fake.url,
      reason: `answers what etcd does not: ${what}`,
    })
  }
})

void t.test('pages without end', async (t) => {
  const fake = await fakeFor(t)
  let next = 0
  fake.onRange = ({ limit }) => ({
    header: { clusterId: 1n, revision: 9 },
    kvs: Array.from({ length: limit }, () => {
      return { key: Buffer.from(`${prefix}/${String(next++).padStart(9, '0')}`), modRevision: 3 }
    }),
    more: true,
  })
  const reason = await refusalOf(registryOn(fake, { bagBytes: 256 * 1000 }).store.list(signal()))
  t.match(reason, { reason: /more than 1000 keys/ })
})

void t.test('something else than etcd', async (t) => {
  const server = createServer((_request, response) => response.end('<html>Hello</html>'))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const reason = await refusalOf(new EtcdRegistry({ endpoints: [url], prefix }).store.list(signal()))
  t.match(reason, { code: 'registry-unreadable', object: url, reason: 'is something else than etcd' })
})

void t.test('writing', async (t) => {
  const [one, two] = [await fakeFor(t), await fakeFor(t)]
  const registry = new EtcdRegistry({
    endpoints: [one.url, two.url],
    prefix,
    keyOf: (document) => `records/${Buffer.from(document).toString()}`,
  })
  await registry.publish?.(Buffer.from('a'), signal())
  await registry.publish?.(Buffer.from('a'), signal())
  t.same(one.asked, [`one ${prefix}/records/a`, `put ${prefix}/records/a`, `one ${prefix}/records/a`])

  one.onRange = () => ({ code: 14, details: 'etcdserver: no leader' })
  t.equal(await registry.store.put('records/b', Buffer.from('b'), signal()), true)
  t.same(two.asked, [`one ${prefix}/records/b`, `put ${prefix}/records/b`], 'the next server')

  two.onRange = () => ({ code: 7, details: 'etcdserver: permission denied' })
  const denied = await refusalOf(registry.store.put('records/b', Buffer.from('b'), signal()))
  t.match(denied, { code: 'permission', object: `etcd:${prefix}/records/b` })
  two.onRange = () => ({ code: 14, details: 'something else' })
  const both = await refusalOf(registry.store.put('records/b', Buffer.from('b'), signal()))
  t.match(both, { object: `${two.url}, ${one.url}`, reason: 'something else; its cluster has no leader' })
  for (const name of ['', '/records/a', 'records/a b', 'records/é']) {
    t.match(await refusalOf(registry.store.put(name, Buffer.from('b'), signal())), { code: 'usage' }, name)
  }
  await t.rejects(registry.store.list(AbortSignal.abort(new Error('stopped'))), /stopped/)
})

void t.test('the longest fabric document fits', (t) => {
  const { limits } = new EtcdRegistry({ endpoints: ['http://127.0.0.1:1'], prefix }).store.place
  t.equal(limits.valueBytes, envelopeBytes(maxFabricBytes))
  t.end()
})
