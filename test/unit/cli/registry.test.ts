/** `linkspan registry` and `linkspan keys` as processes: files, output, exit codes. */
import { execFile } from 'node:child_process'
import { mkdir, readdir, readFile, rmdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { KeyStore } from '../../../agent/daemon/key-store.ts'
import { formatDocument } from '../../../agent/model/document.ts'
import { certificateDocument, recordDocument, requestDocument } from '../../support/documents.ts'

t.setTimeout(300_000) // a process for each command, and slow machines

const main = fileURLToPath(new URL('../../../agent/main.js', import.meta.url))

function linkspan(...line: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...line], { timeout: 20_000 }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1
      resolve({ code, stdout, stderr })
    })
  })
}

void t.test('from nothing to a registry', async (t) => {
  const directory = join(
    t.testdir({ 'fabric.yml': 'fabric: prod\nnetworks: [{ name: lan, vni: 7001, kind: l2 }]\n' }),
    'registry',
  )
  const at = ['--registry', directory]
  const yaml = join(directory, '../fabric.yml')

  const fabric = await linkspan('registry', 'fabric', yaml, ...at)
  t.equal(fabric.code, 0)
  t.match(
    fabric.stdout,
    /^made .*\/registry\nwrote .*fabric\.json: fabric prod, serial \d+, underlays internet\n$/,
  )
  t.equal(fabric.stderr, '')
  const again = await linkspan('registry', 'fabric', yaml, ...at)
  t.match(again.stdout, /^wrote /)
  const mistyped = join(directory, 'registri/prod')
  const nowhere = await linkspan('registry', 'fabric', yaml, '--registry', mistyped)
  t.match(nowhere, { code: 2, stdout: '', stderr: /registri\/prod: neither it nor .*registri exists/ })

  await mkdir(join(directory, 'requests'))
  for (const number of [1, 2]) {
    await writeFile(join(directory, `requests/g${number}.json`), formatDocument(requestDocument(number)))
  }
  const added = await linkspan(
    'registry',
    'add',
    'g1',
    ...at,
    '--prefix',
    '10.1.0.0/16:24',
    '--prefix',
    'fd00::/48',
    '--network',
    'lan',
    '--json',
  )
  t.equal(added.code, 0)
  t.match(JSON.parse(added.stdout), {
    schema: 1,
    type: 'certificate',
    payload: {
      number: 1,
      plane: 0,
      prefixes: [{ prefix: '10.1.0.0/16', maxLength: 24 }, { prefix: 'fd00::/48' }],
      networks: [{ name: 'lan' }],
    },
  })
  const byFile = await linkspan('registry', 'add', join(directory, 'requests/g2.json'), ...at)
  t.equal(byFile.code, 0)
  t.same(JSON.parse(await readFile(join(directory, 'numbers.json'), 'utf8')), { g1: 1, g2: 2 })

  await mkdir(join(directory, 'records'))
  await writeFile(join(directory, 'records/g1.json'), formatDocument(recordDocument(1)))
  const list = await linkspan('registry', 'list', ...at)
  t.equal(list.code, 0)
  t.match(list.stdout, /^fabric prod, serial \d+, 1 gateways in force\n/)
  t.match(list.stdout, /\ng1 +1 +s1 +0 +1 +in force\n/)
  t.match(list.stdout, /\ng2 +2 +s2 +0 +0 +no record yet\n/)

  await writeFile(
    join(directory, 'records/g2.json'),
    '{"typ": "linkspan-record",\n "payload": {"fabrik": 1}}',
  )
  const refused = await linkspan('registry', 'list', ...at)
  t.equal(refused.code, 3)
  t.match(
    refused.stderr,
    /records\/g2\.json:2:14: payload\.fabrik: unknown field "fabrik"\n.*\n +\| +\^\n +hint: did you mean "fabric"/,
  )
  const json = await linkspan('registry', 'list', ...at, '--json')
  t.equal(json.code, 3)
  t.match(JSON.parse(json.stdout), {
    schema: 1,
    gateways: [{ gateway: 'g1' }, { state: 'refused' }],
    refusals: [{ rule: 'document' }],
  })
  t.equal(json.stderr, '')
})

