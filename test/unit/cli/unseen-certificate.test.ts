/** `linkspan ca issue` beside certificates in the registry that cannot be read or understood. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { unseenCertificates } from '../../../agent/cli/unseen-certificate.ts'
import type { Reason } from '../../../agent/errors.ts'
import { AuthorityRig } from '../../support/authority.ts'
import { certificateDocument, delivered, deliveredText, recordDocument } from '../../support/documents.ts'

t.setTimeout(600_000) // a process for each command, and slow machines

void t.test('a certificate that nobody can make out may hold what is given out next', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin([1, 2, 7])
  await rig.json('issue', 'g1')
  const file = (gateway: string): string => join(rig.registry, `certificates/${gateway}.jws`)
  const whole = readFileSync(file('g1'))
  const state = JSON.stringify(rig.state())
  const refused = async (says: RegExp): Promise<void> => {
    for (const gateway of ['g2', 'g7'])
      t.match(await rig.run('issue', gateway), { code: 1, stdout: '', stderr: says }, 'nor is it overwritten')
    t.equal(JSON.stringify(rig.state()), state)
  }
  mkdirSync(file('g7'))
  await refused(
    /needs all that there are; 1 cannot be read:\n .*certificates\/g7\.jws: is not a regular file/,
  )
  rmSync(file('g7'), { recursive: true })
  writeFileSync(file('g7'), whole.subarray(0, -9))
  await refused(/needs all that there are; 1 cannot be read:\n .*certificates\/g7\.jws: /)
  t.match(
    await rig.run('fabric', '--fresh-days', '300'),
    { code: 0 },
    'the fabric document gives out nothing',
  )
  t.match(
    await rig.run('revoke', '--serial', '5'),
    { code: 0 },
    'and what takes away is held up by nothing at all',
  )
  t.match(await rig.json('issue', 'g7', '--replace'), { payload: { number: 2 } }, 'where that is asked for')
  writeFileSync(file('g1'), whole.subarray(0, -9))
  t.match(await rig.json('issue', 'g2'), { payload: { number: 3 } }, 'what g1 has stands in our own copies')
})

void t.test('what counts', (t) => {
  const unreadable = (object: string): Reason => ({ code: 'registry-unreadable', object, reason: 'no' })
  const documents = [
    delivered(certificateDocument(1)),
    deliveredText('x', '/r/certificates/g2.jws'),
    deliveredText('x', '/linkspan/prod/certificates/g3'),
    deliveredText('x', '/r/records/g4.jws'),
    delivered(recordDocument(5)),
  ]
  const places = [
    '/r/certificates/g6.jws',
    '/r/certificates',
    '/linkspan/prod',
    '/r/records/g7.jws',
    '/r/records',
    '/r/requests/g7.jws',
    '/r/authority/5.jws',
    '/r/fabric.jws',
    '/linkspan/prod/fabric',
  ]
  const found = unseenCertificates({ documents, complete: true, unreadable: places.map(unreadable) })
  t.strictSame(
    found.map(({ gateway }) => gateway),
    ['g6', undefined, undefined, 'g2', 'g3'],
  )
  t.end()
})
