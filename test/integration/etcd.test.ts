/**
 * The etcd registry against real servers: what etcd says, and what is made of it when it is killed, frozen, cut off, compacted
 * or made anew. In a network namespace of its own, where packets can be dropped.
 */
import { readdirSync, readlinkSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { EtcdRegistry } from '../../agent/registry/etcd.ts'
import { run } from '../support/command.ts'
import { Etcd, etcdFor, hasEtcd } from '../support/etcd.ts'
import { Following, prefix, refusalOf, signal } from '../support/etcd-following.ts'
import { isolated } from '../support/isolate.ts'

const mebibyte = 1024 * 1024

if (!hasEtcd) t.pass('etcd', { skip: 'needs etcd-server and etcd-client' })
else await isolated(import.meta.url, tests)

async function tests(parent: string): Promise<void> {
  await t.test('documents come, change and go', async (t) => {
    const etcd = await etcdFor(t, { parent })
    etcd.put(`${prefix}/fabric`, 'one')
    etcd.put(`${prefix}/records/a`, 'a1')
    etcd.put('/linkspan/production/fabric', 'of another')
    etcd.put('/linkspan/prod', 'not below it')
    const following = new Following(t, { endpoints: [etcd.url] })
    await following.until('the first bag', ({ bags }) => bags.length === 1)
    t.equal(following.bags[0]?.complete, true)
    t.same(following.bags[0]?.unreadable, [])
    t.same(
      following.bags[0]?.documents.map(({ origin }) => origin),
      [`etcd:${prefix}/fabric`, `etcd:${prefix}/records/a`],
    )
    etcd.put(`${prefix}/records/b`, 'b1')
    await following.until('a new one', ({ documents }) => documents.get('records/b') === 'b1')
    etcd.put(`${prefix}/records/a`, 'a2')
    await following.until('a changed one', ({ documents }) => documents.get('records/a') === 'a2')
    etcd.del(`${prefix}/records/b`)
    await following.until('one less', ({ documents }) => !documents.has('records/b'))
    t.same(following.bags.at(-1)?.gone, [`etcd:${prefix}/records/b`])
    etcd.put(`${prefix}/vouchers/of/a later type`, 'v')
    await following.until('any key', ({ documents }) => documents.has('vouchers/of/a%20later%20type'))
    t.equal(following.bags.filter(({ complete }) => complete).length, 1, 'one complete bag')
    t.equal(following.registry.health.endpoint, etcd.url)
    t.ok((following.registry.health.roundTripMs ?? 0) > 0)
  })

  await t.test('single acts', async (t) => {
    const etcd = await etcdFor(t, { parent })
    const registry = new EtcdRegistry({ endpoints: [etcd.url], prefix, keyOf: () => 'records/a' })
    const { store } = registry
    t.same(await store.list(signal()), { documents: [], complete: true, unreadable: [] })
    await registry.publish?.(Buffer.from('a1'), signal())
    t.equal(etcd.ctl('get', '--print-value-only', `${prefix}/records/a`), 'a1\n')
    await registry.publish?.(Buffer.from('a1'), signal())
    t.match(etcd.ctl('get', '--write-out=json', `${prefix}/records/a`), /"version":1\b/, 'written once')
    t.equal(await store.put('records/a', Buffer.from('a2'), signal()), true)
    t.equal(await store.put('records/a', Buffer.from('a2'), signal()), false)
    const { documents } = await store.list(signal())
    t.same(documents, [{ origin: `etcd:${prefix}/records/a`, bytes: new Uint8Array(Buffer.from('a2')) }])
    t.equal(await store.remove('records/a', signal()), true)
    t.equal(await store.remove('records/a', signal()), false)
    // Somebody writes, deletes, writes again, each time between the look and the write.
    const seen: (string | undefined)[] = []
    const quicker = [
      () => {
        etcd.put(`${prefix}/records/a`, 'b1')
      },
      () => {
        etcd.del(`${prefix}/records/a`)
      },
    ]
    const judge = (present: Uint8Array | undefined): void => {
      seen.push(present && Buffer.from(present).toString())
      quicker[seen.length - 1]?.()
    }
    t.equal(await store.put('records/a', Buffer.from('a3'), signal(), judge), true)
    t.same(seen, [undefined, 'b1', undefined], 'judged again each time')
    const always = (): void => {
      etcd.put(`${prefix}/records/a`, String(seen.push('')))
    }
    t.match(await refusalOf(store.put('records/a', Buffer.from('a4'), signal(), always)), {
      object: `etcd:${prefix}/records/a`,
      reason: /written by somebody else 5 times/,
    })
    t.equal(etcd.ctl('get', '--print-value-only', `${prefix}/records/a`).trim(), String(seen.length))
    t.match(await refusalOf(store.put('/records/a', Buffer.from('a'), signal())), { code: 'usage' })
  })

  await t.test('a server that is killed, and comes back', async (t) => {
    const etcd = await etcdFor(t, { parent })
    etcd.put(`${prefix}/records/a`, 'a1')
    etcd.put(`${prefix}/records/b`, 'b1')
    const following = new Following(t, { endpoints: [etcd.url] })
    await following.until('the first bag', ({ bags }) => bags.length === 1)
    await etcd.kill()
    // A connection may break once more on the way.
    await following.until(
      'it is missed',
      ({ unreadable }) => unreadable[0]?.reason === 'refuses the connection',
    )
    t.match(following.unreadable, [{ code: 'registry-unreadable', object: etcd.url, next: /running/ }])
    t.same(following.names, ['records/a', 'records/b'], 'documents stay')
    const { length } = following.bags
    await pause(1000)
    t.equal(following.bags.length, length, 'said once')
    const one = await refusalOf(following.registry.store.list(signal()))
    t.match(one, { code: 'registry-unreadable', object: etcd.url, reason: 'refuses the connection' })

    await etcd.start()
    etcd.put(`${prefix}/records/a`, 'a2')
    etcd.del(`${prefix}/records/b`)
    await following.until('it is back', ({ unreadable, documents, names }) => {
      return unreadable.length === 0 && documents.get('records/a') === 'a2' && names.length === 1
    })
    t.equal(following.bags.filter(({ complete }) => complete).length, 1, 'went on where it was')
  })

  await t.test('a server that is frozen', async (t) => {
    const etcd = await etcdFor(t, { parent })
    const following = new Following(t, { endpoints: [etcd.url], answerMs: 500 })
    await following.until('the first bag', ({ bags }) => bags.length === 1)
    await pause(2500)
    t.equal(following.bags.length, 1, 'silence of a server that lives is no alarm')
    const sockets = openSockets()
    etcd.freeze()
    const ms = await following.until('it is missed', ({ unreadable }) => unreadable.length > 0)
    t.comment(`a frozen server is noticed after ${Math.round(ms)} ms`)
    t.ok(ms < 10_000)
    t.match(following.unreadable, [{ object: etcd.url, reason: 'does not answer' }])
    // Each try is a connection that nobody answers; none may stay behind.
    await pause(5000)
    t.ok(openSockets() <= sockets + 1, `${sockets} sockets were open, now ${openSockets()}`)
    etcd.thaw()
    await following.until('it is back', ({ unreadable }) => unreadable.length === 0)
    etcd.put(`${prefix}/records/a`, 'a1')
    await following.until('news', ({ documents }) => documents.has('records/a'))
  })

  await t.test('fault 26: a network that drops everything: the next endpoint takes over', async (t) => {
    const etcd = await etcdFor(t, { parent, ports: 2 })
    const [first = '', second = ''] = etcd.urls
    const following = new Following(t, { endpoints: [first, second] })
    await following.until('the first bag', ({ bags }) => bags.length === 1)
    await following.until('the first serves', ({ registry }) => registry.health.endpoint === first)
    drop(first)
    const ms = await following.until('it goes on', ({ registry }) => registry.health.endpoint === second)
    t.comment(`the second endpoint takes over after ${Math.round(ms)} ms`)
    etcd.put(`${prefix}/records/a`, 'a1')
    await following.until('news', ({ documents }) => documents.has('records/a'))
    t.same(
      following.bags.flatMap(({ unreadable }) => unreadable),
      [],
      'the registry was never unreadable',
    )
    t.equal(following.bags.length, 2)

    drop(first, second)
    await following.until('both are missed', ({ unreadable }) => unreadable.length === 2)
    t.match(following.unreadable, [
      { object: first, reason: 'does not answer' },
      { object: second, reason: 'does not answer' },
    ])
    dropNothing()
    await following.until('it is back', ({ unreadable }) => unreadable.length === 0)
  })

  await t.test('a member without the others', async (t) => {
    const [one, two] = await Etcd.cluster(2, { parent })
    if (one === undefined || two === undefined) throw new Error('no cluster')
    t.teardown(() => Promise.all([one.end(), two.end()]))
    one.put(`${prefix}/records/a`, 'a1')
    const following = new Following(t, { endpoints: [one.url] })
    await following.until('the first bag', ({ bags }) => bags.length === 1)
    await two.kill()
    // It is alive, and knows that it may have missed something.
    const ms = await following.until('it is missed', ({ unreadable }) => unreadable.length > 0)
    t.comment(`a member that lost its cluster is noticed after ${Math.round(ms)} ms`)
    t.match(following.unreadable, [
      { code: 'registry-unreadable', object: one.url, reason: 'its cluster has no leader' },
    ])
    await two.start()
    two.put(`${prefix}/records/a`, 'a2')
    await following.until('it is back', ({ documents, unreadable }) => {
      return documents.get('records/a') === 'a2' && unreadable.length === 0
    })
  })

  await t.test('fault 25: compaction while cut off', async (t) => {
    const etcd = await etcdFor(t, { parent })
    for (const name of ['a', 'b']) etcd.put(`${prefix}/records/${name}`, `${name}1`)
    const following = new Following(t, { endpoints: [etcd.url] })
    await following.until('the first bag', ({ bags }) => bags.length === 1)
    drop(etcd.url)
    await following.until('it is missed', ({ unreadable }) => unreadable.length === 1)
    etcd.del(`${prefix}/records/a`)
    etcd.put(`${prefix}/records/b`, 'b2')
    etcd.compact()
    dropNothing()
    await following.until('it is back', ({ unreadable, documents }) => {
      return unreadable.length === 0 && documents.get('records/b') === 'b2'
    })
    t.same(following.names, ['records/b'])
    t.equal(following.bags.at(-1)?.complete, true, 'everything was listed')
    etcd.put(`${prefix}/records/c`, 'c1')
    await following.until('news', ({ documents }) => documents.has('records/c'))
  })

  await t.test('fault 25: a cluster made anew, whose revisions begin again', async (t) => {
    const etcd = await etcdFor(t, { parent })
    for (let i = 0; i < 20; i++) etcd.put(`${prefix}/records/a`, `a${i}`)
    const following = new Following(t, { endpoints: [etcd.url] })
    await following.until('the first bag', ({ bags }) => bags.length === 1)
    await etcd.lose()
    await etcd.start()
    etcd.put(`${prefix}/records/b`, 'b1')
    await following.until('what is there now', ({ documents }) => documents.has('records/b'))
    t.same(following.names, ['records/b'])
    // Empty at first, perhaps: a complete bag in any case, and vanished is not removed.
    t.ok(following.bags.filter(({ complete }) => complete).length >= 2)
  })

  await t.test('audits', async (t) => {
    const etcd = await etcdFor(t, { parent })
    etcd.put(`${prefix}/records/a`, 'a1')
    const following = new Following(t, { endpoints: [etcd.url], auditMs: 300 })
    await following.until('some', ({ bags }) => bags.length >= 4)
    t.same(
      following.bags.slice(1, 4),
      Array(3).fill({ documents: [], gone: [], complete: false, unreadable: [] }),
    )
    etcd.put(`${prefix}/records/b`, 'b1')
    etcd.del(`${prefix}/records/a`)
    await following.until('news, whoever brings them', ({ names }) => names.join() === 'records/b')
  })

  await t.test('fault 27: thousands of documents, and some too many', async (t) => {
    const etcd = await etcdFor(t, { parent, args: [`--max-request-bytes=${40 * mebibyte}`] })
    const count = 3000
    const { store } = new EtcdRegistry({ endpoints: [etcd.url], prefix })
    const names = Array.from({ length: count }, (_, i) => `records/g${i}`)
    etcd.putAll(names.map((name) => [`${prefix}/${name}`, `${name}-${'x'.repeat(2000)}`]))
    const began = performance.now()
    const following = new Following(t, { endpoints: [etcd.url] })
    await following.until('the first bag', ({ bags }) => bags.length === 1)
    t.comment(`${count} documents of 2 KB are listed in ${Math.round(performance.now() - began)} ms`)
    t.equal(following.documents.size, count)
    t.equal(following.documents.get('records/g2999')?.length, 'records/g2999-'.length + 2000)

    // One that is too long, in the middle: by list and by watch.
    await store.put('records/g5', Buffer.alloc(24 * mebibyte), signal())
    await following.until('it is named', ({ unreadable }) => unreadable.length === 1)
    t.match(following.unreadable, [
      {
        code: 'registry-unreadable',
        object: `etcd:${prefix}/records/g5`,
        reason: /longer than 22369871 bytes/,
      },
    ])
    etcd.put(`${prefix}/records/g6`, 'short')
    await following.until('the rest goes on', ({ documents }) => documents.get('records/g6') === 'short')
    const { documents, unreadable } = await store.list(signal())
    t.equal(documents.length, count - 1)
    t.match(unreadable, [{ object: `etcd:${prefix}/records/g5` }])
    etcd.put(`${prefix}/records/g5`, 'short')
    await following.until('it is short again', ({ unreadable }) => unreadable.length === 0)
    t.equal(following.documents.get('records/g5'), 'short')

    // More than a bag holds.
    const small = new Following(t, { endpoints: [etcd.url], bagBytes: mebibyte })
    await small.until('the first bag', ({ bags }) => bags.length === 1)
    t.ok(small.documents.size > 400 && small.documents.size < 520, `${small.documents.size} documents fit`)
    t.match(small.unreadable[0], { object: /records.g/, reason: /left out/ })
    t.match(small.unreadable.at(-1), { object: `etcd:${prefix}`, reason: /^more keys are left out/ })
  })

  await t.test('how soon a change is here', async (t) => {
    const etcd = await etcdFor(t, { parent })
    const following = new Following(t, { endpoints: [etcd.url] })
    await following.until('the first bag', ({ bags }) => bags.length === 1)
    const { store } = following.registry
    const figures: number[] = []
    for (let i = 0; i < 50; i++) {
      const began = performance.now()
      await store.put('records/a', Buffer.from(`a${i}`), signal())
      const written = performance.now()
      await following.until('it is here', ({ documents }) => documents.get('records/a') === `a${i}`)
      figures.push(performance.now() - began, performance.now() - written)
    }
    const of = (rest: number): number[] => figures.filter((_, i) => i % 2 === rest).sort((a, b) => a - b)
    const [all, after] = [of(0), of(1)]
    t.comment(
      `connect, read, write and bag: median ${all[25]?.toFixed(1)} ms, worst ${all[49]?.toFixed(1)} ms; ` +
        `after the write: median ${after[25]?.toFixed(1)} ms, worst ${after[49]?.toFixed(1)} ms`,
    )
    t.ok((all[25] ?? Infinity) < 5000)
  })
}

/** Drops all packets to the ports of these URLs, and to no others. */
function drop(...urls: readonly string[]): void {
  dropNothing()
  const ports = urls.map((url) => new URL(url).port).join(', ')
  run('nft', 'add table inet drops; add chain inet drops in { type filter hook input priority 0; }')
  run('nft', `add rule inet drops in tcp dport { ${ports} } drop`)
}

function dropNothing(): void {
  run('nft', 'add table inet drops; delete table inet drops')
}

function openSockets(): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith('socket:')
    } catch {
      return false // closed meanwhile
    }
  }).length
}
