/** Following a registry through what etcd does seldom, and through what it should never do. */
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Test } from 'tap'
import { Following, prefix } from '../../support/etcd-following.ts'
import type { Options } from '../../support/etcd-following.ts'
import { FakeEtcd } from '../../support/fake-etcd.ts'

const quick = { quietMs: 50, progressMs: 100, probeMs: 300 }

async function fakeFor(t: Test): Promise<FakeEtcd> {
  const fake = await FakeEtcd.start()
  t.teardown(() => {
    fake.end()
  })
  fake.put(`${prefix}/records/a`, 'a1')
  fake.put(`${prefix}/records/b`, 'b1')
  return fake
}

/** A registry on a fake, past its first bag and watching. */
async function followingFor(t: Test, fake: FakeEtcd, options: Partial<Options> = {}): Promise<Following> {
  const following = new Following(t, { endpoints: [fake.url], random: () => 0, ...options })
  await following.until('the first bag', ({ bags }) => bags.length > 0)
  await following.until('a watch', () => fake.watching > 0)
  return following
}

function completeBags({ bags }: Following): number {
  return bags.filter(({ complete }) => complete).length
}

void t.test('a list, a watch from the next revision, and nothing else', async (t) => {
  const fake = await fakeFor(t)
  const following = await followingFor(t, fake)
  t.same(fake.asked, ['touch', 'list', 'watch 4'])
  fake.put(`${prefix}/records/a`, 'a2')
  fake.delete(`${prefix}/records/b`)
  await following.until('news', ({ documents }) => documents.get('records/a') === 'a2')
  await following.until('one less', ({ names }) => names.join() === 'records/a')
  t.equal(completeBags(following), 1)
})

void t.test('changes that come together are one bag', async (t) => {
  const fake = await fakeFor(t)
  const following = await followingFor(t, fake, { coalesceMs: 1000 })
  for (let i = 0; i < 50; i++) fake.put(`${prefix}/records/a`, `a${i}`)
  fake.put(`${prefix}/records/c`, 'c1')
  await following.until('news', ({ documents }) => documents.has('records/c'))
  t.ok(following.bags.length <= 3, `${following.bags.length} bags`)
  t.equal(following.documents.get('records/a'), 'a49')
})

void t.test('a watch that ends is begun again from where it was', async (t) => {
  const ends: readonly ((fake: FakeEtcd) => void)[] = [
    (fake) => {
      fake.breakWatches({ code: 14, details: 'etcdserver: no leader' })
    },
    (fake) => {
      fake.send({ canceled: true, cancelReason: 'etcdserver: some reason' })
    },
    (fake) => {
      fake.send({ canceled: true, cancelReason: '' })
    },
    (fake) => {
      fake.send(Buffer.from('this is no message'))
    },
    (fake) => {
      fake.send({ events: [{ type: 0, kv: { key: Buffer.from('/elsewhere'), modRevision: 99 } }] })
    },
    (fake) => {
      fake.send({ events: [{ type: 0, kv: { key: Buffer.from(`${prefix}/records/a`), modRevision: 1 } }] })
    },
    (fake) => {
      fake.send({ events: [{ type: 0 }] })
    },
  ]
  for (const end of ends) {
    const fake = await fakeFor(t)
    const following = await followingFor(t, fake)
    fake.put(`${prefix}/records/a`, 'a2')
    await following.until('news', ({ documents }) => documents.get('records/a') === 'a2')
    fake.asked.length = 0
    end(fake)
    await following.until('another watch', () => fake.asked.some((word) => word.startsWith('watch')))
    t.same(fake.asked, ['touch', 'watch 5'], 'nothing is listed')
    fake.put(`${prefix}/records/a`, 'a3')
    await following.until('news', ({ documents }) => documents.get('records/a') === 'a3')
    t.equal(completeBags(following), 1)
    t.same(following.names, ['records/a', 'records/b'])
    const told = following.bags.flatMap(({ unreadable }) => unreadable)
    t.same(told, [], 'what is mended at once is no news')
    await following.end()
  }
})

