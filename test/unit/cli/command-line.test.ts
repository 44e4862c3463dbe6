/** The command line as a table: what is mistyped never runs. */
import { spawnSync } from 'node:child_process'
import { createServer } from 'node:http'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { spawn } from 'node:child_process'
import t from 'tap'
import { plainAgent, plainStatus } from '../../../agent/cli/plain.ts'
import { shortDirectory } from '../../support/short-directory.ts'

const main = fileURLToPath(new URL('../../../agent/main.js', import.meta.url))

interface Run {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

function linkspan(...args: readonly string[]): Run {
  return spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', timeout: 20_000 })
}

void t.test('what is mistyped does not run', (t) => {
  const directory = shortDirectory(t)
  const at = ['--run-directory', directory]
  // Each of these would say something else, or exit otherwise, if its command ran.
  const cases: readonly (readonly [string, readonly string[], RegExp])[] = [
    ['no command', [], /Which command/],
    ['a mistyped command', ['statsu'], /Did you mean status/],
    ['a mistyped flag', ['status', ...at, '--jsn'], /Unknown argument: jsn/],
    ['a mistyped flag', ['plan', ...at, '--exit-cod'], /Unknown argument/],
    ['a mistyped flag', ['down', ...at, '--dry-run', '--jsn'], /Unknown argument: jsn/],
    ['a mistyped flag', ['agent', '--confg', '/nonexistent'], /Unknown argument: confg/],
    ['a mistyped value', ['status', ...at, '--json=flase'], /--json is on or off/],
    ['a mistyped value', ['plan', ...at, '--exit-code=flase'], /--exit-code is on or off/],
    ['a mistyped value', ['down', ...at, '--dry-run', '--json=flase'], /--json is on or off/],
    ['a value with no', ['down', ...at, '--dry-run', '--no-json=true'], /json/],
    ['a value behind a flag', ['plan', ...at, '--json', 'flase'], /Unknown argument: flase/],
    ['a word too many', ['status', ...at, 'a', 'b'], /Unknown argument: b/],
    ['a word too many', ['peers', ...at, 'a'], /Unknown argument: a/],
    ['a missing value', ['agent', '--config'], /config/],
    ['an empty value', ['agent', '--config', ''], /--config needs a value/],
    ['an empty value', ['status', '--run-directory', ''], /--run-directory needs a value/],
    [
      'an empty value',
      ['down', ...at, '--dry-run', '--state-directory', ''],
      /--state-directory needs a value/,
    ],
    ['an empty value', ['registry', 'list', '--registry', ''], /--registry needs a value/],
    ['an empty value', ['ca', 'issue', 'g1', '--prefix', ''], /--prefix needs a value/],
    ['an option twice', ['ca', 'issue', 'g1', '--ca=/a', '--ca=/b'], /--ca: is given twice/],
    ['an empty word', ['status', ...at, ''], /<gateway> needs a value/],
    ['a file without an end', ['plan', ...at, '--config', '/dev/zero'], /zero: is not a regular file/],
    ['a flag twice', ['status', ...at, '--json', '--json'], /--json: is given twice/],
    ['a flag and its opposite', ['down', ...at, '--dry-run', '--no-dry-run'], /--dry-run: is given twice/],
    ['an option twice', ['status', ...at, ...at], /--run-directory: is given twice/],
    ['an option twice', ['agent', '--config=/a', '--config', '/b'], /--config: is given twice/],
    ['an option twice', ['registry', 'list', '--registry=a', '--registry=b'], /--registry: is given twice/],
    ['an option twice', ['keys', 'show', '--json', '--json'], /--json: is given twice/],
    ['a wrong choice', ['agent', '--wireguard', 'kernle'], /kernel/],
    ['a command without its command', ['registry'], /need|Which/],
    ['a command without its command', ['ca'], /need|Which/],
    ['a mistyped flag of a command below', ['ca', 'issue', 'g1', '--plan', '0'], /plan/],
    ['a mistyped flag of a command below', ['registry', 'list', '--registy', directory], /registy/],
  ]
  for (const [name, args, said] of cases) {
    const { status, stdout, stderr } = linkspan(...args)
    t.equal(status, 2, `${name}: linkspan ${args.join(' ')}`)
    t.match(stderr, said)
    t.equal(stdout, '')
  }
  t.end()
})

void t.test('exit codes', (t) => {
  const directory = shortDirectory(t)
  for (const command of ['status', 'peers', 'routes', 'events']) {
    const { status, stderr } = linkspan(command, '--run-directory', directory)
    t.equal(status, 4, `${command} without an agent`)
    t.match(stderr, /no agent listens there \(systemctl start linkspan\)/)
  }
  const agent = linkspan('agent', '--config', path.join(directory, 'config.yml'))
  t.equal(agent.status, 2)
  t.match(agent.stderr, /config\.yml: cannot be read/)
  t.match(linkspan('--version'), { status: 0, stdout: /^[0-9]+\.[0-9]+\.[0-9]+/ })
  const help = linkspan('--help')
  t.equal(help.status, 0)
  for (const command of [
    'agent',
    'plan',
    'status',
    'peers',
    'routes',
    'events',
    'down',
    'ca',
    'registry',
    'keys',
  ]) {
    t.match(help.stdout, `linkspan ${command}`)
  }
  t.end()
})

void t.test('a reader that goes away', async (t) => {
  const directory = shortDirectory(t)
  const row = { prefix: '10.0.0.0/24', type: 'unicast' }
  const server = createServer((_request, response) => {
    response.end(JSON.stringify({ schema: 1, routes: Array.from({ length: 50_000 }, () => row) }))
  })
  await new Promise<void>((resolve) => server.listen(path.join(directory, 'linkspan.sock'), resolve))
  const child = spawn(process.execPath, [main, 'routes', '--run-directory', directory])
  let stderr = ''
  child.stderr.on('data', (piece: Buffer) => (stderr += piece.toString()))
  child.stdout.once('data', () => {
    child.stdout.destroy()
  })
  const code = await new Promise((resolve) => child.once('exit', resolve))
  t.equal(code, 0)
  t.equal(stderr, '')
  server.close()
  server.closeAllConnections()
})

void t.test('an agent that refuses says why', async (t) => {
  const directory = shortDirectory(t)
  const error = { code: 'permission', object: 'the socket', reason: 'is not for you', next: 'ask' }
  const server = createServer((_request, response) => {
    response.writeHead(500).end(JSON.stringify({ error }))
  })
  await new Promise<void>((resolve) => server.listen(path.join(directory, 'linkspan.sock'), resolve))
  const child = spawn(process.execPath, [main, 'peers', '--run-directory', directory])
  let stderr = ''
  child.stderr.on('data', (piece: Buffer) => (stderr += piece.toString()))
  t.equal(await new Promise((resolve) => child.once('exit', resolve)), 5)
  t.equal(stderr, 'linkspan: the socket: is not for you (ask)\n')
  server.close()
  server.closeAllConnections()
})

void t.test('the two commands that do without yargs', (t) => {
  t.same(plainStatus(['status']), { json: false, 'run-directory': '/run/linkspan' })
  t.same(plainStatus(['status', 'g2', '--json', '--run-directory', '/r']), {
    json: true,
    gateway: 'g2',
    'run-directory': '/r',
  })
  t.match(plainAgent(['agent', '--config', '/c', '--wireguard=kernel']), {
    config: '/c',
    wireguard: 'kernel',
    verbose: false,
    'state-directory': '/var/lib/linkspan',
  })
  const odd: readonly (readonly string[])[] = [
    ['peers'],
    ['status', '--help'],
    ['status', '--json=true'],
    ['status', '--json=flase'],
    ['status', 'a', 'b'],
    ['status', '--run-directory'],
    ['status', '--run-directory='],
    ['status', '--run-directory', ''],
    ['status', ''],
    ['status', '--json', '--json'],
    ['status', '--run-directory=/a', '--run-directory', '/b'],
    ['agent', '--config', ''],
    ['agent', '--config=/a', '--config=/b'],
    ['agent', '--verbose', '--verbose'],
    ['agent', 'x'],
    ['agent', '--config', '--verbose'],
    ['agent', '--wireguard', 'x'],
    ['agent', '--jsn'],
  ]
  for (const line of odd) {
    t.equal(plainStatus(line), undefined, line.join(' '))
    t.equal(plainAgent(line), undefined, line.join(' '))
  }
  t.end()
})
