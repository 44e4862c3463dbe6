import { pbkdf2 } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { exec, stdinFile } from '../../../agent/kernel/exec.ts'

await t.test('arguments go as they are, input is a file, the environment is empty', async (t) => {
  t.equal(await exec.run('printf', ['%s|', 'a b', '$HOME', '`id`', "'"]), "a b|$HOME|`id`|'|")
  t.equal(await exec.run('cat', [stdinFile], { input: 'héllo\n' }), 'héllo\n')
  const large = 'x'.repeat(3_000_000)
  t.equal((await exec.run('cat', [], { input: large })).length, large.length)
  t.equal(await exec.run('cat', []), '', 'no input is an empty one')
  process.env['LINKSPAN_SECRET'] = 'x'
  const names = (await exec.run('env', []))
    .trim()
    .split('\n')
    .map((line) => line.split('=')[0])
  t.same(names.sort(), ['LC_ALL', 'PATH'])
})

await t.test('the output of a quick program is whole, however busy the threads of Node are', async (t) => {
  let busy = true
  const work = (): void => {
    if (busy) pbkdf2('', '', 200_000, 64, 'sha512', work)
  }
  for (let i = 0; i < 8; i++) work()
  for (let i = 0; i < 5; i++) t.equal(await exec.run('cat', [], { input: `line ${i}` }), `line ${i}`)
  for await (const piece of exec.stream('printf', ['said'])) {
    await pause(100) // a reader that is slower than the program
    t.equal(piece, 'said')
  }
  busy = false
})

await t.test('a failure says program, exit code and stderr', async (t) => {
  await t.rejects(exec.run('ls', ['/no/such/file']), {
    code: 'exec',
    object: 'ls /no/such/file',
    reason: "ls: exit code 2: ls: cannot access '/no/such/file': No such file or directory",
  })
  await t.rejects(exec.run('ls', ['/no/such/file'], { quiet: true, object: 'thing' }), {
    object: 'thing',
    message: /^thing: ls: exit code 2$/,
  })
  const both = 'echo noise >&2; echo trouble; exit 3'
  await t.rejects(exec.run('sh', ['-c', both], { complaints: 'stdout' }), {
    message: /: sh: exit code 3: trouble$/,
  })
  await t.rejects(exec.run('ls', ['/no/such/file'], { complaints: 'stdout' }), {
    message: /cannot access/,
  })
  await t.rejects(exec.run('linkspan-no-such-program', []), {
    code: 'exec',
    next: 'install linkspan-no-such-program',
  })
})

await t.test('a deadline, an abort, a reader that leaves', async (t) => {
  await t.rejects(exec.run('sleep', ['60'], { timeoutMs: 50 }), { message: /no end after 50 ms/ })
  const controller = new AbortController()
  const running = exec.run('sleep', ['60'], { signal: controller.signal })
  setTimeout(() => {
    controller.abort(new Error('enough'))
  }, 20)
  await t.rejects(running, { message: 'enough' })
  await t.rejects(exec.run('true', [], { signal: controller.signal }), { message: 'enough' })
  for await (const piece of exec.stream('yes', [])) {
    t.match(piece, /^y\n/)
    break
  }
})
