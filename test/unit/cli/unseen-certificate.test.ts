/** `linkspan ca issue` beside certificates in the registry that cannot be read or understood. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { unseenCertificates } from '../../../agent/cli/unseen-certificate.ts'
import type { Reason } from '../../../agent/errors.ts'
import { AuthorityRig } from '../../support/authority.ts'
import { certificateDocument, delivered, deliveredText, recordDocument } from '../../support/documents.ts'

t.setTimeout(600_000) // a process for each command, and slow machines

void t.test('a certificate that nobody can make out is told, and holds nothing up', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin([1, 2, 3, 4, 7])
  await rig.json('issue', 'g1')
  const file = (gateway: string): string => join(rig.registry, `certificates/${gateway}.jws`)
  const whole = readFileSync(file('g1'))
  const told = async (gateway: string, number: number, says: RegExp): Promise<void> => {
    const issued = await rig.run('issue', gateway, '--json')
    t.match(issued, { code: 0, stderr: says }, gateway)
    t.match(JSON.parse(issued.stdout), { payload: { gateway, number } })
  }
  mkdirSync(file('g7'))
  await told('g2', 2, /^note: 1 certificate in .* cannot be made out.*\n {2}.*certificates\/g7\.jws: is not/)
  const taken = await rig.run('issue', 'g7')
  t.match(taken, { code: 1, stderr: /g7\.jws.*cannot be written/ }, 'what stands in its place is not removed')
  rmSync(file('g7'), { recursive: true })
  t.match(await rig.run('fabric'), {
    code: 0,
    stderr: /an earlier command could not put certificates\/g7\.jws/,
  })

  writeFileSync(file('g9'), whole.subarray(0, -9))
  mkdirSync(file('g8'))
  writeFileSync(file('g1'), whole.subarray(0, -9))
  const both = /^note: 2 certificates .*\n {2}.*\/g8\.jws: .*\n {2}.*\/g9\.jws: .*\n/
  await told('g3', 4, both)
  t.match(await rig.run('revoke', '--serial', '5'), { code: 0 })
  rmSync(file('g8'), { recursive: true })
  rmSync(file('g9'))
  t.match(await rig.run('issue', 'g4'), { code: 0, stderr: '' }, 'what g1 has stands in our own copies')
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
