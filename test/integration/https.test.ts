/** The https registry over real TLS: what it asks, what it makes of the answers, and which mirror it uses. */
import { createServer } from 'node:net'
import type { AddressInfo, Server } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import type { Test } from 'tap'
import { LinkspanError } from '../../agent/errors.ts'
import { fetchBundle } from '../../agent/registry/https.ts'
import type { HttpsRegistryOptions } from '../../agent/registry/https.ts'
import { CertificateAuthority } from '../support/certificate-authority.ts'
import { bundleOf, Follower, namesOf, quickTimes, saidBy } from '../support/https-follower.ts'
import { head, HttpsServer, say, serve } from '../support/https-server.ts'
import type { Conduct } from '../support/https-server.ts'

t.setTimeout(300_000)

const directory = t.testdir()
const authority = await CertificateAuthority.create(directory)
const leaf = await authority.issue({ name: 'server', hosts: ['localhost', 'mirror.test'] })
const ca = authority.pair.certificateFile

const before = bundleOf('g1', 'g2', 'g3')
const after = bundleOf('g1', 'g2', 'g3', 'g4')
const quick: HttpsRegistryOptions = { files: { ca }, times: quickTimes }

async function started(t: Test, conduct: Conduct, options = {}): Promise<HttpsServer> {
  const server = await HttpsServer.start(leaf, options)
  t.teardown(() => server.close())
  server.conduct = conduct
  return server
}

async function listening(t: Test, server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}

void t.test('a bundle that does not change is asked for and not sent', async (t) => {
  for (const etag of ['"1"', 'W/"1"']) {
    const server = await started(t, serve(before, etag))
    const follower = new Follower(t, [server.url()], quick)
    t.strictSame(namesOf(await follower.next()), ['g1', 'g2', 'g3'])
    await Promise.all([server.more(3), follower.next(50)]).then(([, bag]) => {
      t.equal(bag, undefined, 'nothing is said')
    })
    t.strictSame(
      server.asked.slice(0, 3).map(({ headers }) => headers.get('if-none-match')),
      [undefined, etag, etag],
    )
    server.conduct = serve(after, '"2"')
    t.strictSame(namesOf(await follower.next()), ['g1', 'g2', 'g3', 'g4'])
  }
})

void t.test('without ETag the time of the last change serves, once it has settled', async (t) => {
  const modified = 'Wed, 18 Nov 2026 10:00:00 GMT'
  const dated = (date: string, body: Buffer): Conduct =>
    say(200, body, { 'Last-Modified': modified, Date: date })
  const asked = (): (string | undefined)[] =>
    server.asked.map(({ headers }) => headers.get('if-modified-since'))
  const server = await started(t, dated('Wed, 18 Nov 2026 10:00:01 GMT', before))
  const follower = new Follower(t, [server.url()], quick)
  await follower.next()
  await server.more(2)
  t.notOk(asked().some(Boolean), 'a file may change twice in a second')
  // As it does here: same time, other content.
  server.conduct = dated('Wed, 18 Nov 2026 10:00:01 GMT', after)
  t.strictSame(namesOf(await follower.next()), ['g1', 'g2', 'g3', 'g4'])
  server.conduct = dated('Wed, 18 Nov 2026 10:00:03 GMT', after)
  await server.more(3)
  t.equal(asked().at(-1), modified)
  server.conduct = say(304)
  t.equal(await follower.next(50), undefined)
})

void t.test('an ETag made of the second of the change is not used in that second', async (t) => {
  const young = { 'Last-Modified': 'Wed, 18 Nov 2026 10:00:00 GMT', Date: 'Wed, 18 Nov 2026 10:00:00 GMT' }
  const server = await started(t, serve(before, '"6a-100"', young))
  const follower = new Follower(t, [server.url()], quick)
  await follower.next()
  server.conduct = serve(bundleOf('g1', 'g2', 'g5'), '"6a-100"', young)
  t.strictSame(namesOf(await follower.next()), ['g1', 'g2', 'g5'], 'same size, same second, same ETag')
})

