/** `linkspan ca` and the registry it works on, as processes: what is believed there, lost, unreadable, or elsewhere. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { AuthorityRig } from '../../support/authority.ts'
import {
  certificateDocument,
  fabricDocument,
  identityOf,
  keyOf,
  recordDocument,
  requestDocument,
} from '../../support/documents.ts'

t.setTimeout(600_000) // a process for each command, and slow machines

const dayMs = 86_400_000
/** Own gateways' documents are judged by the clock of the process. */
const soon = { notBefore: Date.now() - dayMs, notAfter: Date.now() + 100 * dayMs }

void t.test('the registry is believed only as far as our key goes', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin([1, 2])
  const old = readFileSync(join(rig.registry, 'fabric.jws'))
  await rig.json('issue', 'g1')
  const path = join(rig.registry, 'certificates/g1.jws')

  // Hidden: its number and prefix stay taken.
  const hidden = readFileSync(path)
  rmSync(path)
  const same = await rig.run('issue', 'g2', '--prefix', '10.1.0.0/16')
  t.match(same, { code: 2, stderr: /10\.1\.0\.0\/16 is certified to g1/ })
  t.match(await rig.json('issue', 'g2'), { payload: { number: 2 } })
  writeFileSync(path, hidden)

  // Rolled back: a revocation is not undone by the next signature.
  await rig.json('revoke', 'g1')
  writeFileSync(join(rig.registry, 'fabric.jws'), old)
  await rig.json('remove', 'g2')
  const [fabric] = rig.documents('fabric')
  t.same(fabric?.document.payload.revoked.identities, [identityOf('g1')])

  // By a key of somebody else.
  rig.put(certificateDocument(3, { number: 2, ...soon }), keyOf('thief'))
  rig.put(requestDocument(4))
  t.match(await rig.json('issue', 'g4'), { payload: { number: 3 } })
  rig.put(fabricDocument(), keyOf('thief'))
  const other = await rig.run('fabric')
  t.match(other, { code: 1, stderr: /is signed by another authority/ })
  writeFileSync(join(rig.registry, 'fabric.jws'), 'x')
  const broken = await rig.run('fabric')
  t.match(broken, {
    code: 0,
    stdout: /^wrote/,
    stderr: /replacing a fabric document that is refused:\n.*three parts/,
  })
})

void t.test('what is signed and could not be put is put by the next command', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin([1, 2])
  // Where the file should be.
  const folder = join(rig.registry, 'certificates/g1.jws')
  mkdirSync(folder, { recursive: true })
  const failed = await rig.run('issue', 'g1', '--replace')
  t.match(failed, { code: 1, stdout: '', stderr: /1 of 1 documents are signed but not in the registry/ })
  t.match(rig.state(), { pending: ['certificates/g1.jws'], numbers: { g1: 1 } })
  const revoked = await rig.run('revoke', '--serial', '5')
  t.match(
    revoked,
    { code: 0, stderr: /g1\.jws could not be put .* and still cannot/ },
    'which holds up no revocation',
  )
  t.match(rig.state(), { pending: ['certificates/g1.jws'] })
  rmSync(folder, { recursive: true })
  const next = await rig.run('issue', 'g2')
  t.match(next, { code: 0, stdout: /number 2/, stderr: /could not put certificates\/g1\.jws: now it is/ })
  t.same(
    rig.documents('certificate').map(({ document }) => document.payload.number),
    [1, 2],
  )
  t.match(rig.state(), { pending: [] })
})

void t.test('what cannot be read is told', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin([1])
  rig.put(recordDocument(8))
  writeFileSync(join(rig.registry, 'records/g8.jws'), 'x.y.z\n')
  mkdirSync(join(rig.registry, 'records/g9.jws'))
  t.match(
    await rig.run('issue', 'g1'),
    { code: 0, stderr: /unreadable: .*g9\.jws: is not a regular file/ },
    'a record grants nothing',
  )
  const away = join(rig.directory, 'away')
  const lost = await rig.run('issue', 'g1', '--replace', '--registry', away)
  t.match(lost, { code: 1, stderr: /away: cannot be listed/ })
  const fabric = await rig.run('fabric', '--registry', away)
  t.match(fabric, { code: 1, stderr: /away: cannot be listed/ }, 'an unmounted registry is not made anew')
  t.notOk(existsSync(away))
})

void t.test('a lost state is rebuilt from the registry', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin([1, 2, 3])
  await rig.json('issue', 'g1', '--number', '5')
  await rig.json('issue', 'g2')
  for (const name of ['state.json', 'issued.bundle']) rmSync(join(rig.ca, name))
  t.match(await rig.run('issue', 'g3'), { code: 2, stderr: /no registry is known/ })
  mkdirSync(join(rig.registry, 'certificates/g7.jws'))
  const at = ['--registry', rig.registry]
  const unseen = await rig.run('issue', 'g3', ...at)
  t.match(unseen, { code: 1, stderr: /needs all certificates; 1 cannot be read:\n.*g7\.jws/ })
  rmSync(join(rig.registry, 'certificates/g7.jws'), { recursive: true })
  writeFileSync(
    join(rig.registry, 'certificates/g7.jws'),
    readFileSync(join(rig.registry, 'certificates/g1.jws')).subarray(9),
  )
  const cut = await rig.run('issue', 'g3', ...at)
  t.match(cut, { code: 1, stderr: /needs all certificates; 1 cannot be read:\n.*g7\.jws/ }, 'nor one cut off')
  rmSync(join(rig.registry, 'certificates/g7.jws'))
  t.match(await rig.run('show', ...at), {
    code: 0,
    stderr: /state of this authority was lost and is rebuilt/,
  })
  const issued = await rig.run('issue', 'g3', ...at, '--json')
  t.match(issued, {
    code: 0,
    stderr: /rebuilt from 3 documents: fabric prod, 2 certificates, numbers up to 5/,
  })
  t.match(JSON.parse(issued.stdout), { payload: { number: 6 } }, 'not 1, which somebody may have had')
  t.match(rig.state(), { fabric: 'prod', numbers: { g1: 5, g2: 1, g3: 6 }, above: 5, registry: rig.registry })

  // Nothing to rebuild from: the name of the fabric comes with its first document.
  for (const name of ['state.json', 'issued.bundle']) rmSync(join(rig.ca, name))
  const empty = join(rig.directory, 'empty')
  mkdirSync(empty)
  t.match(await rig.run('issue', 'g3', '--registry', empty), {
    code: 2,
    stderr: /holds nothing that this authority signed/,
  })
  t.match(await rig.run('fabric', join(rig.directory, 'fabric.yml'), '--registry', empty), { code: 0 })
})

void t.test('another registry, for once and for good', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin([1])
  const second = join(rig.directory, 'second')
  mkdirSync(second)
  const once = await rig.run('fabric', '--registry', second)
  t.match(once, {
    code: 0,
    stdout: `wrote ${second}`,
    stderr: /the registry of this authority is .*registry; --remember/,
  })
  t.match(rig.state(), { registry: rig.registry })
  await rig.json('fabric', '--registry', second, '--remember')
  t.match(await rig.json('issue', 'g1', '--registry', rig.registry), {
    path: join(rig.registry, 'certificates/g1.jws'),
  })
  t.match(await rig.run('show'), { stdout: `registry   ${second}` })
})
