/** Passphrases: from files and pipes, from a terminal, and never from nowhere. */
import { execFile, execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { newPassphrase, withPassphrase } from '../../../agent/cli/passphrase.ts'
import { linkspan } from '../../support/authority.ts'

const main = fileURLToPath(new URL('../../../agent/main.js', import.meta.url))

t.setTimeout(300_000) // processes, and slow machines

void t.test('the first line of a file', async (t) => {
  const directory = t.testdir({ pass: 'two words\nnot this\n', bare: 'x', windows: 'x\r\n', wide: 'ü ' })
  const read = async (name: string): Promise<string | undefined> =>
    (await newPassphrase({ file: join(directory, name), none: false }, 'the key'))?.toString()
  t.equal(await read('pass'), 'two words')
  t.equal(await read('bare'), 'x')
  t.equal(await read('windows'), 'x')
  t.equal(await read('wide'), 'ü ', 'blanks count')
})

void t.test('files that hold none', async (t) => {
  const directory = t.testdir({ empty: '', line: '\nsecond\n', long: 'x'.repeat(1025), folder: {} })
  for (const [name, says] of [
    ['empty', /is empty/],
    ['line', /is empty/],
    ['long', /more than 1024 bytes/],
    ['folder', /neither a regular file nor a pipe|EISDIR/],
    ['none', /cannot be read/],
  ] as const) {
    const source = { file: join(directory, name), none: false }
    await t.rejects(
      newPassphrase(source, 'the key'),
      { code: 'usage', object: source.file, reason: says },
      name,
    )
  }
  await t.rejects(newPassphrase({ file: '/dev/zero', none: false }, 'the key'), { message: /neither/ })
  await t.rejects(newPassphrase({ file: join(directory, 'long'), none: true }, 'the key'), {
    message: /contradicts/,
  })
  t.equal(await newPassphrase({ none: true }, 'the key'), undefined)
})

void t.test('a pipe is read, too', async (t) => {
  const fifo = join(t.testdir(), 'fifo')
  execFileSync('mkfifo', [fifo])
  const writer = execFile('sh', ['-c', 'exec echo from a pipe >"$1"', 'sh', fifo])
  t.equal((await newPassphrase({ file: fifo, none: false }, 'the key'))?.toString(), 'from a pipe')
  t.equal(writer.exitCode ?? 0, 0)
})

void t.test('a wrong one from a file is not tried again, and not told', async (t) => {
  const file = join(t.testdir({ pass: 'secret words\n' }), 'pass')
  let seen: Buffer | undefined
  const opened = withPassphrase({ file, none: false }, 'k.pem', (passphrase) => {
    seen = passphrase
    return passphrase.toString() === 'other' ? 'open' : undefined
  })
  await t.rejects(opened, { code: 'permission', object: 'k.pem', reason: /wrong passphrase/ })
  t.notMatch(await opened.catch(String), /secret/)
  t.ok(
    seen?.every((byte) => byte === 0),
    'and does not stay in memory',
  )
  const fitting = await withPassphrase({ file, none: false }, 'k.pem', (text) => text.toString())
  t.equal(fitting, 'secret words')
})

void t.test('without a terminal somebody has to say what to do', async (t) => {
  const directory = t.testdir()
  const result = await linkspan(['ca', 'init', 'prod', '--ca', join(directory, 'ca')])
  t.match(result, { code: 2, stdout: '', stderr: /no terminal.*--passphrase-file FILE, or --no-passphrase/ })
  t.same(readdirSync(directory), [], 'and nothing is made')
})

/** Runs `linkspan` on a terminal of its own; types each answer when a question ends in a colon. */
function onTerminal(
  line: readonly string[],
  answers: readonly string[],
): Promise<{ code: number; shown: string }> {
  return new Promise((resolve) => {
    const words = [process.execPath, main, ...line].map((word) => `'${word}'`).join(' ')
    const child = execFile('script', ['-qefc', words, '/dev/null'], { timeout: 60_000 }, (error) => {
      resolve({ code: error === null ? 0 : Number(error.code), shown })
    })
    let shown = ''
    let typed = 0
    child.stdout?.on('data', (chunk: string) => {
      shown += chunk
      const asked = shown.split(/: /).length - 1
      while (typed < asked && typed < answers.length) child.stdin?.write(answers[typed++] ?? '')
    })
  })
}

void t.test('typed at a terminal', async (t) => {
  const directory = t.testdir()
  const ca = join(directory, 'ca')
  const init = ['ca', 'init', 'prod', '--ca', ca]
  // Two that differ; then one with a character taken back, a line taken back, and a character of two bytes.
  const made = await onTerminal(init, ['a\r', 'b\r', 'sesaxm\x7f\x7fm\x15sesümx\x7f\r', 'sesüm\r'])
  t.equal(made.code, 0, made.shown)
  t.match(made.shown, /two different ones/)
  t.match(made.shown, /\nauthority: [\w-]{43}\r/)
  t.notMatch(made.shown, /ses/, 'nothing is echoed')
  const [key = ''] = readdirSync(ca).filter((name) => name.endsWith('.pem'))
  t.match(readFileSync(join(ca, key), 'utf8'), /BEGIN ENCRYPTED/)
  t.equal(statSync(join(ca, key)).mode & 0o777, 0o600)

  const yaml = join(directory, 'fabric.yml')
  writeFileSync(yaml, 'fabric: prod\n')
  const fabric = ['ca', 'fabric', yaml, '--ca', ca, '--registry', join(directory, 'registry')]
  const signed = await onTerminal(fabric, ['wrong\r', 'sesüm\r'])
  t.equal(signed.code, 0, signed.shown)
  t.match(signed.shown, /Wrong passphrase\.[^]*wrote .*fabric\.jws/)
  const thrice = await onTerminal(fabric, ['1\r', '2\r', '3\r'])
  t.equal(thrice.code, 5)
  t.match(thrice.shown, /wrong passphrase/)
  t.match(await onTerminal(fabric, ['\x03']), { code: 130 })

  const plain = await onTerminal([...init.slice(0, -1), join(directory, 'plain')], ['\r'])
  t.match(plain, { code: 0, shown: /stored unencrypted/ })
})