void t.test('an ETag that changes while the body does not is no news', async (t) => {
  let etags = 0
  const server = await started(t, (socket, asked) => {
    serve(before, `"${++etags}"`)(socket, asked)
  })
  const follower = new Follower(t, [server.url()], quick)
  t.strictSame(namesOf(await follower.next()), ['g1', 'g2', 'g3'])
  const [, bag] = await Promise.all([server.more(3), follower.next(100)])
  t.equal(bag, undefined)
})

void t.test('an ETag that stays while the body changes is not relied upon any more', async (t) => {
  const server = await started(t, say(200, before, { ETag: '"1"' }))
  const follower = new Follower(t, [server.url()], quick)
  await follower.next()
  await server.more(2)
  t.equal(server.asked.at(-1)?.headers.get('if-none-match'), '"1"')
  server.conduct = say(200, after, { ETag: '"1"' })
  t.strictSame(namesOf(await follower.next()), ['g1', 'g2', 'g3', 'g4'], 'the body counts')
  await server.more(2)
  t.equal(server.asked.at(-1)?.headers.get('if-none-match'), undefined)
})

void t.test('304 that nobody asked for', async (t) => {
  const server = await started(t, say(304))
  const follower = new Follower(t, [server.url()], quick)
  t.match(
    saidBy((await follower.next())!),
    /answers 304 Not Modified, and was not asked whether anything changed/,
  )
  server.conduct = say(200, before)
  t.strictSame(namesOf(await follower.next()), ['g1', 'g2', 'g3'])
  server.conduct = say(304)
  t.match(saidBy((await follower.next())!), /answers 304/)
})

void t.test('one bad line is reported alone', async (t) => {
  const server = await started(t, serve(before, '"1"'))
  const follower = new Follower(t, [server.url()], quick)
  await follower.next()
  server.conduct = serve(after.toString().replace(/(?<=g2\.jws )/, '!'), '"2"')
  const bag = (await follower.next())!
  t.strictSame([namesOf(bag), bag.complete], [['g1', 'g3', 'g4'], true])
  t.strictSame(
    bag.unreadable.map(({ object }) => object),
    ['https:records/g2.jws'],
    'under its origin, so that the ledger does not take it for vanished',
  )
  t.match(saidBy(bag), /line 3 of the bundle holds neither a JWS nor base64url/)
  // A failure and its end in between: the bad line is said again, since a bag says all that is unreadable.
  const good = server.conduct
  server.conduct = say(500)
  t.match(saidBy((await follower.next())!), /answers 500/)
  server.conduct = good
  t.match(saidBy((await follower.next())!), /line 3/)
  server.conduct = serve(after, '"3"')
  t.strictSame((await follower.next())?.unreadable, [])
})

void t.test('three redirects and no more', async (t) => {
  const server = await started(t, (socket, asked) => {
    const step = Number(asked.path.slice(1))
    if (step === 0) serve(before, '"1"')(socket, asked)
    else say(308, '', { Location: `/${step - 1}` })(socket, asked)
  })
  const { signal } = new AbortController()
  t.strictSame(namesOf(await fetchBundle([server.url('/3')], quick, signal)), ['g1', 'g2', 'g3'])
  t.equal(server.asked.length, 4)
  await t.rejects(fetchBundle([server.url('/4')], quick, signal), { message: /redirects more than 3 times/ })
  t.equal(server.asked.length, 8, 'the fifth is not asked for')
})

void t.test('gzip', async (t) => {
  const server = await started(t, serve(gzipSync(before), '"1"', { 'Content-Encoding': 'gzip' }))
  const follower = new Follower(t, [server.url()], quick)
  t.strictSame(namesOf(await follower.next()), ['g1', 'g2', 'g3'])
  t.equal(server.asked[0]?.headers.get('accept-encoding'), 'gzip')
})