void t.test('mistakes change nothing', async (t) => {
  const directory = t.testdir({
    'fabric.yml': 'fabric: prod\n',
    'other.yml': 'fabric: prod\noverlay: { ipv4: 100.64.0.0/16 }\n',
    'bad.yml': 'fabric: prod\nunderlay: []\n',
    requests: { 'g1.json': formatDocument(requestDocument(1)) },
  })
  const at = ['--registry', directory]
  const early = await linkspan('registry', 'add', 'g1', ...at)
  t.equal(early.code, 2)
  t.match(early.stderr, /no fabric document.*registry fabric FILE\.yml/)
  t.equal((await linkspan('registry', 'fabric', join(directory, 'fabric.yml'), ...at)).code, 0)
  const before = await readFile(join(directory, 'fabric.json'), 'utf8')
  for (const [line, says] of [
    [['fabric', join(directory, 'bad.yml')], /bad\.yml:2:1: unknown field "underlay"/],
    [['fabric', join(directory, 'other.yml')], /overlay ranges cannot change/],
    [['fabric', join(directory, 'none.yml')], /cannot be read/],
    [['add', 'g2'], /there is no request.*requests are there of: g1/],
    [['add', join(directory, 'fabric.json')], /is a fabric, expected a request/],
    [['add', 'g1', '--prefix', '127.0.0.0/8'], /loopback/],
    [['add', 'g1', '--prefix', '0.0.0.0/0'], /needs the grant/],
    [['add', 'g1', '--prefix', '100.127.1.0/24'], /overlay range/],
    [['add', 'g1', '--prefix', '10.0.0.1/8'], /host bits/],
    [['add', 'g1', '--plane', '4'], /0 to 3, found "4"/],
    [['add', 'g1', '--plane', '01'], /0 to 3, found "01" \(.*without leading zeros/],
    [['add', 'g1', '--number', '007'], /1 to 65534, found "007" \(.*without leading zeros/],
    [['add', 'g1', '--number', '0'], /1 to 65534, found "0"/],
    [['add', 'g1', '--plane', '1', '--plane', '2'], /--plane: is given twice/],
    [['add', '/dev/zero'], /is not a regular file/],
    [['add', 'g1', '--prefx', '10.0.0.0/8'], /Unknown argument/],
  ] as const) {
    const result = await linkspan('registry', ...line, ...at)
    t.equal(result.code, 2, line.join(' '))
    t.match(result.stderr, says)
    t.equal(result.stdout, '')
  }
  t.equal(await readFile(join(directory, 'fabric.json'), 'utf8'), before)
  await t.rejects(stat(join(directory, 'certificates')))
  await t.rejects(stat(join(directory, 'numbers.json')))
  t.equal((await linkspan('registry', 'list', '--registry', join(directory, 'none'))).code, 1)
})

void t.test('several at once, each with its own number', async (t) => {
  const numbers = [1, 2, 3, 4, 5, 6]
  const directory = t.testdir({
    'fabric.yml': 'fabric: prod\n',
    requests: Object.fromEntries(
      numbers.map((number) => [`g${number}.json`, formatDocument(requestDocument(number))]),
    ),
  })
  const at = ['--registry', directory]
  t.equal((await linkspan('registry', 'fabric', join(directory, 'fabric.yml'), ...at)).code, 0)
  const added = await Promise.all(
    numbers.map((number) => linkspan('registry', 'add', `g${number}`, ...at, '--json')),
  )
  const given = added.map(({ code, stdout, stderr }) => {
    t.equal(code, 0, stderr)
    return (JSON.parse(stdout) as { payload: { number: number } }).payload.number
  })
  t.same(given.toSorted(), numbers)
  const kept = JSON.parse(await readFile(join(directory, 'numbers.json'), 'utf8')) as object
  t.same(Object.values(kept).toSorted(), numbers, 'and no number is forgotten')
  t.same(
    (await readdir(directory)).filter((name) => name.startsWith('.')),
    [],
  )
})

void t.test('what cannot be read is told, and nothing is given out', async (t) => {
  const directory = t.testdir({
    'fabric.yml': 'fabric: prod\n',
    requests: { 'g1.json': formatDocument(requestDocument(1)) },
    certificates: { 'g7.json': {} },
  })
  const at = ['--registry', directory]
  const fabric = await linkspan('registry', 'fabric', join(directory, 'fabric.yml'), ...at)
  t.match(fabric, { code: 0, stderr: /^unreadable: .*g7\.json: is not a regular file/ })
  const list = await linkspan('registry', 'list', ...at)
  t.match(list, { code: 1, stderr: /^unreadable: .*certificates\/g7\.json: is not a regular file/ })
  const json = await linkspan('registry', 'list', ...at, '--json')
  t.equal(json.code, 1)
  t.match(JSON.parse(json.stdout), { unreadable: [{ object: join(directory, 'certificates/g7.json') }] })
  const add = await linkspan('registry', 'add', 'g1', ...at)
  t.match(add, {
    code: 1,
    stdout: '',
    stderr: /needs all documents, and 1 cannot be read:\n .*g7\.json: is not/,
  })
  await t.rejects(stat(join(directory, 'numbers.json')))
  await rmdir(join(directory, 'certificates/g7.json'))
  t.equal((await linkspan('registry', 'add', 'g1', ...at)).code, 0)
})

void t.test('a certificate cut off may hold what is given out next', async (t) => {
  const whole = formatDocument(certificateDocument(7))
  const directory = t.testdir({
    'fabric.yml': 'fabric: prod\n',
    requests: Object.fromEntries(
      [1, 7].map((number) => [`g${number}.json`, formatDocument(requestDocument(number))]),
    ),
    // At a brace: what ends otherwise is waited for.
    certificates: { 'g7.json': whole.slice(0, whole.indexOf('}') + 1) },
    records: { 'g8.json': '{}' },
  })
  const at = ['--registry', directory]
  t.equal((await linkspan('registry', 'fabric', join(directory, 'fabric.yml'), ...at)).code, 0)
  const add = await linkspan('registry', 'add', 'g1', ...at)
  t.match(add, {
    code: 1,
    stdout: '',
    stderr: /needs all documents, and 1 cannot be read:\n .*certificates\/g7\.json:[0-9]+:[0-9]+: /,
  })
  await t.rejects(stat(join(directory, 'numbers.json')))
  t.equal((await linkspan('registry', 'add', 'g7', ...at)).code, 1, 'nor is it overwritten')
  t.equal(
    (await linkspan('registry', 'add', 'g7', '--replace', ...at)).code,
    0,
    'but where that is asked for',
  )
  t.equal((await linkspan('registry', 'add', 'g1', ...at)).code, 0, 'a record holds nothing')
  await writeFile(join(directory, 'fabric.json'), '{"typ": "linkspan-fabric"')
  const none = await linkspan('registry', 'add', 'g1', '--replace', ...at)
  t.match(none, { code: 2, stderr: /no fabric document that counts:\n .*fabric\.json:1:/ })
})

void t.test('keys show: public keys, and nothing else', async (t) => {
  const directory = t.testdir()
  const none = await linkspan('keys', 'show', '--state-directory', directory)
  t.equal(none.code, 1)
  t.match(none.stderr, /makes them at its first start|no such file/)
  const keys = await KeyStore.open(directory)
  const { stdout, code } = await linkspan('keys', 'show', '--state-directory', directory, '--json')
  t.equal(code, 0)
  t.strictSame(JSON.parse(stdout), {
    schema: 1,
    identity: keys.identity,
    generation: 0,
    tunnelKeys: keys.tunnelKeys(4),
  })
  const text = await linkspan('keys', 'show', '--state-directory', directory)
  t.match(text.stdout, `identity    ${keys.identity}\n`)
  for (let i = 0; i < 32; i++) t.notMatch(`${stdout}${text.stdout}`, keys.privateKey(i).slice(0, 40))
})
