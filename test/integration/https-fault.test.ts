/**
 * The https registry against a server that misbehaves on purpose. Whatever it does: nothing that was read is lost, nothing
 * half read counts, the reason says what happened, it is said once, and all is well when the server behaves again.
 */
import { gzipSync } from 'node:zlib'
import t from 'tap'
import type { HttpsRegistryOptions } from '../../agent/registry/https.ts'
import { CertificateAuthority } from '../support/certificate-authority.ts'
import { bundleOf, Follower, namesOf, quickTimes, saidBy } from '../support/https-follower.ts'
import { bytes, head, HttpsServer, say, serve, trickle } from '../support/https-server.ts'
import type { Conduct } from '../support/https-server.ts'

t.setTimeout(300_000)

const directory = t.testdir()
const authority = await CertificateAuthority.create(directory)
const stranger = await CertificateAuthority.create(directory, 'stranger')
const hosts = ['localhost']
const leaf = await authority.issue({ name: 'server', hosts })

const before = bundleOf('g1', 'g2', 'g3')
const after = bundleOf('g1', 'g2', 'g3', 'g4')
const quick: HttpsRegistryOptions = { files: { ca: authority.pair.certificateFile }, times: quickTimes }

interface Fault {
  readonly name: string
  readonly conduct?: Conduct
  /** Something else than the answer is wrong; answers how to make it right again. */
  readonly spoil?: (server: HttpsServer) => () => void
  readonly reason: RegExp
  readonly options?: HttpsRegistryOptions
}

const ok = (headers: Record<string, string | number> = {}): string => head(200, headers)
const impatient: HttpsRegistryOptions = { ...quick, idleMs: 700, totalMs: 20_000 }
const hasty: HttpsRegistryOptions = { ...quick, totalMs: 900 }
/** Stored blocks of no bytes (RFC 1951, section 3.2.4). */
const emptyBlocks = Buffer.concat(Array<Buffer>(10_000).fill(Buffer.from('000000ffff', 'hex')))
/** 100 MB of one byte. */
const bomb = gzipSync(Buffer.concat([before, Buffer.alloc(100_000_000, 'a')]))
const expired = await authority.issue({ name: 'expired', hosts, days: -1 })
const elsewhere = await authority.issue({ name: 'elsewhere', hosts: ['other.test'] })
const unknown = await stranger.issue({ name: 'unknown', hosts })

function presenting(pair: typeof leaf): NonNullable<Fault['spoil']> {
  return (server) => {
    server.present(pair)
    return () => {
      server.present(leaf)
    }
  }
}

