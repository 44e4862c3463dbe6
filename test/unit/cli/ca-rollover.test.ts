/** `linkspan ca rollover`: from one key to the next, with gateways that know only the first. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { authoritiesOf } from '../../../agent/trust/authorities.ts'
import { AuthorityRig, linkspan } from '../../support/authority.ts'

t.setTimeout(600_000) // a process for each command, and slow machines

interface Shown {
  authority: string
  signer: string
  trusted: string[]
  retired: string[]
  due: { object: string; reason: string; next: string }[]
}

async function show(rig: AuthorityRig, ...more: string[]): Promise<Shown> {
  return JSON.parse((await rig.run('show', '--json', ...more)).stdout) as Shown
}

/** What a gateway with this key in its config.yml refuses, by rule. */
async function refused(rig: AuthorityRig, authority: string): Promise<string[]> {
  const { stdout, stderr, code } = await linkspan([
    'registry',
    'list',
    '--registry',
    rig.registry,
    '--authority',
    authority,
    '--json',
  ])
  if (stdout === '') throw new Error(`registry list: exit ${code}\n${stderr}`)
  return (JSON.parse(stdout) as { refusals: { rule: string }[] }).refusals.map(({ rule }) => rule)
}

void t.test('there and back never', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin([1, 2, 3])
  for (const name of ['g1', 'g2', 'g3']) await rig.json('issue', name)
  await rig.json('remove', 'g3')
  const { authority: first } = await show(rig)
  t.match(await rig.run('rollover', '--finish'), { code: 2, stderr: /no rollover is under way/ })

  const begun = (await rig.json('rollover', '--no-passphrase')) as { next: string; key: string }
  t.match(begun, { current: first, path: join(rig.registry, `authority/${first}.jws`), encrypted: false })
  t.ok(existsSync(begun.key))
  t.same(
    [...authoritiesOf(first, rig.documents('authority')).trusted],
    [first, begun.next],
    'a gateway follows',
  )
  t.match(await rig.run('rollover', '--no-passphrase'), { code: 1, stderr: /a rollover is under way/ })
  t.equal(rig.keys().length, 2, 'and no third key is made')
  t.match(await show(rig), {
    signer: begun.next,
    trusted: [first, begun.next],
    due: [{ reason: /3 documents signed by the old/ }],
  })

  const early = await rig.run('rollover', '--finish')
  t.match(early, {
    code: 1,
    stderr:
      /3 documents in force.*:\n  certificates\/g1\.jws: signed by the old key\n  certificates\/g2[^]*fabric\.jws[^]*renew --all/,
  })
  t.equal(rig.documents('authority').length, 1)
  // g1 alone, then the rest; the fabric document comes with --all.
  await rig.json('renew', 'g1')
  t.match(await rig.json('renew', '--all', '--within', '0'), {
    renewed: [{ gateway: 'g2' }],
    fabric: { serial: Number },
  })
  t.same(await refused(rig, first), ['removed'])

  // Signed, but the registry has the old one again.
  const path = join(rig.registry, 'certificates/g2.jws')
  const kept = readFileSync(path)
  rmSync(path)
  const missing = await rig.run('rollover', '--finish')
  t.match(missing, {
    code: 1,
    stderr: /1 documents in force.*\n  certificates\/g2\.jws: signed, but not in the registry/,
  })
  writeFileSync(path, kept)

  const done = await rig.run('rollover', '--finish')
  t.match(done, {
    code: 0,
    stdout: `retired ${first}: wrote ${join(rig.registry, `authority/${begun.next}.jws`)}`,
  })
  const { trusted, retired } = authoritiesOf(first, rig.documents('authority'))
  t.same([[...trusted], [...retired]], [[begun.next], [first]])
  t.match(await show(rig), {
    authority: first,
    signer: begun.next,
    trusted: [begun.next],
    retired: [first],
    due: [],
  })
  t.match(await rig.run('rollover', '--finish'), { code: 2, stderr: /no rollover is under way/ })

  // The old key's file is not needed any more, and a lost state is rebuilt without it: to the key gateways know.
  rmSync(join(rig.ca, `key-${first}.pem`))
  for (const name of ['state.json', 'issued.bundle']) rmSync(join(rig.ca, name))
  t.match(await show(rig, '--registry', rig.registry), {
    authority: first,
    signer: begun.next,
    retired: [first],
  })
  t.match(await rig.json('issue', 'g1', '--replace', '--registry', rig.registry), { payload: { number: 1 } })
  t.match(rig.state(), { numbers: { g1: 1, g2: 2, g3: 3 } }, 'a number under the old key is not forgotten')

  // And once more.
  const second = (await rig.json('rollover', '--no-passphrase')) as { next: string }
  await rig.json('renew', '--all')
  await rig.json('rollover', '--finish')
  const end = authoritiesOf(first, rig.documents('authority'))
  t.same([[...end.trusted], [...end.retired].sort()], [[second.next], [first, begun.next].sort()])
})

void t.test('a link that the registry lost is put there again', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin([1])
  await rig.json('issue', 'g1')
  const { path } = (await rig.json('rollover', '--no-passphrase')) as { path: string }
  rmSync(path)
  t.match(await show(rig), { due: [{}, { object: /^authority\//, next: 'linkspan ca renew --all' }] })
  await rig.json('renew', '--all')
  t.ok(existsSync(path))
})

void t.test('passphrases of both keys', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  const [old, next] = [rig.file('old', 'old words\n'), rig.file('next', 'next words\n')]
  await rig.json('init', 'prod', '--passphrase-file', old, '--registry', rig.registry)
  mkdirSync(rig.registry)
  const unused = await rig.run('rollover', '--passphrase-file', old)
  t.match(unused, { code: 2, stderr: /signed no fabric document yet/ })
  t.equal(rig.keys().length, 1)
  await rig.json('fabric', rig.file('fabric.yml', 'fabric: prod\n'), '--passphrase-file', old)
  const begun = await rig.json('rollover', '--passphrase-file', old, '--next-passphrase-file', next)
  t.match(begun, { encrypted: true })
  t.match(await rig.run('renew', '--all', '--passphrase-file', old), { code: 5, stderr: /wrong passphrase/ })
  await rig.json('renew', '--all', '--passphrase-file', next)
  await rig.json('rollover', '--finish', '--passphrase-file', next)
  const plain = await rig.json('rollover', '--passphrase-file', next, '--no-passphrase')
  t.match(plain, { encrypted: false })
})
