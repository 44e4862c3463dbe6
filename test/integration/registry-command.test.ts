/**
 * `linkspan registry` on the registries that are reached over a network: a real web server with a bundle, and a real etcd. The
 * same documents, whichever they lie in, are judged alike and make the same bundle.
 */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import type { Document } from '../../agent/model/document.ts'
import { encodeBundle } from '../../agent/registry/bundle.ts'
import { authorityRole } from '../../agent/registry/etcd-role.ts'
import { linkspan } from '../support/authority.ts'
import type { Said } from '../support/authority.ts'
import { CertificateAuthority } from '../support/certificate-authority.ts'
import {
  authority,
  certificateDocument,
  fabricDocument,
  keyOf,
  recordDocument,
  requestDocument,
  sealed,
} from '../support/documents.ts'
import { etcdFor, hasEtcd } from '../support/etcd.ts'
import type { Etcd } from '../support/etcd.ts'
import { HttpsServer, say, serve } from '../support/https-server.ts'
import { Watching } from '../support/watching.ts'

t.setTimeout(600_000) // a process for each command, and slow machines

const freshUntil = 4_000_000_000_000
const documents: Readonly<Record<string, Document>> = {
  fabric: fabricDocument({ freshUntil }),
  'certificates/g1': certificateDocument(1),
  'records/g1': recordDocument(1, { serial: 5 }),
  'requests/g2': requestDocument(2),
}
const names = Object.keys(documents).sort()
const bundleWith = (more: Readonly<Record<string, Uint8Array>> = {}): Buffer =>
  encodeBundle(
    Object.entries({
      ...Object.fromEntries(Object.entries(documents).map(([name, one]) => [name, sealed(one)])),
      ...more,
    }).map(([name, bytes]) => ({ name: `${name}.jws`, bytes })),
  )

/** The commands, on the registry that a YAML file names, below the test's directory. */
function commands(t: Test, registry: string) {
  const directory = mkdtempSync(join(t.testdirName, 'on-'))
  writeFileSync(join(directory, 'registry.yml'), `registry: ${registry}\n`)
  const at = ['--registry', join(directory, 'registry.yml'), '--fabric', 'prod']
  const judged = [...at, '--authority', authority]
  return {
    directory,
    at: judged,
    file: (document: Document, name: string, key?: ReturnType<typeof keyOf>): string => {
      const path = join(directory, name)
      writeFileSync(path, key === undefined ? sealed(document) : sealed(document, key))
      return path
    },
    judge: (...line: readonly string[]): Promise<Said> => linkspan(['registry', ...line, ...judged]),
    handle: (...line: readonly string[]): Promise<Said> => linkspan(['registry', ...line, ...at]),
  }
}

async function placesOf(said: Promise<Said>): Promise<Record<string, string>> {
  const { stdout, stderr, code } = await said
  if (!stdout.startsWith('{')) throw new Error(`exit ${code}: ${stdout}${stderr}`)
  const { documents: told } = JSON.parse(stdout) as { documents: { place: string; standing: string }[] }
  return Object.fromEntries(told.map(({ place, standing }) => [place, standing]))
}

const whole = {
  'certificates/g1': 'in force',
  fabric: 'in force',
  'records/g1': 'in force',
  'requests/g2': 'asks',
}

void t.test('a bundle on a web server', async (t) => {
  const tls = await CertificateAuthority.create(t.testdir())
  const server = await HttpsServer.start(await tls.issue({ name: 'server', hosts: ['localhost'] }))
  t.teardown(() => server.close())
  server.conduct = serve(bundleWith(), '"1"')
  const on = commands(t, `{ url: "${server.url()}", ca: ${tls.pair.certificateFile} }`)

  t.strictSame(await placesOf(on.judge('verify', '--json')), whole)
  t.match(await on.judge('list'), { code: 0, stdout: /\ng1 +1 +s1 +0 +1 +in force\n/ })
  const out = join(on.directory, 'bundle')
  t.match(await on.handle('bundle', out), { code: 0, stdout: /4 documents/ })
  t.same(readFileSync(out), bundleWith(), 'a mirror by hand')

  for (const said of [
    await on.judge('put', on.file(recordDocument(1, { serial: 9 }), 'r')),
    await on.handle('remove', 'records/g1'),
  ])
    t.match(said, { code: 2, stdout: '', stderr: /https: registry is read-only.*linkspan registry bundle/ })

  const watching = new Watching(t, on.at)
  await watching.line(/watching https:.*4 documents: 3 in force, 1 asks$/)
  server.conduct = serve(
    bundleWith({
      'records/g1': sealed(recordDocument(1, { serial: 6 })),
      'certificates/g3': sealed(certificateDocument(3), keyOf('thief')),
    }),
    '"2"',
  )
  await watching.line(/record g1, serial 6: in force$/)
  await watching.line(/certificate g3, serial 1: refused; authority: /)
  server.conduct = serve(bundleWith({ 'records/g1': sealed(recordDocument(1, { serial: 6 })) }), '"3"')
  await watching.line(/certificate g3, serial 1: gone/)
  t.equal(await watching.interrupt(), 0)

  server.conduct = serve(bundleWith({ 'records/g1': sealed(recordDocument(1), keyOf('thief')) }), '"4"')
  t.match(await on.judge('verify'), { code: 1, stdout: /records\/g1 .* refused\n +signer: / })
  server.conduct = say(200, bundleWith().subarray(0, -3))
  t.match(await on.judge('verify'), { code: 1, stdout: '', stderr: /is cut off/ })
  server.conduct = say(403)
  t.match(await on.handle('bundle', out), { code: /[15]/, stdout: '', stderr: /403/ })
  t.same(readFileSync(out), bundleWith(), 'what was made before stays')
})