void t.test('fault 24: whom it cannot reach', async (t) => {
  const idle: HttpsRegistryOptions = { ...quick, idleMs: 500 }
  const silent = createServer()
  const plain = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.once('data', () => socket.end(head(400)))
  })
  const failing = (code: string) => ({
    ...quick,
    resolve: () => Promise.reject(Object.assign(new Error(code), { code })),
  })
  const closed = createServer()
  const port = await listening(t, closed)
  await new Promise((resolve) => closed.close(resolve))
  const cases: readonly [string, string, HttpsRegistryOptions, RegExp][] = [
    ['refused', `https://localhost:${port}/`, quick, /refuses the connection \(is the server up/],
    ['no such name', 'https://mirror.test/', failing('ENOTFOUND'), /host name is not known/],
    ['no name server', 'https://mirror.test/', failing('EAI_AGAIN'), /host name cannot be resolved now/],
    [
      'no address',
      'https://mirror.test/',
      { ...quick, resolve: () => Promise.resolve([]) },
      /name is not known/,
    ],
    [
      'a name server that hangs',
      'https://mirror.test/',
      { ...idle, resolve: () => new Promise(() => undefined) },
      /no connection within 0\.5 s/,
    ],
    ['silent', `https://localhost:${await listening(t, silent)}/`, idle, /no TLS handshake within 0\.5 s/],
    ['no TLS', `https://localhost:${await listening(t, plain)}/`, quick, /does not speak TLS/],
  ]
  for (const [name, url, options, reason] of cases) {
    const follower = new Follower(t, [url], options)
    const bag = (await follower.next())!
    t.match(saidBy(bag), reason, name)
    t.strictSame([bag.documents, bag.complete], [[], false])
    t.equal(await follower.next(100), undefined, 'once')
    await follower.close()
  }
  const follower = new Follower(t, [`https://localhost:${port}/`], quick)
  await follower.next()
  await started(t, serve(before, '"1"'), { port })
  t.strictSame(namesOf(await follower.next()), ['g1', 'g2', 'g3'], 'and when it is there, it is read')
})

void t.test('a name is resolved for every connection', async (t) => {
  const one = await started(t, serve(before, '"1"'))
  const two = await started(t, serve(after, '"2"'), { port: one.port, host: '127.0.0.2' })
  let address = '127.0.0.1'
  const resolved: string[] = []
  const follower = new Follower(t, [one.url('/bundle', 'mirror.test')], {
    ...quick,
    resolve: (host) => {
      resolved.push(host)
      return Promise.resolve([{ address, family: 4 }])
    },
  })
  t.strictSame(namesOf(await follower.next()), ['g1', 'g2', 'g3'])
  address = '127.0.0.2'
  t.strictSame(namesOf(await follower.next()), ['g1', 'g2', 'g3', 'g4'])
  t.ok(two.asked.length > 0)
  t.strictSame(new Set(resolved), new Set(['mirror.test']))
})

