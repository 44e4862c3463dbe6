/** What the https registry proves itself with, and whom it believes: files that change, other hosts, the environment. */
import { copyFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { fetchBundle } from '../../agent/registry/https.ts'
import type { HttpsRegistryOptions } from '../../agent/registry/https.ts'
import { CertificateAuthority } from '../support/certificate-authority.ts'
import { bundleOf, Follower, namesOf, quickTimes, saidBy } from '../support/https-follower.ts'
import { HttpsServer, say, serve } from '../support/https-server.ts'
import type { Conduct } from '../support/https-server.ts'

t.setTimeout(300_000)

const directory = t.testdir()
const authority = await CertificateAuthority.create(directory)
const stranger = await CertificateAuthority.create(directory, 'stranger')
const leaf = await authority.issue({ name: 'server', hosts: ['localhost'] })
const ca = authority.pair.certificateFile

const before = bundleOf('g1', 'g2', 'g3')
const quick: HttpsRegistryOptions = { files: { ca }, times: quickTimes }

async function started(t: Test, conduct: Conduct, options = {}): Promise<HttpsServer> {
  const server = await HttpsServer.start(leaf, options)
  t.teardown(() => server.close())
  server.conduct = conduct
  return server
}

void t.test('a token goes to the configured server, and to nobody else', async (t) => {
  const token = path.join(directory, 'token')
  await writeFile(token, 'first-secret\n', { mode: 0o600 })
  const other = await started(t, serve(before, '"1"'))
  const server = await started(t, (socket, asked) => {
    if (asked.path === '/elsewhere') say(307, '', { Location: other.url('/moved') })(socket, asked)
    else if (asked.path === '/bundle') say(302, '', { Location: '/here' })(socket, asked)
    else if (asked.headers.get('authorization') !== 'Bearer first-secret') say(401)(socket, asked)
    else serve(before, '"1"')(socket, asked)
  })
  const options = { ...quick, files: { ca, token } }
  const follower = new Follower(t, [server.url()], options)
  t.strictSame(namesOf(await follower.next()), ['g1', 'g2', 'g3'], 'within one server it goes along')

  const said: unknown[] = []
  await writeFile(token, 'second-secret\n')
  said.push(await follower.next())
  t.match(
    saidBy(said.at(-1) as never),
    /redirects to https:\/\/localhost:[0-9]+\/here: answers 401 Unauthorized/,
  )
  t.equal(
    server.asked.at(-1)?.headers.get('authorization'),
    'Bearer second-secret',
    'a new one counts at once',
  )
  await writeFile(token, 'two secrets\n')
  said.push(await follower.next())
  t.match(saidBy(said.at(-1) as never), /token: holds no bearer token/)
  await rm(token)
  said.push(await follower.next())
  t.match(saidBy(said.at(-1) as never), /token: cannot be read: ENOENT/)
  await writeFile(token, 'first-secret\n')
  t.strictSame((await follower.next())?.unreadable, [])
  t.notMatch(JSON.stringify([said, follower.registry.mirrors]), /secret/)

  const away = new Follower(t, [server.url('/elsewhere')], options)
  t.strictSame(namesOf(await away.next()), ['g1', 'g2', 'g3'])
  t.equal(other.asked[0]?.headers.get('authorization'), undefined)
})

void t.test('client certificates', async (t) => {
  const both = { ca: authority.pair.certificate, requestCert: true }
  const [first, second] = [
    await authority.issue({ name: 'first' }),
    await authority.issue({ name: 'second' }),
  ]
  const forged = await stranger.issue({ name: 'forged' })
  const server = await started(t, serve(before, '"1"'), { ...both, rejectUnauthorized: true })
  const other = await started(t, serve(before, '"1"'), { ...both, rejectUnauthorized: false })

  const without = new Follower(t, [server.url()], quick)
  t.match(saidBy((await without.next())!), /client certificate/)
  await without.close()
  const unwelcome = new Follower(t, [server.url()], {
    ...quick,
    files: { ca, certificate: forged.certificateFile, key: forged.keyFile },
  })
  t.match(saidBy((await unwelcome.next())!), /client certificate, or another one/)
  await unwelcome.close()

  const files = { ca, certificate: path.join(directory, 'own.pem'), key: path.join(directory, 'own.key') }
  const install = async (pair: typeof first): Promise<void> => {
    await copyFile(pair.keyFile, files.key)
    await copyFile(pair.certificateFile, files.certificate)
  }
  await install(first)
  const follower = new Follower(t, [server.url()], { ...quick, files })
  await follower.next()
  t.equal(server.asked.at(-1)?.client, 'first')
  await install(second)
  // Between the two copies they do not go together, which may be noticed or not.
  for (const until = performance.now() + 20_000; performance.now() < until;) {
    await server.more(1)
    if (server.asked.at(-1)?.client === 'second') break
  }
  t.equal(server.asked.at(-1)?.client, 'second', 'the renewed one is used')
  await follower.close()

  await copyFile(first.keyFile, files.key)
  const torn = new Follower(t, [server.url()], { ...quick, files })
  const bag = (await torn.next())!
  t.match(saidBy(bag), /own\.pem: cannot be used with its key: ERR_\w+ \(do the two belong together/)
  await torn.close()

  await install(first)
  server.conduct = say(302, '', { Location: other.url() })
  const away = new Follower(t, [server.url()], { ...quick, files })
  t.strictSame(namesOf(await away.next()), ['g1', 'g2', 'g3'])
  t.equal(other.asked[0]?.client, undefined, 'not shown to others')
})

void t.test('files that hold no certificate', async (t) => {
  const empty = path.join(directory, 'empty.pem')
  const server = await started(t, serve(before, '"1"'))
  const cases: readonly [string, RegExp][] = [
    ['nothing of the kind', /holds no certificate/],
    [
      '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
      /certificate 1 of 1 in it cannot be read/,
    ],
  ]
  for (const [text, reason] of cases) {
    await writeFile(empty, text)
    await t.rejects(fetchBundle([server.url()], { files: { ca: empty } }, new AbortController().signal), {
      message: reason,
    })
  }
  t.equal(server.asked.length, 0)
  await t.rejects(fetchBundle([server.url()], { files: { ca: directory } }, new AbortController().signal), {
    message: /is not a regular file/,
  })
})

void t.test('the environment has no say', async (t) => {
  const server = await started(t, serve(before, '"1"'))
  const liar = await HttpsServer.start(await stranger.issue({ name: 'liar', hosts: ['localhost'] }))
  t.teardown(() => liar.close())
  const proxy = createServer((socket) => {
    proxied++
    socket.destroy()
  })
  let proxied = 0
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  t.teardown(() => proxy.close())
  const at = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`
  const environment = {
    ...{ HTTPS_PROXY: at, https_proxy: at, ALL_PROXY: at, NODE_USE_ENV_PROXY: '1' },
    NODE_TLS_REJECT_UNAUTHORIZED: '0',
  }
  const kept = { ...process.env }
  Object.assign(process.env, environment)
  t.teardown(() => {
    process.env = kept
  })
  const { signal } = new AbortController()
  t.strictSame(namesOf(await fetchBundle([server.url()], quick, signal)), ['g1', 'g2', 'g3'])
  await t.rejects(fetchBundle([liar.url()], quick, signal), { message: /by an unknown authority/ })
  t.equal(proxied, 0)
})