void t.test('etcd', { skip: hasEtcd ? false : 'no etcd' }, async (t) => {
  await t.test('put, judged, bundled, watched, removed', async (t) => {
    t.testdir()
    const etcd = await etcdFor(t)
    const on = commands(t, `{ url: "${urlOf(etcd)}", prefix: /linkspan/prod }`)
    const none = await on.judge('verify')
    t.match(none, { code: 1, stdout: /0 documents: 0 in force; no fabric document in force\n$/ })

    const watching = new Watching(t, on.at)
    await watching.line(/watching .*0 documents/)
    const files = names.map((name, i) => on.file(documents[name] as Document, `f${i}`))
    const put = await on.judge('put', ...files)
    t.match(put, { code: 0, stderr: '', stdout: /^put fabric, serial 1\nput certificates\/g1, serial 1\n/ })
    await watching.line(/record g1, serial 5: in force$/)
    t.match(await on.judge('put', ...files), { code: 0, stdout: /^was there already: fabric/ })
    t.equal(etcd.ctl('get', '--print-value-only', '/linkspan/prod/fabric').trim(), sealedText('fabric'))
    t.strictSame(await placesOf(on.judge('verify', '--json')), whole)

    const older = on.file(recordDocument(1, { serial: 4 }), 'older')
    t.match(await on.judge('put', older), { code: 2, stderr: /rollback: .*serial 4, in force is 5/ })
    const lab = on.file(certificateDocument(2, { fabric: 'lab' }), 'lab')
    t.match(await on.judge('put', lab), { code: 2, stderr: /belongs to the fabric lab, this is prod/ })

    const out = join(on.directory, 'bundle')
    t.match(await on.handle('bundle', out), { code: 0, stdout: /4 documents/ })
    t.same(readFileSync(out), bundleWith(), 'as from any other registry')
    etcd.put('/linkspan/prod/odd key', 'x')
    t.match(await on.handle('bundle', out), {
      code: 3,
      stderr: /left out: .*odd%20key: its place has a name/,
    })
    t.same(readFileSync(out), bundleWith())
    t.match(await on.handle('remove', 'odd%20key'), { code: 0, stdout: 'removed odd%20key\n' })

    t.match(await on.handle('remove', 'g1'), { code: 2, stderr: /certificates\/g1 or records\/g1/ })
    const removed = await on.handle('remove', '/linkspan/prod/records/g1', 'requests/g2')
    t.match(removed, { code: 0, stderr: /turns nobody out[^]*linkspan ca remove g1/ })
    await watching.line(/record g1, serial 5: gone; gateways that know it keep it$/)
    t.equal(etcd.ctl('get', '--prefix', '--keys-only', '/linkspan/prod/records').trim(), '')
    t.equal(await watching.interrupt(), 0)
    await etcd.kill()
    t.match(await on.judge('verify'), {
      code: 1,
      stdout: '',
      stderr: /127\.0\.0\.1:\d+: refuses the connection/,
    })
  })

  await t.test('longer than etcd takes', async (t) => {
    const removed = (count: number): string[] =>
      Array.from({ length: count }, (_, i) => `g-${'x'.repeat(40)}-${i}`)
    const [long, longer] = [27_000, 60_000].map((count) =>
      fabricDocument({ freshUntil, serial: 9, removed: removed(count) }),
    ) as [Document, Document]
    t.testdir()
    const plain = await etcdFor(t)
    const on = commands(t, `{ url: "${urlOf(plain)}", prefix: /linkspan/prod }`)
    // By etcd itself, and by the gRPC library that it is made with.
    for (const document of [long, longer]) {
      const bytes = sealed(document).length
      t.match(
        await on.judge('put', on.file(document, `${bytes}`)),
        { code: 1, stderr: /prod\/fabric: is longer than this etcd takes.* 1\.5 MiB .*--max-request-bytes/ },
        `${bytes} bytes`,
      )
    }
    const wide = await etcdFor(t, { args: ['--max-request-bytes=25165824'] })
    const other = commands(t, `{ url: "${urlOf(wide)}", prefix: /linkspan/prod }`)
    t.match(await other.judge('put', other.file(longer, 'fabric')), { code: 0 })
    t.match(await other.judge('verify'), { code: 0, stdout: /1 document: 1 in force/ })
  })

  await t.test('of those who put at the same time the newest stays', async (t) => {
    t.testdir()
    const etcd = await etcdFor(t)
    const on = commands(t, `{ url: "${urlOf(etcd)}", prefix: /linkspan/prod }`)
    const files = names.map((name, i) => on.file(documents[name] as Document, `f${i}`))
    t.match(await on.judge('put', ...files), { code: 0 })
    const serials = [9, 8, 7, 6]
    const racing = serials.map((serial) =>
      on.judge('put', on.file(recordDocument(1, { serial }), `r${serial}`)),
    )
    const [newest, ...others] = await Promise.all(racing)
    t.match(newest, { code: 0, stdout: /put records\/g1, serial 9/ })
    for (const { code, stderr } of others)
      if (code !== 0) t.match(stderr, /gateways would refuse this|somebody else put another/)
    t.equal(etcd.ctl('get', '--print-value-only', '/linkspan/prod/records/g1').trim(), text(9))
  })

  await t.test('under its own role, over TLS', async (t) => {
    const directory = t.testdir({
      'password-ca': 'ca-password\n',
      'password-g1': 'g1-password\n',
      wrong: 'wrong\n',
    })
    const tls = await CertificateAuthority.create(directory)
    const { certificateFile: cert, keyFile: key } = await tls.issue({ name: 'etcd', hosts: ['127.0.0.1'] })
    const ca = tls.pair.certificateFile
    const etcd = await etcdFor(t, { tls: { cert, key }, client: { ca } })
    etcd.enableAuth('/linkspan/prod', { ca: 'ca-password', g1: 'g1-password' })
    etcd.ctl('user', 'grant-role', 'ca', authorityRole('/linkspan/prod'))
    const as = (user: string, password: string): ReturnType<typeof commands> =>
      commands(
        t,
        `{ url: "${urlOf(etcd)}", prefix: /linkspan/prod, ca: ${ca}, user: ${user}, password: ${join(directory, password)} }`,
      )
    const authorityOf = as('ca', 'password-ca')
    const files = names.map((name, i) => authorityOf.file(documents[name] as Document, `f${i}`))
    t.match(await authorityOf.judge('put', ...files), { code: 0 })

    const gateway = as('g1', 'password-g1')
    const mine = gateway.file(recordDocument(1, { serial: 6 }), 'mine')
    t.match(await gateway.judge('put', mine), { code: 0, stdout: /put records\/g1, serial 6/ })
    const denied = { code: 5, stdout: '', stderr: /prod\/.*: user "g1" has no permission .*role/ }
    t.match(await gateway.judge('put', gateway.file(certificateDocument(2), 'c2')), denied)
    t.match(await gateway.handle('remove', 'fabric'), denied)
    t.strictSame(await placesOf(gateway.judge('verify', '--json')), whole)

    const wrong = await as('g1', 'wrong').judge('verify')
    t.match(wrong, { code: 5, stderr: /refuses user "g1" with this password/ })
    const gone = await as('g1', 'none').judge('verify')
    t.match(gone, { code: 1, stderr: /none: the password cannot be read: ENOENT/ })
    for (const { stdout, stderr } of [wrong, gone]) t.notMatch(stdout + stderr, /g1-password|\bwrong\n/)
  })
})

function text(serial: number): string {
  return sealed(recordDocument(1, { serial })).toString().trim()
}

function sealedText(name: string): string {
  return sealed(documents[name] as Document)
    .toString()
    .trim()
}

function urlOf(etcd: Etcd): string {
  return etcd.url.replace(/^http:/, 'etcd+http:').replace(/^https:/, 'etcd:')
}
