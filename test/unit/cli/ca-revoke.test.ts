/** `linkspan ca revoke` and `remove`: in the fabric document, once, and for as long as it should be. */
import { join } from 'node:path'
import t from 'tap'
import { AuthorityRig, linkspan } from '../../support/authority.ts'
import { identityKeyOf, identityOf, requestDocument } from '../../support/documents.ts'

t.setTimeout(600_000) // a process for each command, and slow machines

void t.test('an identity', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin([1, 2])
  await rig.json('issue', 'g1')
  await rig.json('issue', 'g2')
  const revoked = await rig.run('revoke', 'g1')
  t.match(revoked, {
    code: 0,
    stdout: `revoked identity ${identityOf('g1')}: wrote ${join(rig.registry, 'fabric.jws')}`,
  })
  t.match(
    revoked.stdout,
    /every gateway drops g1 \(number 1, site s1\).*\n.*\n.*new keys only.*ca issue g1 --replace/,
  )
  const inForce = rig.documents('fabric')[0]!.document.payload
  t.same(inForce.revoked, { serials: [], identities: [identityOf('g1')] })
  const again = await rig.run('revoke', 'g1')
  t.match(again, { code: 0, stdout: /^unchanged: .* is revoked already\n$/ })
  t.equal(rig.documents('fabric')[0]!.document.payload.serial, inForce.serial)
  t.match(await rig.json('revoke', '--identity', identityOf('g1')), { unchanged: true, gateway: 'g1' })

  const list = await linkspan(['registry', 'list', '--registry', rig.registry, '--json'])
  t.equal(list.code, 3)
  t.match(JSON.parse(list.stdout), { refusals: [{ rule: 'revoked', gateway: 'g1' }] })
  t.match(await rig.run('issue', 'g1', '--replace'), { code: 2, stderr: /its identity key is revoked/ })
  rig.put(requestDocument(1, { identity: identityOf('anew') }), identityKeyOf('anew'))
  t.match(await rig.json('issue', 'g1', '--replace'), {
    payload: { number: 1, identity: identityOf('anew') },
  })
})

void t.test('a serial', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin([1])
  const { payload } = (await rig.json('issue', 'g1')) as { payload: { serial: number } }
  const revoked = await rig.json('revoke', '--serial', String(payload.serial))
  t.match(revoked, { revoked: { serial: payload.serial }, gateway: 'g1' })
  t.match(await rig.run('renew', 'g1'), { code: 1, stderr: /is revoked/ })
  t.match(await rig.json('issue', 'g1', '--replace'), { payload: { identity: identityOf('g1') } })
  const unknown = await rig.run('revoke', '--serial', '5')
  t.match(unknown, { code: 0, stdout: /no certificate in force has it/ })
  t.same(rig.documents('fabric')[0]?.document.payload.revoked.serials, [payload.serial, 5])
})

void t.test('a fabric file that knows nothing of it undoes nothing', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin([1, 2])
  await rig.json('issue', 'g1')
  await rig.json('issue', 'g2')
  await rig.json('revoke', 'g1')
  await rig.json('remove', 'g2')
  const yaml = rig.file('fabric.yml', 'fabric: prod\nunderlays: [{ name: internet, mtu: 1400 }]\n')
  const written = await rig.run('fabric', yaml)
  t.match(written, { code: 0, stderr: /g2 stays removed.*--undo\n.*1 revocations stay/ })
  const { removed, revoked } = rig.documents('fabric')[0]!.document.payload
  t.same([removed, revoked.identities], [['g2'], [identityOf('g1')]])
  const shown = JSON.parse((await rig.run('show', '--json')).stdout) as { certificates: { state: string }[] }
  t.same(
    shown.certificates.map(({ state }) => state),
    ['revoked', 'removed'],
  )
})

void t.test('a gateway that is gone, and back', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin([1, 2])
  await rig.json('issue', 'g1')
  const freshUntil = rig.documents('fabric')[0]!.document.payload.freshUntil
  t.match(await rig.run('remove', 'g1'), { code: 0, stdout: /^removed g1: wrote .*\n.*number stays its own/ })
  t.ok(rig.documents('fabric')[0]!.document.payload.freshUntil >= freshUntil)
  t.match(await rig.json('remove', 'g1'), { unchanged: true, removed: true })
  t.match(await rig.run('issue', 'g1', '--replace'), {
    code: 2,
    stderr: /under removed \(linkspan ca remove g1 --undo/,
  })
  t.match(await rig.json('issue', 'g2'), { payload: { number: 2 } })
  t.match(await rig.run('remove', 'g1', '--undo'), { code: 0, stdout: /^g1 is not removed any more/ })
  t.match(await rig.json('remove', 'g1', '--undo'), { unchanged: true, removed: false })
  t.same(rig.documents('fabric')[0]?.document.payload.removed, [])
})

void t.test('mistakes', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin([1])
  await rig.json('issue', 'g1')
  const serial = rig.documents('fabric')[0]?.document.payload.serial
  for (const [line, says] of [
    [['revoke'], /expected one of a gateway, --serial and --identity/],
    [['revoke', 'g1', '--serial', '5'], /expected one of/],
    [['revoke', 'gg1'], /has no certificate \(did you mean "g1"\?\)/],
    [['revoke', '--serial', '1.5'], /expected the serial/],
    [['revoke', '--identity', 'x'], /expected an Ed25519 public key/],
    [['remove', 'g9'], /never had a certificate \(did you mean "g1"\?\)/],
    [['remove'], /Not enough|need/],
  ] as const) {
    t.match(await rig.run(...line), { code: 2, stdout: '', stderr: says })
  }
  t.equal(rig.documents('fabric')[0]?.document.payload.serial, serial)
})
