/** A fleet that comes back at the same moment: how it spreads what it asks. Numbers are those of the fault catalogue. */
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { HttpsRegistry } from '../../agent/registry/https.ts'
import { backoffMs } from '../../agent/registry/etcd-backoff.ts'
import { EtcdRegistry } from '../../agent/registry/etcd.ts'
import { CertificateAuthority } from '../support/certificate-authority.ts'
import { etcdFor, hasEtcd } from '../support/etcd.ts'
import { prefix } from '../support/etcd-following.ts'
import { bundleOf } from '../support/https-follower.ts'
import { HttpsServer, serve } from '../support/https-server.ts'

t.setTimeout(300_000)

/** The most within any 100 ms, of moments in ms. */
function peak(moments: readonly number[]): number {
  const sorted = [...moments].sort((a, b) => a - b)
  return Math.max(0, ...sorted.map((at, i) => sorted.slice(i).filter((other) => other < at + 100).length))
}

await t.test('fault 29: a thousand clients of an etcd that was away for a minute', (t) => {
  const away = 60_000
  const first = Array.from({ length: 1000 }, () => {
    let at = 0
    for (let round = 1; at < away; round++) at += backoffMs(round, false, Math.random)
    return at
  })
  t.ok(peak(first) < 120, `${peak(first)} of 1000 in the busiest 100 ms`)
  t.ok(Math.max(...first) < away + 5000, 'and all are back within 5 s')
  t.end()
})

await t.test(
  'fault 29: clients of a real etcd that is restarted',
  { skip: hasEtcd ? false : 'no etcd' },
  async (t) => {
    const etcd = await etcdFor(t)
    etcd.put(`${prefix}/records/a`, 'a1')
    const stop = new AbortController()
    t.teardown(() => {
      stop.abort()
    })
    const count = 60
    const back: number[] = []
    let known = 0
    const followers = Array.from({ length: count }, async () => {
      let isAway = false
      for await (const { unreadable } of new EtcdRegistry({ endpoints: [etcd.url], prefix }).watch(
        stop.signal,
      )) {
        if (unreadable.length > 0) isAway = true
        else if (isAway) back.push(performance.now())
        else known++
      }
    })
    const until = async (what: string, holds: () => boolean): Promise<void> => {
      for (let i = 0; i < 600 && !holds(); i++) await pause(100)
      if (!holds()) throw new Error(`${what}: not within 60 s`)
    }
    await until('all know it', () => known >= count)
    await etcd.kill()
    await pause(6000)
    await etcd.start()
    await until('all are back', () => back.length >= count)
    t.comment(
      `${peak(back)} of ${count} in the busiest 100 ms, all within ${Math.round(Math.max(...back) - Math.min(...back))} ms`,
    )
    t.ok(peak(back) < count / 2)
    stop.abort()
    await Promise.all(followers)
  },
)

await t.test('fault 29: gateways that start together ask a web server within a spread', async (t) => {
  const tls = await CertificateAuthority.create(t.testdir(), 'tls')
  const server = await HttpsServer.start(await tls.issue({ name: 'leaf', hosts: ['localhost'] }))
  t.teardown(() => server.close())
  const asked: number[] = []
  server.conduct = (socket, request) => {
    asked.push(performance.now())
    serve(bundleOf('g1'), '"1"')(socket, request)
  }
  const stop = new AbortController()
  t.teardown(() => {
    stop.abort()
  })
  const count = 100
  const options = { files: { ca: tls.pair.certificateFile }, spreadMs: 5000 }
  await Promise.all(
    Array.from({ length: count }, async () => {
      await new HttpsRegistry([server.url()], options).watch(stop.signal)[Symbol.asyncIterator]().next()
    }),
  )
  t.comment(`${peak(asked)} of ${count} in the busiest 100 ms`)
  t.equal(asked.length, count)
  t.ok(peak(asked) < count / 4)
})