void t.test('what happened in between is not missed', async (t) => {
  const fake = await fakeFor(t)
  const following = await followingFor(t, fake)
  fake.breakWatches({ code: 14, details: 'gone' })
  fake.put(`${prefix}/records/a`, 'a2')
  fake.delete(`${prefix}/records/b`)
  await following.until('both', ({ documents, names }) => {
    return documents.get('records/a') === 'a2' && names.length === 1
  })
  t.equal(completeBags(following), 1)
})

void t.test('compaction: everything is listed again', async (t) => {
  const fake = await fakeFor(t)
  const following = await followingFor(t, fake)
  fake.delete(`${prefix}/records/b`, { told: false })
  fake.compacted = fake.revision
  fake.breakWatches({ code: 14, details: 'gone' })
  await following.until('a list', (following) => completeBags(following) === 2)
  t.same(following.names, ['records/a'])
  t.same(fake.asked.slice(3), ['touch', 'watch 4', 'list', 'watch 5'])
})

void t.test('another history: everything is listed again', async (t) => {
  const fake = await fakeFor(t)
  const following = await followingFor(t, fake)
  const changes: readonly (() => void)[] = [
    () => {
      fake.raftTerm = 1
    },
    () => {
      fake.clusterId = 2n
    },
    () => {
      fake.revision = 2
    },
  ]
  for (const [i, change] of changes.entries()) {
    await following.until('a watch', () => fake.watching > 0)
    change()
    fake.breakWatches({ code: 14, details: 'gone' })
    await following.until('a list', (following) => completeBags(following) === i + 2)
  }
  await following.until('a watch', () => fake.watching > 0)
  fake.raftTerm = 9
  fake.breakWatches({ code: 14, details: 'gone' })
  await following.until('a watch', () => fake.asked.at(-1) === 'watch 3')
  t.equal(completeBags(following), 4, 'a new leader is no other history')
})

void t.test('an audit finds what no watch told', async (t) => {
  const fake = await fakeFor(t)
  const following = await followingFor(t, fake, { auditMs: 200 })
  fake.put(`${prefix}/records/a`, 'a2', { told: false })
  fake.put(`${prefix}/records/c`, 'c1', { told: false })
  fake.delete(`${prefix}/records/b`, { told: false })
  await following.until('all three', ({ documents, names }) => {
    return documents.get('records/a') === 'a2' && names.join() === 'records/a,records/c'
  })
  t.equal(completeBags(following), 1)
  t.equal(fake.asked.filter((word) => word === 'list').length, 1)
  t.same(
    fake.asked.filter((word) => word.startsWith('one ')),
    [`one ${prefix}/records/a`, `one ${prefix}/records/c`],
    'what differs is read, and only that',
  )
  await following.until('another', () => fake.asked.at(-1) === `watch ${fake.revision + 1}`)
  await following.until('the watch before it to end', () => fake.watching === 1)

  for (let i = 0; i < 100; i++) fake.put(`${prefix}/records/g${i}`, 'g', { told: false })
  await following.until('many', ({ documents }) => documents.size === 102)
  t.equal(completeBags(following), 2, 'where much differs, everything is listed')
  fake.clusterId = 5n
  await following.until('another cluster', (following) => completeBags(following) === 3)
})

void t.test('an answer in fragments counts when it is whole', async (t) => {
  const fake = await fakeFor(t)
  const following = await followingFor(t, fake)
  const event = (name: string): { type: number; kv: object } => {
    return { type: 0, kv: { key: Buffer.from(`${prefix}/${name}`), value: Buffer.from('x'), modRevision: 4 } }
  }
  fake.revision = 4
  fake.send({ events: [event('records/c')], fragment: true })
  await following.until('the first half', ({ documents }) => documents.has('records/c'))
  fake.breakWatches({ code: 14, details: 'gone' })
  await following.until('another watch', () => fake.watching > 0)
  t.equal(fake.asked.at(-1), 'watch 4', 'from the same revision')
  fake.send({ events: [event('records/c')], fragment: true })
  fake.send({ events: [event('records/d')] })
  await following.until('both', ({ documents }) => documents.has('records/d'))
  fake.breakWatches({ code: 14, details: 'gone' })
  await following.until('another watch', () => fake.watching > 0)
  t.equal(fake.asked.at(-1), 'watch 5')
})

