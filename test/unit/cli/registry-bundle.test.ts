/** `linkspan registry bundle` from a directory. */
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { decodeBundle, encodeBundle, isNoBundle } from '../../../agent/registry/bundle.ts'
import { linkspan } from '../../support/authority.ts'
import { certificateDocument, fabricDocument, recordDocument, sealed } from '../../support/documents.ts'

t.setTimeout(300_000) // a process for each command, and slow machines

void t.test('all there is, in one file', async (t) => {
  const directory = t.testdir({ registry: { certificates: {}, records: {} } })
  const registry = join(directory, 'registry')
  const documents = [
    { name: 'fabric.jws', bytes: sealed(fabricDocument()) },
    { name: 'certificates/g1.jws', bytes: sealed(certificateDocument(1)) },
    { name: 'records/g1.jws', bytes: sealed(recordDocument(1)) },
    { name: 'records/odd.jws', bytes: Buffer.from('nonsense\n') },
  ]
  for (const { name, bytes } of documents) writeFileSync(join(registry, name), bytes)
  const out = join(directory, 'bundle')
  const make = (...more: string[]): ReturnType<typeof linkspan> =>
    linkspan(['registry', 'bundle', out, '--registry', registry, ...more])

  t.match(await make(), { code: 0, stderr: '', stdout: /^wrote .*bundle: 4 documents, \d+ bytes\n$/ })
  t.same(readFileSync(out), encodeBundle(documents))
  const { mtimeMs, ino } = statSync(out)
  t.match(await make(), { code: 0, stdout: /bundle is up to date: 4 documents/ })
  t.match(statSync(out), { mtimeMs, ino }, 'not written anew')
  rmSync(join(registry, 'records/odd.jws'))
  writeFileSync(join(registry, 'records/two words.jws'), 'x')
  mkdirSync(join(registry, 'records/folder.jws'))
  const partly = await make('--json')
  t.equal(partly.code, 3, 'what is left out is told')
  t.match(partly.stderr, /left out: .*folder\.jws: is not a regular file/)
  t.match(partly.stderr, /left out: .*two words\.jws: its place has a name that no bundle can hold/)
  t.match(JSON.parse(partly.stdout), { schema: 1, path: out, documents: 3, written: true, left: [{}, {}] })
  const bundle = decodeBundle(readFileSync(out))
  t.notOk(isNoBundle(bundle) || bundle.entries.length !== 3)
  t.strictSame(readdirSync(directory).sort(), ['bundle', 'registry'], 'nothing else is left')
})

void t.test('not over something else, and not too large', async (t) => {
  const directory = t.testdir({ registry: { records: {} }, 'config.yml': 'fabric: prod\n' })
  const registry = join(directory, 'registry')
  const make = (out: string): ReturnType<typeof linkspan> =>
    linkspan(['registry', 'bundle', join(directory, out), '--registry', registry])
  for (const out of ['config.yml', 'registry'])
    t.match(await make(out), { code: 2, stderr: /is there already, and is no bundle/ }, out)
  t.equal(readFileSync(join(directory, 'config.yml'), 'utf8'), 'fabric: prod\n')
  t.match(await make('none/bundle'), { code: 2, stderr: /cannot be written/ })
  const large = Buffer.alloc(87_000, 'x')
  for (let i = 0; i < 600; i++) writeFileSync(join(registry, `records/g${i}.jws`), large)
  t.match(await make('bundle'), {
    code: 2,
    stderr: /the bundle: is \d+ bytes long, at most 67108864 are possible/,
  })
  t.notOk(readdirSync(directory).includes('bundle'))
})