const faults: readonly Fault[] = [
  {
    name: 'fault 17: drops mid-body',
    conduct: (socket) => {
      socket.write(ok({ 'Content-Length': after.length }))
      socket.write(after.subarray(0, 200))
      setTimeout(() => socket.destroy(), 20)
    },
    reason: /cut the connection before the body was whole/,
  },
  {
    name: 'fault 17: ends short of its Content-Length',
    conduct: bytes(ok({ 'Content-Length': after.length + 1 }), after),
    reason: /cut the connection before the body was whole/,
  },
  {
    name: 'fault 17: has a Content-Length short of the body',
    conduct: bytes(ok({ 'Content-Length': after.length - 1 }), after),
    reason: /the body is cut off: its last line is not "end COUNT"/,
  },
  {
    name: 'fault 17: truncated, no length',
    conduct: bytes(ok(), after.subarray(0, -30)),
    reason: /is cut off/,
  },
  {
    name: 'fault 17: truncated in the middle of a chunk',
    conduct: bytes(
      ok({ 'Transfer-Encoding': 'chunked' }),
      `${after.length.toString(16)}\r\n`,
      after.subarray(0, 99),
    ),
    reason: /cut the connection before the body was whole/,
  },
  {
    name: 'fault 17: lost a line',
    conduct: say(200, after.toString().replace(/^records\/g2.*\n/m, '')),
    reason: /has 3 documents, and its last line says "end 4" \(make it anew/,
  },
  { name: 'fault 15: empty body', conduct: say(200), reason: /the body is empty/ },
  {
    name: 'fault 23: endless body',
    conduct: trickle(`${ok()}linkspan-bundle 1\n`, Buffer.alloc(65_536, 'a'), 1),
    reason: /the body is larger than 1000000 bytes/,
    options: { ...quick, maxBytes: 1_000_000 },
  },
  {
    name: 'fault 23: too large by its own word',
    conduct: bytes(ok({ 'Content-Length': 64 * 1024 * 1024 + 1 })),
    reason: /the body is larger than 67108864 bytes/,
  },
  {
    name: 'fault 23: gzip bomb',
    conduct: say(200, bomb, { 'Content-Encoding': 'gzip' }),
    reason: /the body is larger than 10000000 bytes/,
    options: { ...quick, maxBytes: 10_000_000 },
  },
  {
    name: 'fault 23: endless gzip data that unpack to nothing',
    conduct: (socket, asked) => {
      socket.write(ok({ 'Content-Encoding': 'gzip' }))
      socket.write(gzipSync('').subarray(0, 10))
      trickle('', emptyBlocks, 1)(socket, asked)
    },
    reason: /the body is larger than 1000000 bytes/,
    options: { ...quick, maxBytes: 1_000_000 },
  },
  {
    name: 'fault 17: gzip, cut off',
    conduct: say(200, gzipSync(after).subarray(0, -20), { 'Content-Encoding': 'gzip' }),
    reason: /gzip data of the body are cut off/,
  },
  {
    name: 'gzip in name only',
    conduct: say(200, after, { 'Content-Encoding': 'gzip' }),
    reason: /is no gzip data/,
  },
  {
    name: 'brotli, not asked for',
    conduct: say(200, after, { 'Content-Encoding': 'br' }),
    reason: /a content coding other than gzip/,
  },
  {
    name: 'fault 23: slow headers',
    conduct: trickle('HTTP/1.1 200 OK\r\n', 'X-More: 1\r\n', 50),
    reason: /connected, but no answer within 0\.7 s/,
    options: impatient,
  },
  {
    name: 'fault 23: says to continue, for ever',
    conduct: trickle('', 'HTTP/1.1 100 Continue\r\n\r\n', 50),
    reason: /announces an answer again and again/,
  },
  {
    name: 'fault 23: crumbs',
    conduct: trickle(
      `${ok({ 'Transfer-Encoding': 'chunked' })}12\r\nlinkspan-bundle 1\n\r\n`,
      '1\r\na\r\n'.repeat(5000),
      1,
    ),
    reason: /sends the body in very small pieces/,
  },
  {
    name: 'fault 23: slow body',
    conduct: trickle(`${ok({ 'Content-Length': after.length })}linkspan-bundle 1\n`, 'a', 50),
    reason: /the answer is not whole after 0\.9 s/,
    options: hasty,
  },
  {
    name: 'fault 23: stalled body',
    conduct: (socket) => socket.write(`${ok({ 'Content-Length': after.length })}linkspan-bundle 1\n`),
    reason: /the body stalled: nothing came for 0\.7 s/,
    options: impatient,
  },
  {
    name: 'fault 23: stalled body, no length',
    conduct: (socket) => socket.write(`${ok()}linkspan-bundle 1\n`),
    reason: /the body stalled: nothing came for 0\.7 s/,
    options: impatient,
  },
  {
    name: 'fault 24: 200 with a web page',
    conduct: say(200, '<!DOCTYPE html><title>Sign in</title>', {
      'Content-Type': 'text/html; charset=utf-8',
    }),
    reason: /is no bundle: it begins with "<!DOCTYPE html>.*" \(a login page, a captive portal/,
  },
  {
    name: 'fault 23: an endless web page',
    conduct: trickle(`${ok()}<!DOCTYPE html>`, Buffer.alloc(65_536, 'a'), 1),
    reason: /is no bundle: it begins with "<!DOCTYPE html>/,
  },
  {
    name: 'CR LF',
    conduct: say(200, after.toString().replaceAll('\n', '\r\n')),
    reason: /line ends of CR LF/,
  },
  { name: 'version 2', conduct: say(200, after.toString().replace('1', '2')), reason: /version 2.*upgrade/ },
  { name: '404', conduct: say(404, 'no'), reason: /answers 404 Not Found \(is the bundle there/ },
  { name: '403', conduct: say(403, 'no'), reason: /answers 403 Forbidden \(check the token/ },
  { name: '500', conduct: say(500, 'no'), reason: /answers 500 Internal Server Error/ },
  { name: '503, Retry-After', conduct: say(503, '', { 'Retry-After': 3600 }), reason: /answers 503/ },
  { name: '206', conduct: say(206, after), reason: /answers 206 Partial Content/ },
  { name: '204', conduct: bytes(head(204)), reason: /answers 204 No Content/ },
  {
    name: 'an upgrade',
    conduct: bytes(head(101, { Connection: 'Upgrade', Upgrade: 'websocket' })),
    reason: /cut the connection without an answer/,
  },
  {
    name: 'fault 23: redirect loop',
    conduct: say(302, '', { Location: '/bundle' }),
    reason: /redirects more than 3 times/,
  },
  {
    name: 'redirect to http',
    conduct: say(301, '', { Location: 'http://localhost/bundle' }),
    reason: /redirects to "http:", expected https:/,
  },
  {
    name: 'redirect to a file',
    conduct: say(301, '', { Location: 'file:///etc/passwd' }),
    reason: /redirects to "file:", expected https:/,
  },
  {
    name: 'redirect with a password',
    conduct: say(301, '', { Location: 'https://user:secret@localhost/' }),
    reason: /redirects to a URL that has a user or password/,
  },
  { name: 'redirect to nowhere', conduct: say(302), reason: /answers 302 and does not say where to go/ },
  {
    name: 'fault 23: a huge header',
    conduct: say(200, after, { Huge: 'a'.repeat(100_000) }),
    reason: /headers that are too large/,
  },
  {
    name: 'fault 23: a hundred thousand headers',
    conduct: trickle('HTTP/1.1 200 OK\r\n', 'X-More: 1\r\n'.repeat(1000), 1),
    reason: /headers that are too large/,
  },
  { name: 'fault 24: no HTTP', conduct: bytes('SSH-2.0-OpenSSH_9.2\r\n'), reason: /no HTTP/ },
  {
    name: 'two lengths',
    conduct: bytes('HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n', '0\r\n\r\n'),
    reason: /no HTTP/,
  },
  {
    name: 'ends without an answer',
    conduct: (socket) => socket.destroy(),
    reason: /cut the connection without an answer/,
  },
  {
    name: 'fault 24: expired certificate',
    spoil: presenting(expired),
    reason: /certificate of the server has expired.*clock/,
  },
  {
    name: 'fault 24: certificate for another host',
    spoil: presenting(elsewhere),
    reason: /certificate of the server is for another host: "DNS:other\.test"/,
  },
  {
    name: 'fault 24: certificate of an unknown authority',
    spoil: presenting(unknown),
    reason: /by an unknown authority/,
  },
  {
    name: 'fault 24: TLS 1.1',
    spoil: (server) => {
      server.present(leaf, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' })
      return () => {
        server.present(leaf)
      }
    },
    reason: /offers no TLS 1\.2 or newer/,
  },
]

for (const { name, conduct, spoil, reason, options = quick } of faults) {
  await t.test(name, async (t) => {
    const server = await HttpsServer.start(leaf)
    t.teardown(() => server.close())
    server.conduct = serve(before, '"1"')
    const follower = new Follower(t, [server.url()], options)
    const first = await follower.until(({ complete }) => complete)
    t.strictSame(namesOf(first.bag), ['g1', 'g2', 'g3'])
    t.strictSame(first.bag.unreadable, [])

    const good = server.conduct
    if (conduct !== undefined) server.conduct = conduct
    const restore = spoil?.(server)
    const bad = await follower.until((bag) => reason.test(saidBy(bag)))
    t.strictSame(bad.skipped.map(saidBy), [], 'nothing else was said')
    t.strictSame(
      [bad.bag.documents, bad.bag.complete, bad.bag.gone],
      [[], false, undefined],
      'nothing is lost',
    )
    t.strictSame(
      bad.bag.unreadable.map(({ code, object }) => [code, object]),
      [['registry-unreadable', server.url()]],
    )
    if (restore === undefined) {
      await Promise.all([server.more(2), follower.next(50)]).then(([, again]) => {
        t.equal(again, undefined, 'it is said once')
      })
    }
    t.match(follower.registry.mirrors, [{ isUsed: true, reason: bad.bag.unreadable[0] }])

    // The same bundle again: nothing is new but that it can be read.
    server.conduct = good
    restore?.()
    const cleared = await follower.until(({ unreadable }) => unreadable.length === 0)
    t.strictSame([cleared.bag.documents, cleared.bag.complete], [[], false])
    server.conduct = serve(after, '"2"')
    const last = await follower.until(({ complete }) => complete)
    t.strictSame(namesOf(last.bag), ['g1', 'g2', 'g3', 'g4'])
    t.strictSame(last.bag.unreadable, [])
    t.equal(follower.registry.mirrors[0]?.reason, undefined)
  })
}
