/** `linkspan registry list` and `linkspan keys` as processes: files, output, exit codes. */
import { mkdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { KeyStore } from '../../../agent/daemon/key-store.ts'
import { seal } from '../../../agent/trust/envelope.ts'
import { AuthorityRig, linkspan } from '../../support/authority.ts'
import {
  authority,
  certificateDocument,
  claimOf,
  fabricDocument,
  identityKeyOf,
  identityOf,
  keyOf,
  recordDocument,
  requestDocument,
  voucherDocument,
  voucherKeyOf,
} from '../../support/documents.ts'

t.setTimeout(300_000) // a process for each command, and slow machines

void t.test('what is there, and what gateways make of it', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin([1, 2, 3])
  const { path: certificate } = (await rig.json('issue', 'g1')) as { path: string }
  await rig.json('issue', 'g2')
  rig.put(recordDocument(1))
  const key = rig.documents('fabric')[0]?.kid ?? ''
  const at = ['registry', 'list', '--registry', rig.registry]
  const list = await linkspan([...at, '--authority', key])
  t.match(list, { code: 0, stderr: '' })
  t.match(list.stdout, /^fabric prod, serial \d+, 1 gateways in force\n/)
  t.match(list.stdout, /\ng1 +1 +s1 +0 +1 +in force\n/)
  t.match(list.stdout, /\ng2 +2 +s2 +0 +0 +no record yet\n/)
  t.match(list.stdout, /\ng3 +- +- +- +0 +asks for a certificate\n/)
  t.match(await linkspan(at), {
    code: 0,
    stdout: list.stdout,
    stderr: /judged by the key that signed its fabric document/,
  })
  t.match(await linkspan([...at, '--authority', 'x']), {
    code: 2,
    stderr: /--authority: expected an Ed25519/,
  })

  const other = await linkspan([...at, '--authority', identityOf('other')])
  t.match(other, { code: 3, stdout: /no fabric document in force/, stderr: /which is not the authority's/ })

  const wrong = seal('record', '{\n "fabrik": 1}', identityKeyOf('g2'))
  writeFileSync(join(rig.registry, 'records/g2.jws'), wrong)
  const refused = await linkspan([...at, '--authority', key])
  t.equal(refused.code, 3)
  t.match(
    refused.stderr,
    /records\/g2\.jws:2:2: .*unknown field "fabrik"\n.*\n +\| +\^\n +hint: did you mean "fabric"/,
  )
  const json = await linkspan([...at, '--authority', key, '--json'])
  t.match(json, { code: 3, stderr: '' })
  t.match(JSON.parse(json.stdout), {
    schema: 1,
    authority: key,
    gateways: [{ gateway: 'g1' }, { state: 'refused' }, {}],
    refusals: [{ rule: 'document' }],
  })

  rmSync(join(rig.registry, 'records/g2.jws'))
  mkdirSync(join(rig.registry, 'certificates/g7.jws'))
  const unreadable = await linkspan([...at, '--authority', key])
  t.match(unreadable, { code: 1, stderr: /^unreadable: .*certificates\/g7\.jws: is not a regular file/ })
  const told = await linkspan([...at, '--authority', key, '--json'])
  t.match(JSON.parse(told.stdout), { unreadable: [{ object: join(rig.registry, 'certificates/g7.jws') }] })
  rmdirSync(join(rig.registry, 'certificates/g7.jws'))

  rig.put(requestDocument(4), keyOf('thief'))
  rmSync(certificate)
  const forged = await linkspan([...at, '--authority', key])
  t.match(forged, { code: 3, stderr: /request g4: is not signed by the identity/ })
  t.equal((await linkspan(['registry', 'list', '--registry', join(rig.registry, 'none')])).code, 1)
})

void t.test('what became of vouchers', async (t) => {
  const rig = new AuthorityRig(t.testdir({ registry: {} }))
  const now = Date.now()
  const voucher = { notBefore: now - 7_200_000, notAfter: now + 86_400_000, until: now + 3_600_000 }
  rig.put(fabricDocument({ freshUntil: 4_000_000_000_000 }))
  for (const number of [1, 2, 3, 4]) rig.put(voucherDocument(number, voucher))
  rig.put(voucherDocument(5, { ...voucher, until: now - 3_700_000 }))
  rig.put(certificateDocument(4, { serial: 2, notAfter: voucher.notAfter }))
  for (const number of [2, 3])
    rig.put({ type: 'claim', payload: claimOf(number) }, voucherKeyOf(`g${number}`))
  rig.put(recordDocument(3))
  const at = ['registry', 'list', '--registry', rig.registry, '--fabric', 'prod', '--authority', authority]
  const { stdout, stderr } = await linkspan(at)
  t.equal(stderr, '')
  t.match(stdout, /\ng1 +1 +s1 +0 +0 +voucher waits for a claim\n/)
  t.match(stdout, /\ng2 +2 +s2 +0 +0 +voucher claimed, no record yet\n/)
  t.match(stdout, /\ng3 +3 +s3 +0 +1 +in force\n/)
  t.match(stdout, /\ng4 +4 +s4 +0 +0 +no record yet\n/)
  t.match(stdout, /\ng5 +5 +s5 +0 +0 +voucher ended, nobody claimed it\n/)
  const { stdout: json } = await linkspan([...at, '--json'])
  const { gateways } = JSON.parse(json) as { gateways: readonly { voucher?: string }[] }
  t.strictSame(
    gateways.map((row) => row.voucher),
    ['waiting', 'claimed', 'claimed', undefined, 'ended'],
  )
})

void t.test('keys show: public keys, and nothing else', async (t) => {
  const directory = t.testdir()
  const none = await linkspan(['keys', 'show', '--state-directory', directory])
  t.equal(none.code, 1)
  t.match(none.stderr, /makes them at its first start|no such file/)
  const keys = await KeyStore.open(directory)
  const { stdout, code } = await linkspan(['keys', 'show', '--state-directory', directory, '--json'])
  t.equal(code, 0)
  const { ageSeconds, ...shown } = JSON.parse(stdout) as Record<string, unknown>
  t.type(ageSeconds, 'number')
  t.strictSame(shown, {
    schema: 1,
    identity: keys.identity,
    generation: 0,
    tunnelKeys: keys.tunnelKeys(4),
  })
  const text = await linkspan(['keys', 'show', '--state-directory', directory])
  t.match(text.stdout, `identity    ${keys.identity}\ngeneration  0, made `)
  for (let i = 0; i < 32; i++) t.notMatch(`${stdout}${text.stdout}`, keys.privateKey(i).slice(0, 40))
  await keys.begin(Date.now())
  const rotating = await linkspan(['keys', 'show', '--state-directory', directory])
  t.match(rotating.stdout, /generation  1, made .*\nrotating    generation 0 is still offered\n/)
  t.match(rotating.stdout, keys.publicKey(0), 'those that peers may still use, too')
  await keys.retire()
  const last = await linkspan(['keys', 'show', '--state-directory', directory])
  t.match(last.stdout, 'rotating    generation 0 retires\n')
})
