/** Keys as files: named by their public half, readable by their owner alone. */
import { chmodSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { isEncrypted, keyFiles, makeKey, readKey, writeKey } from '../../../agent/cli/authority-key.ts'
import { identityOf } from '../../support/documents.ts'
import { kidOf } from '../../../agent/trust/envelope.ts'

const none = { none: false }

void t.test('made, found and read', async (t) => {
  const directory = t.testdir({ 'state.json': '', 'key-x.pem': '', 'key-.pem.tmp': '' })
  t.same(await keyFiles(join(directory, 'none')), [])
  t.same(await keyFiles(directory), [], 'other files are no keys')
  const made = makeKey(directory)
  await writeKey(made.path, made.key, undefined)
  const other = makeKey(directory)
  t.not(other.kid, made.kid)
  const [found, ...more] = await keyFiles(directory)
  t.same(more, [])
  t.same(found, { kid: made.kid, path: join(directory, `key-${made.kid}.pem`) })
  t.equal(statSync(made.path).mode & 0o777, 0o600)
  t.equal(kidOf(await readKey(found!, none)), made.kid)
  t.equal(await isEncrypted(found!), false)
})

void t.test('encrypted', async (t) => {
  const directory = t.testdir({ pass: 'words\n', wrong: 'other\n' })
  const made = makeKey(directory)
  await writeKey(made.path, made.key, Buffer.from('words'))
  t.equal(await isEncrypted(made), true)
  t.equal(kidOf(await readKey(made, { file: join(directory, 'pass'), none: false })), made.kid)
  await t.rejects(readKey(made, { file: join(directory, 'wrong'), none: false }), {
    code: 'permission',
    object: made.path,
    reason: /wrong passphrase/,
  })
})

void t.test('what is not what it says', async (t) => {
  const directory = t.testdir()
  const made = makeKey(directory)
  await writeKey(made.path, made.key, undefined)
  const pem = readFileSync(made.path, 'utf8')
  chmodSync(made.path, 0o640)
  await t.rejects(readKey(made, none), { code: 'permission', reason: /mode 0640.*others/, next: /chmod 600/ })
  chmodSync(made.path, 0o600)
  const moved = { kid: identityOf('other'), path: join(directory, `key-${identityOf('other')}.pem`) }
  renameSync(made.path, moved.path)
  await t.rejects(readKey(moved, none), { code: 'state-unreadable', reason: /another key than the one/ })
  await t.rejects(readKey(made, none), { code: 'state-unreadable', reason: /no such file/ })
  for (const content of ['', 'x'.repeat(5000), pem.replace(/[a-z]/g, 'b')]) {
    writeFileSync(moved.path, content, { mode: 0o600 })
    await t.rejects(readKey(moved, none), { code: 'state-unreadable', reason: /is no/ })
  }
})