void t.test('a watch that answers is alive', async (t) => {
  const fake = await fakeFor(t)
  const pulse = { quietMs: 50, progressMs: 1000, probeMs: 1000 }
  const following = await followingFor(t, fake, { pulse })
  await following.until('questions', () => fake.asked.filter((word) => word === 'progress').length > 3)
  const others = fake.asked.filter((word) => word !== 'progress')
  t.same(others, ['touch', 'list', 'watch 4'], 'progress is answer enough')
  t.ok((following.registry.health.roundTripMs ?? Infinity) < 5000)
  t.equal(following.bags.length, 1)
})

void t.test('so is a server, while its watch catches up and answers nothing', async (t) => {
  const fake = await fakeFor(t)
  fake.answersProgress = false
  const following = await followingFor(t, fake, { pulse: { quietMs: 50, progressMs: 50, probeMs: 20_000 } })
  const touches = (): number => fake.asked.filter((word) => word === 'touch').length
  await following.until('more questions', () => touches() > 3)
  t.equal(fake.asked.filter((word) => word.startsWith('watch')).length, 1, 'the watch stays')
  fake.put(`${prefix}/records/a`, 'a2')
  await following.until('news', ({ documents }) => documents.get('records/a') === 'a2')
  t.equal(following.bags.length, 2)
})

void t.test('a server that answers nothing is dead', async (t) => {
  const fake = await fakeFor(t)
  fake.answersProgress = false
  const following = await followingFor(t, fake, { pulse: quick })
  fake.onRange = () => 'silence'
  await following.until('it is missed', ({ unreadable }) => unreadable.length > 0)
  t.match(following.unreadable, [{ object: fake.url, reason: 'does not answer' }])
  fake.onRange = () => undefined
  await following.until('it is back', ({ unreadable }) => unreadable.length === 0)
  t.equal(completeBags(following), 1)
})

void t.test('a watch that is never made', async (t) => {
  const fake = await fakeFor(t)
  fake.onWatch = () => ({ events: [] })
  fake.answersProgress = false
  const following = new Following(t, { endpoints: [fake.url], pulse: quick, random: () => 0 })
  await following.until('a bag', ({ bags }) => bags.length > 0)
  fake.onWatch = () => ({ canceled: true, created: true, cancelReason: 'etcdserver: permission denied' })
  fake.breakWatches({ code: 14, details: 'gone' })
  fake.onRange = () => 'silence'
  await following.until('it is told', ({ unreadable }) => unreadable.length > 0)
  fake.onRange = () => undefined
  await following.until('and why', ({ unreadable }) => unreadable[0]?.code === 'permission')
  t.match(following.unreadable, [{ object: fake.url, reason: 'our user has no permission' }])
})

void t.test('while one endpoint works, nothing is unreadable', async (t) => {
  const [dead, alive] = [await fakeFor(t), await fakeFor(t)]
  dead.end()
  const following = await followingFor(t, alive, { endpoints: [dead.url, alive.url] })
  alive.put(`${prefix}/records/c`, 'c1')
  await following.until('news', ({ documents }) => documents.has('records/c'))
  t.same(
    following.bags.map(({ complete, unreadable }) => [complete, unreadable.length]),
    [
      [true, 0],
      [false, 0],
    ],
  )
})

