/** `linkspan ca init`, `fabric` and `issue` as processes: files, output, exit codes. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { privateKeyOf } from '../../../agent/trust/envelope.ts'
import { AuthorityRig, linkspan } from '../../support/authority.ts'
import { identityKeyOf, identityOf, requestDocument, sealed } from '../../support/documents.ts'

t.setTimeout(600_000) // a process for each command, and slow machines

const dayMs = 86_400_000

void t.test('from nothing to a fabric', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  const init = await rig.run('init', 'prod', '--no-passphrase')
  t.match(init, { code: 0, stderr: /stored unencrypted/ })
  const [, authority = ''] = /^authority: ([\w-]{43})$/m.exec(init.stdout) ?? []
  const [key = '', ...more] = rig.keys()
  t.same(more, [])
  t.match(key, `key-${authority}.pem`)
  t.equal(statSync(key).mode & 0o777, 0o600)
  t.equal(statSync(rig.ca).mode & 0o777, 0o700)
  const pem = readFileSync(key, 'utf8')
  const again = await rig.run('init', 'prod', '--no-passphrase')
  t.match(again, { code: 1, stdout: '', stderr: /holds an authority already/ })
  t.equal(readFileSync(key, 'utf8'), pem, 'never over an existing key')

  const yaml = rig.file('fabric.yml', 'fabric: prod\nnetworks: [{ name: lan, vni: 7001, kind: l2 }]\n')
  const fabric = await rig.run('fabric', yaml, '--registry', rig.registry)
  t.match(fabric, { code: 0, stderr: `made ${rig.registry}\n` })
  t.match(fabric.stdout, /^wrote .*fabric\.jws: fabric prod, serial \d+, underlays internet\n$/)
  const [document] = rig.documents('fabric')
  t.equal(document?.kid, authority)
  const { serial, freshUntil } = document!.document.payload
  t.ok(Math.abs(freshUntil - serial - 90 * dayMs) < 60_000)

  for (const number of [1, 2, 3]) rig.put(requestDocument(number))
  const issued = await rig.json(
    'issue',
    'g1',
    ...[
      '--prefix',
      '10.1.0.0/16:24',
      '--prefix',
      'fd00::/48',
      '--network',
      'lan',
      '--grant',
      'shared',
      '--days',
      '30',
    ],
  )
  t.match(issued, {
    schema: 1,
    path: join(rig.registry, 'certificates/g1.jws'),
    type: 'certificate',
    payload: {
      number: 1,
      plane: 0,
      identity: identityOf('g1'),
      prefixes: [{ prefix: '10.1.0.0/16', maxLength: 24 }, { prefix: 'fd00::/48' }],
      networks: [{ name: 'lan' }],
      grants: ['shared'],
    },
  })
  const [certificate] = rig.documents('certificate')
  t.equal(certificate?.kid, authority)
  const { notBefore, notAfter, serial: second } = certificate!.document.payload
  t.equal(notAfter - notBefore, 30 * dayMs)
  t.ok(second > serial)
  const byFile = await rig.run('issue', join(rig.registry, 'requests/g2.jws'))
  t.match(byFile, { code: 0, stdout: /number 2, site s2.*\n.*identity .*keys show.*\n.*valid until/ })
  const line = `  ${sealed(requestDocument(3)).toString().trim()}  \r\n`
  const byLine = await linkspan(['ca', 'issue', '-', '--ca', rig.ca], line)
  t.match(byLine, { code: 0, stdout: /gateway g3, number 3/ })
  t.match(rig.state(), { numbers: { g1: 1, g2: 2, g3: 3 }, pending: [], registry: rig.registry })

  const list = await linkspan(['registry', 'list', '--registry', rig.registry, '--authority', authority])
  t.match(list, { code: 0, stdout: /g1 +1 +s1 +0 +0 +no record yet\n/ })
})

void t.test('an encrypted key', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  const pass = rig.file('pass', 'some words\n')
  const made = await rig.json('init', 'prod', '--passphrase-file', pass, '--registry', rig.registry)
  t.match(made, { encrypted: true, fabric: 'prod' })
  t.match(readFileSync(rig.keys()[0] ?? '', 'utf8'), /ENCRYPTED/)
  const yaml = rig.file('fabric.yml', 'fabric: prod\n')
  t.match(await rig.run('fabric', yaml), { code: 2, stderr: /is encrypted.*no terminal.*--passphrase-file/ })
  const wrong = rig.file('wrong', 'other words\n')
  const refused = await rig.run('fabric', yaml, '--passphrase-file', wrong)
  t.match(refused, { code: 5, stdout: '', stderr: /wrong passphrase/ })
  t.notOk(existsSync(rig.registry))
  const signed = await rig.run('fabric', yaml, '--passphrase-file', pass)
  t.equal(signed.code, 0, signed.stderr)
  for (const { stdout, stderr } of [refused, signed]) t.notMatch(stdout + stderr, /words/)
})

void t.test('the same again, and the same for longer', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin()
  const yaml = join(rig.directory, 'fabric.yml')
  const path = join(rig.registry, 'fabric.jws')
  const first = readFileSync(path, 'utf8')
  const serial = (): number => rig.documents('fabric')[0]!.document.payload.serial
  t.match(await rig.run('fabric', yaml), { code: 0, stdout: /^unchanged: .*serial \d+, fresh until 20/ })
  t.match(await rig.json('fabric'), { unchanged: true })
  t.equal(readFileSync(path, 'utf8'), first)
  // 90 days are less than a third of 300.
  t.match(await rig.run('fabric', '--fresh-days', '300'), { code: 0, stdout: /^wrote/ })
  const second = serial()
  rmSync(path)
  t.match(
    await rig.run('fabric', yaml),
    { code: 0, stdout: /^wrote/ },
    'one that the registry lost is put there',
  )
  t.ok(serial() > second)
  writeFileSync(yaml, 'fabric: prod\nunderlays: [{ name: internet, mtu: 1400 }]\n')
  t.match(await rig.run('fabric', yaml), { code: 0, stdout: /^wrote/ })
})

void t.test('mistakes change nothing', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  t.match(await rig.run('show'), { code: 2, stderr: /there is no authority \(linkspan ca init/ })
  await rig.json('init', 'prod', '--no-passphrase')
  mkdirSync(rig.registry)
  const request = rig.put(requestDocument(1))
  const early = await rig.run('issue', 'g1', '--registry', rig.registry)
  t.match(early, { code: 2, stderr: /signed no fabric document yet.*ca fabric FILE\.yml/ })
  const mistyped = join(rig.directory, 'registri/prod')
  rig.file('fabric.yml', 'fabric: prod\n')
  const yaml = join(rig.directory, 'fabric.yml')
  const nowhere = await rig.run('fabric', yaml, '--registry', mistyped)
  t.match(nowhere, { code: 2, stdout: '', stderr: /registri\/prod: neither it nor .*registri exists/ })
  await rig.json('fabric', yaml, '--registry', rig.registry)
  const path = join(rig.registry, 'fabric.jws')
  const before = readFileSync(path, 'utf8')
  const state = JSON.stringify(rig.state())

  rig.put(requestDocument(5, { identity: identityOf('g6') }))
  rig.put(requestDocument(7), identityKeyOf('g7'))
  const altered = readFileSync(request)
  altered.write(altered.at(-30) === 0x41 ? 'B' : 'A', altered.length - 30)
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [
      ['fabric', rig.file('bad.yml', 'fabric: prod\nunderlay: []\n')],
      /bad\.yml:2:1: unknown field "underlay"/,
    ],
    [
      ['fabric', rig.file('a.yml', 'fabric: prod\noverlay: { ipv4: 100.64.0.0/16 }\n')],
      /ranges cannot change/,
    ],
    [
      ['fabric', rig.file('b.yml', 'fabric: lab\n')],
      /b\.yml:1:9: fabric: this is the authority of the fabric prod/,
    ],
    [['fabric', rig.file('c.yml', 'fabric: prod\nserial: 7\n')], /c\.yml:2:1: serial is set by linkspan/],
    [['fabric', join(rig.directory, 'none.yml')], /cannot be read/],
    [['fabric', yaml, '--fresh-days', '0'], /--fresh-days: expected an integer, 1 to 3650, found "0"/],
    [['issue', 'g2'], /there is no request \(requests are there of: g1, g5, g7\)/],
    [['issue', 'g5'], /is not signed by the identity that it is for/],
    [['issue', rig.file('cut.jws', altered)], /signature of this request is not by the key/],
    [['issue', path], /is a fabric, expected a request/],
    [['issue', '/dev/zero'], /is not a regular file/],
    [['issue', './none.jws'], /there is no request: .*no such file/],
    [['issue', 'g1', '--identity', identityOf('g2')], /asks with the identity .*, not with the given one/],
    [['issue', 'g1', '--identity', 'x'], /expected an Ed25519 public key/],
    [['issue', 'g1', '--prefix', '127.0.0.0/8'], /loopback/],
    [['issue', 'g1', '--prefix', '0.0.0.0/0'], /needs the grant/],
    [['issue', 'g1', '--prefix', '100.127.1.0/24'], /overlay range/],
    [['issue', 'g1', '--prefix', '10.0.0.1/8'], /host bits/],
    [['issue', 'g1', '--plane', '4'], /0 to 3, found "4"/],
    [['issue', 'g1', '--plane', '01'], /0 to 3, found "01" \(.*without leading zeros/],
    [['issue', 'g1', '--number', '007'], /1 to 65534, found "007" \(.*without leading zeros/],
    [
      ['fabric', rig.file('d.yml', 'fabric: prod\nnetworks: [{ name: lan, vni: 0o17, kind: l2 }]\n')],
      /d\.yml:2:30: expected a decimal .*"0o17"/,
    ],
    [['issue', 'g1', '--number', '0'], /1 to 65534, found "0"/],
    [['issue', 'g1', '--days', '4000'], /1 to 3650/],
    [['issue', 'g1', '--grant', 'defaultroute'], /did you mean "defaultRoute"/],
    [['issue', 'g1', '--network', 'lam'], /no network "lam"/],
    [['issue', 'g1', '--plane', '1', '--plane', '2'], /--plane: is given twice/],
    [['issue', 'g1', '--prefx', '10.0.0.0/8'], /Unknown argument/],
    [['issue', 'g1', '--prefix', ''], /--prefix needs a value/],
    [['issue', '-'], /stdin: is empty/],
    [['init', 'Prod'], /expected a name of 1 to 63.*\(did you mean "prod"\?\)/],
    [['init', 'prod', '--registry', 'ftp://x'], /expected a URL such as .*found "ftp:\/\/x"/],
    [['init', 'prod', '--registry', 'https://bundles.example.com/prod'], /an https: registry is read-only/],
  ]
  for (const [line, says] of cases) {
    const result = await rig.run(...line)
    t.equal(result.code, 2, `${line.join(' ')}\n${result.stderr}`)
    t.match(result.stderr, says)
    t.equal(result.stdout, '')
  }
  t.equal(readFileSync(path, 'utf8'), before)
  t.notOk(existsSync(join(rig.registry, 'certificates')))
  t.equal(JSON.stringify(rig.state()), state)
  t.match(await rig.run('issue', 'g1', '--grant', 'defaultRoute', '--prefix', '0.0.0.0/0'), { code: 0 })
})

void t.test('requests in the name of somebody else', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin([1])
  const theirs = requestDocument(1, { identity: identityOf('thief') })
  const folder = join(rig.registry, 'requests')
  writeFileSync(join(folder, 'other.jws'), sealed(theirs, identityKeyOf('thief')))
  const two = await rig.run('issue', 'g1')
  t.match(two, { code: 2, stderr: /2 requests have different identities: .*--identity KEY/ })
  // One that is signed by nobody it names is only remarked on.
  writeFileSync(join(folder, 'other.jws'), sealed(theirs))
  t.match(await rig.run('issue', 'g1'), { code: 0, stderr: /note: .*not signed by the identity/ })
  writeFileSync(join(folder, 'other.jws'), sealed(theirs, identityKeyOf('thief')))
  const chosen = await rig.json('issue', 'g1', '--replace', '--identity', identityOf('g1'))
  t.match(chosen, { payload: { identity: identityOf('g1') } })
})

void t.test('a gateway that was reinstalled', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin([1])
  const first = await rig.json('issue', 'g1', '--grant', 'shared')
  rig.put(requestDocument(1, { identity: identityOf('anew') }), identityKeyOf('anew'))
  t.match(await rig.run('issue', 'g1'), {
    code: 2,
    stderr: /with another identity key \(after a reinstall give --replace/,
  })
  const replaced = await rig.run('issue', 'g1', '--replace', '--json')
  t.match(replaced, { code: 0, stderr: `linkspan ca revoke --identity ${identityOf('g1')}` })
  const { payload } = JSON.parse(replaced.stdout) as { payload: { serial: number } }
  t.match(payload, { number: 1, plane: 0, identity: identityOf('anew'), grants: ['shared'] })
  t.ok(payload.serial > (first['payload'] as { serial: number }).serial)
})

void t.test('overlaps are told', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin([1, 2])
  await rig.json('issue', 'g1', '--prefix', '10.0.0.0/8')
  t.match(await rig.run('issue', 'g2'), {
    code: 0,
    stderr: /note: 10\.2\.0\.0\/16 overlaps 10\.0\.0\.0\/8 of g1/,
  })
  const same = await rig.run('issue', 'g2', '--replace', '--prefix', '10.0.0.0/8')
  t.match(same, { code: 2, stderr: /is certified to g1 of site s1 \(a prefix belongs to one site/ })
})

void t.test('several at once, each with its own number', async (t) => {
  const numbers = [1, 2, 3, 4, 5, 6]
  const rig = new AuthorityRig(t.testdir())
  await rig.begin(numbers)
  const added = await Promise.all(numbers.map((number) => rig.json('issue', `g${number}`)))
  const given = added.map(({ payload }) => payload as { number: number; serial: number })
  t.same(given.map(({ number }) => number).toSorted(), numbers)
  t.equal(new Set(given.map(({ serial }) => serial)).size, numbers.length, 'and its own serial')
  t.same(Object.values(rig.state()['numbers'] as object).toSorted(), numbers, 'and no number is forgotten')
  t.same(
    readdirSync(rig.ca).filter((name) => name.startsWith('.')),
    [],
  )
})

void t.test('files of the authority that others could touch', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin([1])
  const [key = ''] = rig.keys()
  chmodSync(key, 0o644)
  t.match(await rig.run('issue', 'g1'), { code: 5, stderr: /mode 0644: others than its owner could read/ })
  chmodSync(key, 0o600)
  chmodSync(rig.ca, 0o770)
  t.match(await rig.run('issue', 'g1'), { code: 5, stderr: /mode 0770: others than its owner can write/ })
  chmodSync(rig.ca, 0o700)
  rmSync(key)
  const away = await rig.run('init', 'prod', '--no-passphrase')
  t.match(away, { code: 1, stderr: /book of an authority whose key is not here/ })
})

void t.test('no private key in anything that is said', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin([1])
  const said = await Promise.all([
    rig.run('issue', 'g1', '--json'),
    rig.run('show', '--json'),
    rig.run('show'),
    rig.run('issue', 'g1'),
  ])
  const pem = readFileSync(rig.keys()[0] ?? '', 'utf8')
  const der = Buffer.from(pem.replace(/-----.*-----|\n/g, ''), 'base64')
  const seed = der.subarray(-32)
  t.ok(privateKeyOf(seed), 'the last 32 bytes are the key')
  const text = said.map(({ stdout, stderr }) => stdout + stderr).join('')
  for (const form of ['base64url', 'base64', 'hex'] as const)
    t.notOk(text.includes(seed.toString(form).slice(0, 20)))
})