void t.test('mirrors', async (t) => {
  const [first, second, third] = [
    await started(t, serve(before, '"1"')),
    await started(t, serve(before, '"1"')),
    await started(t, serve(before, '"x"')),
  ]
  const urls = [first, second, third].map((server) => server.url())
  const follower = new Follower(t, urls, quick)
  const used = (): number => follower.registry.mirrors.findIndex(({ isUsed }) => isUsed)
  const usedWas = async (wanted: number): Promise<boolean> => {
    for (const until = performance.now() + 20_000; performance.now() < until;) {
      if (used() === wanted) return true
      await pause(5)
    }
    return false
  }
  t.strictSame(namesOf(await follower.next()), ['g1', 'g2', 'g3'])
  await first.more(3)
  t.strictSame(
    [second, third].map(({ asked }) => asked.length),
    [0, 0],
    'one that works is stayed with',
  )

  first.conduct = say(500)
  t.ok(await usedWas(1), 'the next one is used')
  t.match(follower.registry.mirrors[0]?.reason, { reason: /500/ }, 'and the failure can be seen')
  t.equal(await follower.next(50), undefined, 'which is no news: it has the same bundle')
  await first.more(2)
  t.equal(used(), 1, 'the first one is tried again from time to time')
  t.ok(first.asked.length < second.asked.length, 'and not with each poll')

  second.conduct = serve(after, '"2"')
  t.strictSame(namesOf(await follower.next()), ['g1', 'g2', 'g3', 'g4'])
  first.conduct = serve(before, '"1"')
  const back = await follower.next()
  t.strictSame(
    [namesOf(back), back?.complete],
    [['g1', 'g2', 'g3'], true],
    'what the first has is said whole',
  )
  t.equal(used(), 0)

  for (const server of [first, second, third]) server.conduct = say(503)
  const bad = await follower.until(({ unreadable }) => unreadable.length > 0)
  t.strictSame(
    bad.bag.unreadable.map(({ object }) => object),
    urls,
    'all of them fail: each with its reason',
  )
  third.conduct = serve(after, '"x"')
  t.strictSame(namesOf(await follower.next()), ['g1', 'g2', 'g3', 'g4'])
})

void t.test('a server that asks for time is given it, within limits', async (t) => {
  const server = await started(t, say(503, '', { 'Retry-After': 3600 }))
  const times = { ...quickTimes, leastBackoffMs: 1, mostBackoffMs: 1, mostRetryAfterMs: 400 }
  const follower = new Follower(t, [server.url()], { ...quick, times })
  await follower.next()
  const since = performance.now()
  await server.more(1)
  t.ok(performance.now() - since > 300, 'not an hour, and not at once')
})

void t.test('a server that takes its time does not keep us busy', async (t) => {
  const askedAt: number[] = []
  const server = await started(t, (socket, asked) => {
    askedAt.push(performance.now())
    setTimeout(() => {
      serve(before, '"1"')(socket, asked)
    }, 200)
  })
  new Follower(t, [server.url()], { ...quick, times: { ...quickTimes, pollMs: 1 } })
  await server.more(4)
  t.ok(askedAt[3]! - askedAt[0]! > 1100, 'three times an answer and as long a pause')
})

void t.test('stop, whatever it waits for', async (t) => {
  const conducts: readonly Conduct[] = [
    () => undefined,
    (socket) => socket.write(`${head(200)}linkspan-bundle 1\n`),
    serve(before, '"1"'),
  ]
  for (const conduct of conducts) {
    const server = await started(t, conduct)
    const follower = new Follower(t, [server.url()], {
      ...quick,
      times: { ...quickTimes, pollMs: 1_000_000 },
    })
    if (conduct === conducts[2]) await follower.next()
    const pending = follower.next()
    if (server.asked.length === 0) await server.more(1)
    await follower.close()
    t.equal(await pending, undefined)
  }
  const server = await started(t, () => undefined)
  const stop = new AbortController()
  const fetched = fetchBundle([server.url()], quick, stop.signal)
  await server.more(1)
  stop.abort(new Error('enough'))
  await t.rejects(fetched, { message: 'enough' })
})

void t.test('once, for the command line', async (t) => {
  const good = await started(t, serve(before, '"1"'))
  const bad = await started(t, say(404))
  const { signal } = new AbortController()
  t.strictSame(namesOf(await fetchBundle([bad.url(), good.url()], quick, signal)), ['g1', 'g2', 'g3'])
  const error: unknown = await fetchBundle([bad.url(), bad.url('/other?sig=secret')], quick, signal).catch(
    (thrown: unknown) => thrown,
  )
  t.ok(error instanceof LinkspanError)
  t.match(error, {
    code: 'registry-unreadable',
    object: bad.url(),
    reason: `answers 404 Not Found; ${bad.url('/other?…')}: answers 404 Not Found`,
  })
})
