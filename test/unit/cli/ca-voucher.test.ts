/** `linkspan ca voucher`: what it signs and keeps, where the key goes, and what becomes of a claim. */
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readVoucher } from '../../../agent/cli/voucher-file.ts'
import type { Voucher } from '../../../agent/model/document.ts'
import { kidOf } from '../../../agent/trust/envelope.ts'
import { keyOfPem } from '../../../agent/cli/pkcs8.ts'
import { AuthorityRig } from '../../support/authority.ts'
import { claimOf, identityOf } from '../../support/documents.ts'

t.setTimeout(600_000) // a process for each command, and slow machines

const site = ['--site', 's2', '--prefix', '10.2.0.0/16:24']
const hourMs = 3_600_000

/** The gateway's answer to a voucher, with the key in a file. */
function claim(rig: AuthorityRig, file: string, { serial, key }: Voucher, seed: string): void {
  const secret = keyOfPem(readFileSync(file), undefined)
  if (secret === undefined) throw new Error('no key')
  t.equal(kidOf(secret), key, 'the key in the file is that of the voucher')
  rig.put({ type: 'claim', payload: claimOf(2, { serial, voucher: serial }, seed, secret) }, secret)
}

function voucherIn(rig: AuthorityRig): Voucher {
  const [first, ...others] = rig.documents('voucher')
  if (first === undefined || others.length > 0) throw new Error('not one voucher')
  return first.document.payload
}

void t.test('a voucher and its key', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin([1, 3])
  await rig.json('issue', 'g1')
  const file = join(rig.directory, 'g2.voucher')
  const begun = Date.now()
  const made = await rig.run('voucher', 'g2', ...site, '--grant', 'shared', '--hours', '2', '--out', file)
  t.match(made, {
    code: 0,
    stderr: '',
    stdout: /gateway g2, number 2, site s2, plane 0, prefixes 10\.2\.0\.0\/16\n/,
  })
  t.match(made.stdout, /\/etc\/linkspan\/voucher, mode 0600/)
  t.equal(statSync(file).mode & 0o777, 0o600)
  const pem = readFileSync(file, 'latin1')
  t.notOk(made.stdout.includes(pem.split('\n')[1] ?? ''), 'the key is nowhere else')
  const voucher = voucherIn(rig)
  t.match(voucher, { gateway: 'g2', number: 2, plane: 0, site: { name: 's2' }, grants: ['shared'] })
  t.same(voucher.prefixes, [{ prefix: '10.2.0.0/16', maxLength: 24 }])
  t.ok(voucher.until >= begun + 2 * hourMs && voucher.until <= Date.now() + 2 * hourMs)
  t.equal(voucher.until - voucher.notBefore, 2 * hourMs)

  const again = await rig.run('voucher', 'g2', ...site, '--out', join(rig.directory, 'again'))
  t.match(again, { code: 2, stderr: /has a voucher already.*--replace/s })
  t.notOk(existsSync(join(rig.directory, 'again')), 'and no key of it')
  const over = await rig.run('voucher', 'g2', ...site, '--replace', '--out', file)
  t.match(over, { code: 1, stderr: /g2\.voucher: is there already/ })
  t.equal(readFileSync(file, 'latin1'), pem, 'a key is never written over')
  t.same(voucherIn(rig), voucher, 'nor a voucher signed without one')
  t.match(await rig.run('voucher', 'g1', ...site), { code: 2, stderr: /has a certificate, which outranks/ })

  // What a voucher grants is given out.
  const taken = await rig.run('issue', 'g3', '--prefix', '10.2.0.0/16')
  t.match(taken, { code: 2, stderr: /10\.2\.0\.0\/16 is certified to g2 of site s2/ })
  t.match(await rig.json('issue', 'g3'), { payload: { number: 3 } }, 'nor is its number')
  for (const wrong of [
    ['--hours', '25'],
    ['--hours', '0'],
    ['--days', '0'],
    ['--stdout', '--json'],
    ['--plane', '4'],
  ])
    t.match(await rig.run('voucher', 'g4', ...site, ...wrong), { code: 2, stdout: '' }, wrong.join(' '))
  t.match(await rig.run('voucher', 'G_4', ...site), { code: 2, stderr: /did you mean "g-4"/ })
  t.same(readdirSync(join(rig.registry, 'vouchers')), ['g2.jws'])
})

void t.test('the key on stdout, for a pipe', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin()
  const { code, stdout, stderr } = await rig.run('voucher', 'g2', ...site, '--stdout')
  t.equal(code, 0)
  t.match(stdout, /^-----BEGIN PRIVATE KEY-----\n[^-]+\n-----END PRIVATE KEY-----\n$/)
  t.match(stderr, /wrote .*vouchers\/g2\.jws/)
  const key = keyOfPem(Buffer.from(stdout), undefined)
  t.equal(key && kidOf(key), voucherIn(rig).key)
})

