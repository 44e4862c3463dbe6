/**
 * The command line before a whole agent: exit codes, messages with a place, typing mistakes that must not run anything,
 * JSON, closed pipes, and no key anywhere but in its file.
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { seal } from '../../agent/trust/envelope.ts'
import { authorityKey, keyOf } from '../support/documents.ts'
import { dump, dumpDiff } from '../support/dump.ts'
import { guest, startSettled } from '../support/fault.ts'
import { isolated } from '../support/isolate.ts'
import { makePair } from '../support/pair.ts'
import { repository } from '../support/repository.ts'

const main = fileURLToPath(new URL('../../agent/main.js', import.meta.url))

await isolated(import.meta.url, async (directory) => {
  const { lab, left, right } = await makePair(directory)
  const { machine } = left
  const configFile = machine.path('/etc/linkspan/config.yml')
  const config = readFileSync(configFile, 'utf8')
  const whole = dump(machine)
  const ca = path.join(directory, 'ca')
  const code = (...args: readonly string[]): number => left.cli(...args).status

  await t.test('a typing mistake never runs the command', (t) => {
    for (const [args, says] of [
      [['down', '--dryrun'], /dryrun/],
      [['down', '--dry-run=flase'], /--dry-run is on or off.*"--dry-run=flase"/],
      [['down', '--json=1'], /--json is on or off/],
      [['down', 'everything'], /everything/],
      [['dwon'], /down/],
      [[], /Which command/],
      [['status', '--json=flase'], /--json is on or off/],
      [['status', '--run-directory='], /--run-directory needs a value/],
      [['status', 'nobody-there'], /is no peer of this gateway.*peers are: gw-2/],
      [['agent', '--verbos'], /verbos/],
      [['agent', '--config='], /--config needs a value/],
      [['agent', '--wireguard', 'kernal'], /kernal/],
      [['down', '--dry-run', 'flase'], /flase/],
      [['keys', 'shwo'], /shwo|show/],
      [['ca', 'issue', 'gw-1', '--replace', '--ca', ca, '--registry', lab.registry, '--plane=x'], /plane.*x/],
    ] as const) {
      const { status, stdout, stderr } = left.cli(...args)
      t.equal(status, 2, `${args.join(' ')}: ${stderr.trim()}`)
      t.match(stderr, says)
      t.equal(stdout, '', 'nothing on stdout')
    }
    t.ok(left.running, 'the agent runs')
    t.strictSame(dumpDiff(whole, dump(machine)), [], 'the kernel state is the same')
    t.end()
  })

  await t.test('a mistake in config.yml is shown where it is', (t) => {
    for (const [wrong, place, reason] of [
      ['prefixes: ["10.1.0.0/16"]', 'prefixes: ["10.1.2.3/16"]', /:6:12: .*host bits/],
      ['prefixes: ["10.1.0.0/16"]', 'prefixes: ["010.1.0.0/16"]', /:6:12: .*(octal|leading zero)/],
      ['prefixes: ["10.1.0.0/16"]', 'prefixes: ["10.1.0.0/33"]', /:6:12: /],
      ['fabric: lab', 'fabric: lab\nfabric: lub', /:2:1: .*(unique|twice)/i],
      ['authority: ', 'authority: x', /:2:12: .*43 characters of base64url/],
      ['authority: ', '# authority: ', /:1:1: the key "authority" is missing/],
      ['prefixes:', 'prefixs:', /:6:1: unknown key "prefixs"[^]*did you mean "prefixes"/],
      ['gateway: gw-1', 'gateway: "gw/../1"', /:4:10: .*expected a name/],
      ['gateway: gw-1', 'gateway: "gw\\n1"', /:4:10: .*expected a name/],
      ['site: site-1', 'site: [', /:\d+:\d+: /],
      ['registry: file', 'registry: etcd', /:5:11: .*expected hosts such as/],
    ] as const) {
      // Only the first prefix stays, so that columns are known.
      const simple = config.replace(/prefixes: .*/, 'prefixes: ["10.1.0.0/16"]')
      const changed = simple.replace(wrong, () => place)
      t.not(changed, simple, `${place}: the text was changed`)
      writeFileSync(configFile, changed)
      const { status, stderr } = left.cli('agent')
      t.equal(status, 2, stderr.trim())
      t.match(stderr, new RegExp(`/etc/linkspan/config\\.yml${reason.source}`, reason.flags))
      t.match(stderr, /\n +\d+ \| .*\n +\| +\^/, 'the line, and a caret under the place')
    }
    rmSync(configFile)
    t.equal(code('agent'), 2, 'no configuration')
    writeFileSync(configFile, config)
    t.strictSame(dumpDiff(whole, dump(machine)), [], 'the kernel state is the same')
    t.end()
  })

  await t.test('JSON has a schema, and exit codes tell how it is', async (t) => {
    for (const args of [
      ['status'],
      ['status', 'gw-2'],
      ['peers'],
      ['routes'],
      ['plan'],
      ['down', '--dry-run'],
      ['keys', 'show'],
      ['registry', 'list', '--registry', lab.registry],
    ]) {
      const { status, stdout, stderr } = left.cli(...args, '--json')
      t.equal(status, 0, `${args.join(' ')} --json ${stderr}`)
      t.equal((JSON.parse(stdout) as { schema?: unknown }).schema, 1)
    }
    const events = left.cli('events', '--json')
    for (const line of events.stdout.trim().split('\n')) t.ok(JSON.parse(line), 'each event is JSON')
    t.equal(code('plan', '--exit-code'), 0, 'nothing to do')
    t.equal(code('--help'), 0)

    const bad = path.join(lab.registry, 'records', 'bad.jws')
    writeFileSync(bad, seal('record', '{ "fabric": }', keyOf('anybody')))
    for (let i = 0; i < 200 && (await left.status())?.health === 'ok'; i++) await pause(50)
    const degraded = left.cli('status')
    t.equal(degraded.status, 3, 'degraded')
    t.match(degraded.stdout, /bad\.jws:1:13: refused: /)
    rmSync(bad)

    // The repository may lie where nobody may go.
    machine.run('mkdir', '/run/repository')
    machine.run('mount', '--bind', repository, '/run/repository')
    const open = (file: string): string => file.replace(repository, '/run/repository')
    const as = (...args: readonly string[]): number => {
      const user = ['--reuid=65534', '--regid=65534', '--clear-groups', '--']
      return machine.attempt('setpriv', ...user, open(process.execPath), open(main), ...args).status
    }
    for (const args of [
      ['status'],
      ['peers'],
      ['routes'],
      ['events'],
      ['plan'],
      ['down'],
      ['keys', 'show'],
    ]) {
      t.equal(as(...args), 5, `${args.join(' ')} as nobody`)
    }
    t.ok(left.running, 'the agent runs')
    t.strictSame(dumpDiff(whole, dump(machine)), [], 'the kernel state is the same')
  })

  await t.test('a reader that has enough is no failure', (t) => {
    for (const args of ['status --json', 'plan', 'registry list --help']) {
      const { stdout, stderr } = machine.attempt(
        'bash',
        '-c',
        `"${process.execPath}" "${main}" ${args} | true; echo "\${PIPESTATUS[0]}"`,
      )
      t.equal(stdout.trim(), '0', args)
      t.notMatch(stderr, /EPIPE|Error/)
    }
    t.end()
  })

  await t.test('status answers at once', (t) => {
    const best = (work: () => void): number => {
      const times = Array.from({ length: 5 }, () => {
        const began = performance.now()
        work()
        return performance.now() - began
      })
      return Math.min(...times)
    }
    const bare = best(() => machine.attempt(process.execPath, '-e', '0'))
    const status = best(() => left.cli('status'))
    const text = `${Math.round(status)} ms; node alone takes ${Math.round(bare)} ms`
    t.ok(status <= 200 || status <= 4 * bare, text)
    t.end()
  })

  await t.test('no key leaves its file', async (t) => {
    const secrets = secretsOf(left.machine.path('/var/lib/linkspan/keys'))
    const tunnels = machine.run('wg', 'show', 'all', 'private-key').trim().split('\n')
    for (const line of tunnels) {
      const key = Buffer.from(line.split('\t')[1] ?? '', 'base64')
      t.equal(key.length, 32, 'a private key')
      secrets.push(...formsOf(key))
    }
    secrets.push(...formsOf(Buffer.from(authorityKey.export({ format: 'jwk' }).d ?? '', 'base64url')))
    const leaks = (text: string): boolean => secrets.some((secret) => text.includes(secret))

    // Arguments and environments of all that runs here, as often as can be while an agent makes everything anew.
    await left.stop()
    t.equal(code('down'), 0)
    let looks = 0
    let leaked = ''
    let running = true
    const watch = async (): Promise<void> => {
      while (running) {
        for (const text of processTexts()) if (leaks(text)) leaked = text
        looks++
        await nextTurn()
      }
    }
    const watching = watch()
    await startSettled(left)
    await left.untilUp(1, guest ? 120 : 30)
    running = false
    await watching
    t.equal(leaked, '', `not in arguments or environments (${looks} looks)`)
    const control = machine.spawn('sh', ['-c', 'sleep 5; true', String(secrets.at(-1))])
    await pause(300)
    t.ok(processTexts().some(leaks), 'control: a key in an argument is seen')
    control.kill('SIGKILL')

    for (const args of [
      ['status'],
      ['status', '--json'],
      ['status', 'gw-2'],
      ['peers', '--json'],
      ['routes', '--json'],
      ['events', '--json'],
      ['plan', '--json'],
      ['down', '--dry-run'],
      ['keys', 'show', '--json'],
    ]) {
      const { stdout, stderr } = left.cli(...args)
      t.notOk(leaks(stdout + stderr), `not in the output of ${args.join(' ')}`)
    }
    const metrics = machine.attempt('curl', '-s', 'http://127.0.0.1:9586/metrics').stdout
    t.match(metrics, /linkspan_/, 'there are metrics')
    t.notOk(leaks(metrics), 'not in the metrics')
    t.notOk(leaks(left.log), 'not in the log')
    t.match(left.log, /first-audit/, 'there is a log')
    for (const folder of [lab.registry, machine.path('/run/linkspan'), machine.path('/var/lib/linkspan')]) {
      for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
        const file = path.join(entry.parentPath, entry.name)
        if (!entry.isFile() || file.includes('/keys/')) continue
        t.notOk(leaks(readFileSync(file, 'latin1')), `not in ${entry.name}`)
      }
    }
  })

  await t.test('without an agent', async (t) => {
    await left.stop()
    for (const args of [['status'], ['peers'], ['events']]) {
      const { status, stderr } = left.cli(...args)
      t.equal(status, 4, args.join(' '))
      t.match(stderr, /no agent listens there \(systemctl start linkspan\)/)
    }
    t.equal(code('plan', '--exit-code'), 0, 'plan looks for itself: nothing to do')
    machine.ip('route del 10.2.0.0/16 table 19539')
    const before = dump(machine)
    t.equal(code('plan'), 0)
    const pending = left.cli('plan', '--exit-code')
    t.equal(pending.status, 6, pending.stderr)
    t.match(pending.stdout, /^ip route add 10\.2\.0\.0\/16 .*\n$/, 'one line as `ip` would say it')
    t.strictSame(dumpDiff(before, dump(machine)), [], 'and nothing done')
  })

  t.equal(await right.stop(), 0)
})

/** A secret as it may be written somewhere. */
function formsOf(secret: Buffer): string[] {
  return [
    secret.toString('base64').replace(/=+$/, ''),
    secret.toString('base64url').replace(/=+$/, ''),
    secret.toString('hex'),
  ]
}

/** Everything in the key folder, in all forms. */
function secretsOf(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const bytes = readFileSync(path.join(folder, name))
    const text = bytes.toString('latin1')
    const pem = /-----BEGIN PRIVATE KEY-----\s+([^-]+)-----END/.exec(text)?.[1]
    // PKCS#8 of Ed25519 (RFC 8410): the seed is the last 32 bytes.
    if (pem !== undefined) return formsOf(Buffer.from(pem, 'base64').subarray(-32))
    const line = text.trim()
    return [...formsOf(bytes), ...(/^[\w+/=-]{40,}$/.test(line) ? [line.replace(/=+$/, '')] : [])]
  })
}

/** Arguments and environment of every process that this one sees. */
function processTexts(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) =>
      ['cmdline', 'environ'].map((file) => {
        try {
          return readFileSync(`/proc/${pid}/${file}`, 'latin1')
        } catch {
          return '' // ended meanwhile
        }
      }),
    )
}