void t.test('endpoints in turn', async (t) => {
  const [one, two] = [await fakeFor(t), await fakeFor(t)]
  const following = await followingFor(t, one, { endpoints: [one.url, two.url] })
  t.equal(two.asked.length, 0, 'the first, while it works')
  one.onRange = () => ({ code: 14, details: 'etcdserver: no leader' })
  one.breakWatches({ code: 14, details: 'etcdserver: no leader' })
  await following.until('the second', () => two.watching > 0)
  t.equal(following.registry.health.endpoint, two.url)
  two.onRange = () => ({ code: 14, details: 'etcdserver: no leader' })
  two.breakWatches({ code: 14, details: 'etcdserver: no leader' })
  await following.until('none', ({ unreadable }) => unreadable.length === 2)
  t.match(following.unreadable, [
    { object: one.url, reason: 'its cluster has no leader' },
    { object: two.url, reason: 'its cluster has no leader' },
  ])
  const { length } = following.bags
  await pause(500)
  t.equal(following.bags.length, length, 'said once')
  one.onRange = () => ({ code: 7, details: 'etcdserver: permission denied' })
  await following.until('another reason', ({ unreadable }) => unreadable[0]?.code === 'permission')
  two.onRange = () => undefined
  await following.until('one of them', ({ unreadable }) => unreadable.length === 0)
  t.equal(completeBags(following), 1, 'the same cluster: it goes on where it was')
})

void t.test('tokens', async (t) => {
  const fake = await fakeFor(t)
  let [valid, given] = ['', 0]
  fake.onAuthenticate = () => ({ token: (valid = `token ${++given}`) })
  fake.onRange = (_request, token) => {
    return token === valid ? undefined : { code: 16, details: 'etcdserver: invalid auth token' }
  }
  const user = { name: 'g', password: 'hunter2' }
  const following = await followingFor(t, fake, { user, auditMs: 300 })
  t.same([...new Set(fake.tokens)], ['token 1'], 'reads and watch')
  valid = 'none'
  await following.until('another', () => given === 2)
  await following.until('an audit', ({ bags }) => bags.length > 2)
  t.same(following.bags.flatMap(({ unreadable }) => unreadable), []) // prettier-ignore
  t.equal(fake.tokens.at(-1), 'token 2')

  valid = 'none'
  t.equal((await following.registry.store.list(AbortSignal.timeout(10_000))).documents.length, 2)
  t.equal(given, 3, 'for single acts, too')

  // A watch says nothing of tokens: it is denied (etcd 3.4).
  fake.onWatch = () => {
    fake.onWatch = () => undefined
    return { canceled: true, created: true, cancelReason: 'rpc error: code = PermissionDenied desc = etcdserver: permission denied' } // prettier-ignore
  }
  await following.until('a fourth', () => given === 4)

  fake.onAuthenticate = () => ({
    code: 3,
    details: 'etcdserver: authentication failed, invalid user ID or password',
  })
  valid = 'none'
  await following.until('refused', ({ unreadable }) => unreadable.length > 0)
  t.match(following.unreadable, [{ code: 'permission', reason: 'refuses user "g" with this password' }])
  t.notMatch(JSON.stringify(following.bags), /hunter2|token \d/)
})

void t.test('a cluster without users serves those who have one', async (t) => {
  const fake = await fakeFor(t)
  fake.onAuthenticate = () => ({ code: 9, details: 'etcdserver: authentication is not enabled' })
  await followingFor(t, fake, { user: { name: 'g', password: 'hunter2' } })
  t.same([...new Set(fake.tokens)], [''])
})

void t.test('it ends when it should', async (t) => {
  const fake = await fakeFor(t)
  const following = await followingFor(t, fake)
  await following.end()
  t.equal(following.registry.health.endpoint, undefined)
  await following.until('no watch is left', () => fake.watching === 0)
  // Whoever leaves the loop ends it, too.
  const { registry } = following
  for await (const bag of registry.watch(new AbortController().signal)) {
    t.equal(bag.complete, true)
    break
  }
  await following.until('no watch is left', () => fake.watching === 0)
  const aborted = AbortSignal.abort()
  for await (const bag of registry.watch(aborted)) t.fail(JSON.stringify(bag))
})
