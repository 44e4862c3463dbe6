import { execFileSync } from 'node:child_process'
import { createPublicKey, verify } from 'node:crypto'
import { chmod, mkdir, readdir, readFile, rename, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { KeyStore } from '../../../agent/daemon/key-store.ts'
import type { LinkspanError } from '../../../agent/errors.ts'
import { parseDocument } from '../../../agent/trust/parse.ts'
import { recordDocument } from '../../support/documents.ts'

void t.test('makes keys once, and only for its owner', async (t) => {
  const directory = t.testdir()
  const first = await KeyStore.open(directory)
  t.equal(first.generation, 0)
  t.match(first.identity, /^[\w-]{43}$/)
  t.equal((await stat(join(directory, 'keys'))).mode & 0o777, 0o700)
  t.same((await readdir(join(directory, 'keys'))).sort(), ['generation-0', 'identity.pem'])
  for (const name of ['generation-0', 'identity.pem']) {
    t.equal((await stat(join(directory, 'keys', name))).mode & 0o777, 0o600)
  }
  const second = await KeyStore.open(directory)
  t.equal(second.identity, first.identity)
  t.same(second.tunnelKeys(4), first.tunnelKeys(4))
  const other = await KeyStore.open(t.testdir({ other: {} }))
  t.not(other.identity, first.identity)
})

void t.test('the identity is an Ed25519 key', async (t) => {
  const directory = t.testdir()
  const { identity } = await KeyStore.open(directory)
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: identity }, format: 'jwk' })
  t.equal(key.asymmetricKeyType, 'ed25519')
  t.equal(verify(null, Buffer.from('x'), key, Buffer.alloc(64)), false)
})

void t.test('documents are signed by the identity, and what signs them stays inside', async (t) => {
  const keys = await KeyStore.open(t.testdir())
  const document = recordDocument(1)
  const text = keys.seal(document)
  const parsed = parseDocument({ origin: 'records/g1.jws', bytes: Buffer.from(text) })
  t.match(parsed, { document, kid: keys.identity })
  t.equal(keys.seal(document), text, 'the same every time')
  t.strictSame(Object.keys(keys).sort(), ['identity'], 'nothing else of it is to be seen')
})

void t.test('a key of its own for every device, as wg sees it', async (t) => {
  const keys = await KeyStore.open(t.testdir())
  const tunnelKeys = keys.tunnelKeys(2)
  t.same(
    Object.keys(tunnelKeys).map(Number),
    Array.from({ length: 16 }, (_, i) => i),
    'all 8 slots of both underlays',
  )
  t.equal(Object.keys(keys.tunnelKeys(9)).length, 32, 'four underlays at most')
  t.equal(new Set(Object.values(keys.tunnelKeys(4))).size, 32)
  for (const index of [0, 1, 15]) {
    const privateKey = keys.privateKey(index)
    const publicKey = execFileSync('wg', ['pubkey'], { input: `${privateKey}\n`, encoding: 'utf8' }).trim()
    t.equal(tunnelKeys[index], publicKey)
    const scalar = Buffer.from(privateKey, 'base64')
    t.equal((scalar[0] ?? 0) & 7, 0, 'clamped')
    t.equal((scalar[31] ?? 0) & 0xc0, 0x40)
  }
  t.throws(() => keys.privateKey(32), /device 32: no key generation/, 'devices of the next generation')
  t.throws(() => keys.privateKey(64), RangeError)
})

const allDevices = Array.from({ length: 8 }, (_, i) => i)

void t.test('a rotation, from step to step, and each found again at the next start', async (t) => {
  const directory = t.testdir()
  const files = async (): Promise<readonly string[]> =>
    (await readdir(join(directory, 'keys'))).filter((name) => name !== 'identity.pem').sort()
  const keys = await KeyStore.open(directory)
  const before = keys.publicKey(0)
  await keys.begin(Date.now())
  t.strictSame(await files(), ['generation-0', 'generation-1'])
  t.equal((await stat(join(directory, 'keys/generation-1'))).mode & 0o777, 0o600)
  await t.rejects(keys.begin(Date.now()), { code: 'conflict' }, 'one at a time')
  for (const each of [keys, await KeyStore.open(directory)]) {
    t.equal(each.generation, 1)
    t.match(each.older, { number: 0, isOffered: true })
    t.same(
      Object.keys(each.tunnelKeys(1)).map(Number),
      [...allDevices, ...allDevices.map((i) => 32 + i)],
      'both are offered',
    )
    t.equal(each.publicKey(0), before, 'the old one is still there')
    t.equal(each.publicKey(32), keys.publicKey(32))
  }
  await keys.forget()
  t.strictSame(await files(), ['generation-0', 'generation-1'], 'what is offered is not forgotten')
  await keys.retire()
  t.strictSame(await files(), ['generation-1', 'retiring-0'])
  await t.rejects(keys.begin(Date.now()), { code: 'conflict' }, 'nor now')
  for (const each of [keys, await KeyStore.open(directory)]) {
    t.match(each.older, { number: 0, isOffered: false })
    t.same(
      Object.keys(each.tunnelKeys(1)).map(Number),
      allDevices.map((i) => 32 + i),
    )
    t.type(each.privateKey(0), 'string', 'its devices can still be made')
  }
  await keys.forget()
  t.strictSame(await files(), ['generation-1'])
  for (const each of [keys, await KeyStore.open(directory)]) {
    t.equal(each.older, undefined)
    t.throws(() => each.privateKey(0), RangeError)
  }
  await keys.retire()
  t.strictSame(await files(), ['generation-1'], 'there is nothing left to retire')
})

