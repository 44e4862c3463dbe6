/** `linkspan ca renew` and `show`: what is due, and what is done about it. */
import { createPrivateKey } from 'node:crypto'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { AuthorityRig } from '../../support/authority.ts'
import { requestDocument } from '../../support/documents.ts'

t.setTimeout(600_000) // a process for each command, and slow machines

const dayMs = 86_400_000

interface Shown {
  readonly certificates: readonly { gateway: string; daysLeft: number; state: string; serial: number }[]
  readonly due: readonly { object: string; reason: string; next: string }[]
}

async function show(rig: AuthorityRig): Promise<Shown & { code: number }> {
  const { code, stdout } = await rig.run('show', '--json')
  return { code, ...(JSON.parse(stdout) as Shown) }
}

void t.test('the same grants, new dates', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin([1, 2])
  await rig.json('issue', 'g1', '--grant', 'shared', '--prefix', '10.1.0.0/16:24', '--days', '20')
  await rig.json('issue', 'g2', '--days', '200')
  const payloadOf = (gateway: string) =>
    rig.documents('certificate').find(({ document }) => document.payload.gateway === gateway)!.document
      .payload
  const before = payloadOf('g1')
  const renewed = await rig.run('renew', 'g1')
  t.match(renewed, { code: 0, stdout: /^renewed g1: until 20[\d-]+, serial \d+\n1 certificate renewed\n$/ })
  const after = payloadOf('g1')
  t.ok(after.serial > before.serial)
  t.equal(after.notAfter - after.notBefore, 20 * dayMs, 'as long as it was')
  t.same(
    { ...after, serial: 0, notBefore: 0, notAfter: 0 },
    { ...before, serial: 0, notBefore: 0, notAfter: 0 },
  )
  t.match(await rig.json('renew', 'g1', '--days', '40'), { renewed: [{ gateway: 'g1' }], fabric: null })
  t.equal(payloadOf('g1').notAfter - payloadOf('g1').notBefore, 40 * dayMs)

  const second = payloadOf('g2').serial
  t.match(await rig.json('renew', '--all', '--within', '50'), { renewed: [{ gateway: 'g1' }], skipped: [] })
  t.equal(payloadOf('g2').serial, second)
  t.match(await rig.run('renew', '--all', '--within', '5'), { code: 0, stdout: 'nothing to renew\n' })
  t.match(await rig.json('renew', '--all'), { renewed: [{ gateway: 'g1' }, { gateway: 'g2' }], fabric: null })
  t.not(
    payloadOf('g1').serial,
    payloadOf('g2').serial,
    'each has a serial of its own, by which it can be revoked',
  )
  t.match(
    await rig.json('renew', '--all', '--within', '100'),
    { fabric: { freshUntil: Number } },
    'the fabric document, too',
  )
  for (const [line, says] of [
    [['renew'], /expected gateways, or --all/],
    [['renew', 'g1', '--all'], /expected gateways, or --all/],
    [['renew', 'g1', '--within', '5'], /--within goes with --all/],
    [['renew', 'g3'], /g3: has no certificate to renew \(did you mean "g[12]"/],
  ] as const) {
    t.match(await rig.run(...line), { code: 2, stdout: '', stderr: says })
  }
})

void t.test('what has ended is not renewed', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin([1, 2, 3])
  for (const name of ['g1', 'g2', 'g3']) await rig.json('issue', name)
  await rig.json('remove', 'g1')
  await rig.json('revoke', 'g2')
  t.match(await rig.json('renew', '--all'), { renewed: [{ gateway: 'g3' }], skipped: [] })
  const named = await rig.run('renew', 'g1', 'g2', 'g3')
  t.match(named, {
    code: 1,
    stdout: /renewed g3/,
    stderr: /g1: is removed: .*--undo\n.*g2: is revoked: .*--replace/,
  })
})

void t.test('an expired one, and one whose prefix was given away', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin([1, 2, 3])
  await rig.json('issue', 'g1')
  await rig.json('issue', 'g2')
  // As time would do it: signed by the same key, and over.
  const key = createPrivateKey(readFileSync(rig.keys()[0] ?? ''))
  for (const { document } of rig.documents('certificate')) {
    const { payload } = document
    const notAfter = Date.now() - 1000
    rig.put({ type: 'certificate', payload: { ...payload, serial: payload.serial + 1000, notAfter } }, key)
  }
  const expired = await show(rig)
  t.equal(expired.code, 3)
  t.match(expired.due, [{ reason: /^expired since/ }, { reason: /^expired since/ }])
  const issued = await rig.run('issue', 'g3', '--prefix', '10.1.0.0/16')
  t.match(issued, { code: 0, stderr: /2 documents in the registry were signed elsewhere with this key/ })
  const renewed = await rig.run('renew', '--all')
  t.match(renewed, {
    code: 1,
    stdout: /renewed g2/,
    stderr: /g1: has expired, and 10\.1\.0\.0\/16 is certified to g3/,
  })
  t.match((await show(rig)).certificates, [{ state: 'expired' }, { state: 'valid' }, { state: 'valid' }])
})

void t.test('one that comes back to a prefix that was given away', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin([1, 2])
  await rig.json('issue', 'g1')
  await rig.json('remove', 'g1')
  t.match(await rig.json('issue', 'g2', '--prefix', '10.1.0.0/16'), { payload: { number: 2 } })
  const undone = await rig.run('remove', 'g1', '--undo')
  t.match(undone, { code: 0, stderr: /note: 10\.1\.0\.0\/16 is certified to g2 of site s2, too/ })
})

void t.test('what is due', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.json('init', 'prod', '--no-passphrase', '--registry', rig.registry)
  const none = await show(rig)
  t.match(none.due, [
    { object: 'fabric document', reason: 'there is none', next: 'linkspan ca fabric FILE.yml' },
  ])
  t.equal(none.code, 1, 'and there is no registry')
  await rig.json('fabric', rig.file('fabric.yml', 'fabric: prod\n'))
  for (const number of [1, 2]) rig.put(requestDocument(number))
  await rig.json('issue', 'g1')
  await rig.json('issue', 'g2', '--days', '2')
  const fine = await show(rig)
  t.match(fine, { schema: 1, code: 0, due: [], certificates: [{ daysLeft: 398 }, { daysLeft: 2 }] })

  rmSync(join(rig.registry, 'certificates/g2.jws'))
  const lost = await show(rig)
  t.equal(lost.code, 3)
  t.match(lost.due, [{ object: 'certificates/g2.jws', reason: /not in the registry/, next: /ca renew g2/ }])
  await rig.json('renew', 'g2')
  t.equal((await show(rig)).code, 0)
  const text = await rig.run('show')
  t.match(text, { code: 0, stdout: /g1 +1 +s1 +0 +1 +\d+ +20[\d-]+ +398 +valid\n/ })
  t.match(text.stdout, /key +[\w-]{43} \(not encrypted\)\n/)
  t.match(text.stdout, /numbers +2 numbers given out, up to 2; last serial \d+/)
})