void t.test('a claim is confirmed by a certificate', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin()
  const file = join(rig.directory, 'key')
  await rig.json('voucher', 'g2', ...site, '--grant', 'shared', '--plane', '2', '--out', file)
  t.match(await rig.run('show'), { code: 0 }, 'nothing is due while nobody claimed it')
  t.match(await rig.run('issue', 'g2'), { code: 2, stderr: /there is no request/ })
  t.match(await rig.run('renew', 'g2'), { code: 2, stderr: /nobody claimed yet.*ca voucher g2 --replace/s })
  claim(rig, file, voucherIn(rig), 'g2')
  const plainly = new RegExp(`admitted by a voucher.*ca issue g2 --identity ${identityOf('g2')}`, 's')
  t.match(await rig.run('renew', 'g2'), { code: 2, stderr: plainly })
  t.match(await rig.run('renew', '--all'), { code: 0, stdout: /nothing to renew/, stderr: plainly })
  const due = await rig.run('show')
  t.match(due, { code: 3, stdout: /voucher g2: claimed by .*\n.*linkspan ca issue g2/ })
  t.ok(due.stdout.includes(identityOf('g2')))
  t.match(await rig.json('issue', 'g2'), {
    payload: {
      number: 1,
      plane: 2,
      identity: identityOf('g2'),
      prefixes: [{ prefix: '10.2.0.0/16', maxLength: 24 }],
      grants: ['shared'],
    },
  })
  t.match(await rig.run('show'), { code: 0 })
})

void t.test('two claims: the operator says which', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin()
  const file = join(rig.directory, 'key')
  await rig.json('voucher', 'g2', ...site, '--out', file)
  claim(rig, file, voucherIn(rig), 'thief')
  const first = join(rig.registry, 'claims/g2.jws')
  writeFileSync(join(rig.registry, 'claims/thief.jws'), readFileSync(first))
  claim(rig, file, voucherIn(rig), 'g2')
  t.match(await rig.run('issue', 'g2'), { code: 2, stderr: /2 requests have different identities/ })
  const issued = await rig.json('issue', 'g2', '--identity', identityOf('g2'))
  t.match(issued, { payload: { identity: identityOf('g2') } })
})

void t.test('revoked, replaced, and signed by another key', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin()
  const file = join(rig.directory, 'key')
  await rig.json('voucher', 'g2', ...site, '--out', file)
  const before = voucherIn(rig)
  claim(rig, file, before, 'g2')
  await rig.json('rollover', '--no-passphrase')
  t.match(await rig.run('rollover', '--finish'), {
    code: 1,
    stderr: /vouchers\/g2\.jws: signed by the old key/,
  })
  await rig.json('renew', '--all')
  t.same(voucherIn(rig), before, 'the same words: the claim stays')
  await rig.json('rollover', '--finish')

  rmSync(file)
  const anew = await rig.run('voucher', 'g2', ...site, '--replace', '--out', file)
  t.match(anew, { code: 0, stderr: /the voucher [0-9]+ of g2 counts no longer/, stdout: /number 1, / })
  const after = voucherIn(rig)
  t.ok(after.serial > before.serial && after.key !== before.key)
  t.match(
    await rig.run('issue', 'g2'),
    { code: 2, stderr: /there is no request/ },
    'the earlier claim is nothing',
  )
  const revoked = await rig.run('revoke', 'g2')
  t.match(revoked, { code: 0, stdout: new RegExp(`revoked serial ${after.serial}`) })
  t.same(rig.documents('fabric')[0]?.document.payload.revoked.serials, [after.serial])
})

void t.test('a lost state is rebuilt with the numbers of vouchers', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin([1])
  await rig.json('voucher', 'g2', ...site, '--out', join(rig.directory, 'key'))
  for (const name of ['state.json', 'issued.bundle']) rmSync(join(rig.ca, name))
  const issued = await rig.run('issue', 'g1', '--registry', rig.registry, '--json')
  t.match(JSON.parse(issued.stdout), { payload: { gateway: 'g1', number: 2 } })
})

void t.test('the file on the gateway', async (t) => {
  const directory = t.testdir({ wrong: 'no key\n', long: 'x'.repeat(5000), folder: {} })
  const at = (name: string): string => join(directory, name)
  t.equal(await readVoucher(at('none')), undefined)
  await t.rejects(readVoucher(at('wrong')), { code: 'permission', next: /chmod 600/ }, 'others can read it')
  for (const name of ['wrong', 'long'])
    writeFileSync(at(`${name}-own`), readFileSync(at(name)), { mode: 0o600 })
  await t.rejects(readVoucher(at('wrong-own')), { code: 'config-invalid', reason: /no Ed25519 private key/ })
  await t.rejects(readVoucher(at('long-own')), { code: 'config-invalid' })
  await t.rejects(readVoucher(at('folder')), { code: 'config-invalid' })
})