void t.test('no key is ever that of another generation', async (t) => {
  const keys = await KeyStore.open(t.testdir())
  const seen = new Set(Object.values(keys.tunnelKeys(4)))
  for (let generation = 1; generation < 6; generation++) {
    await keys.begin(Date.now())
    for (const key of Object.values(keys.tunnelKeys(4))) seen.add(key)
    t.equal(seen.size, 32 * (generation + 1), `generation ${generation}`)
    await keys.retire()
    await keys.forget()
  }
})

void t.test('a write that a death cut off leaves no secret behind', async (t) => {
  const directory = t.testdir()
  await KeyStore.open(directory)
  const half = join(directory, 'keys/.generation-1.0123456789ab.tmp')
  await writeFile(half, Buffer.alloc(20, 7), { mode: 0o600 })
  const { generation, older } = await KeyStore.open(directory)
  t.strictSame([generation, older], [0, undefined])
  t.notOk((await readdir(join(directory, 'keys'))).some((name) => name.endsWith('.tmp')))
})

void t.test('a step that cannot be kept changes nothing', async (t) => {
  const directory = t.testdir()
  const keys = await KeyStore.open(directory)
  await rename(join(directory, 'keys'), join(directory, 'away'))
  await t.rejects(keys.begin(Date.now()), { code: 'state-unreadable' })
  t.strictSame([keys.generation, keys.older], [0, undefined])
  await rename(join(directory, 'away'), join(directory, 'keys'))
  await keys.begin(Date.now())
  t.equal(keys.generation, 1)
})

void t.test('refuses what others could read', async (t) => {
  for (const [path, mode] of [
    ['keys/identity.pem', 0o640],
    ['keys/generation-0', 0o604],
    ['keys', 0o750],
  ] as const) {
    const directory = t.testdir()
    await KeyStore.open(directory)
    await chmod(join(directory, path), mode)
    await t.rejects(KeyStore.open(directory), {
      code: 'permission',
      object: join(directory, path),
      next: /^chmod [67]00 /,
    })
    await chmod(join(directory, path), path === 'keys' ? 0o700 : 0o600)
    await t.resolves(KeyStore.open(directory))
  }
})

void t.test('never makes keys over damaged ones, and says nothing of what is in them', async (t) => {
  const directory = t.testdir()
  await KeyStore.open(directory)
  const pem = join(directory, 'keys/identity.pem')
  const secret = (await readFile(pem, 'utf8')).split('\n')[1] ?? ''
  await writeFile(pem, `-----BEGIN PRIVATE KEY-----\n${secret.slice(0, 30)}\n`)
  const error = await KeyStore.open(directory).then(
    () => undefined,
    (thrown: unknown) => thrown as LinkspanError,
  )
  t.match(error, { code: 'state-unreadable', object: pem })
  t.notMatch(`${String(error)} ${String(error?.cause)} ${error?.stack ?? ''}`, secret.slice(0, 30))

  const other = t.testdir({ other: {} })
  await KeyStore.open(other)
  await writeFile(join(other, 'keys/generation-0'), 'short')
  await t.rejects(KeyStore.open(other), { code: 'state-unreadable', reason: 'is 5 bytes long, expected 32' })
})

void t.test('follows no links', async (t) => {
  const directory = t.testdir()
  await mkdir(join(directory, 'keys'), { mode: 0o700 })
  await writeFile(join(directory, 'elsewhere'), 'x', { mode: 0o600 })
  await symlink(join(directory, 'elsewhere'), join(directory, 'keys/identity.pem'))
  await t.rejects(KeyStore.open(directory), { code: 'state-unreadable' })
})

void t.test('read() makes nothing', async (t) => {
  const directory = t.testdir()
  await t.rejects(KeyStore.read(directory), { code: 'state-unreadable' })
  t.same(await readdir(directory), [])
  const { identity } = await KeyStore.open(directory)
  t.equal((await KeyStore.read(directory)).identity, identity)
})
