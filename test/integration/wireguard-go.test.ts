/** Where wireguard-go is started: in a scope of systemd's, and without one only where no manager answers. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import path from 'node:path'
import t from 'tap'
import { LinkspanError } from '../../agent/errors.ts'
import { exec } from '../../agent/kernel/exec.ts'
import type { Exec } from '../../agent/kernel/exec.ts'
import { openWireGuardGo } from '../../agent/kernel/wireguard-go.ts'
import { run } from '../support/command.ts'
import { isolated } from '../support/isolate.ts'

const manager = '/run/systemd/system'

await isolated(import.meta.url, async (stateDirectory) => {
  const list = path.join(stateDirectory, 'wireguard-go.json')
  const ran: string[] = []
  const told: string[] = []

  /** `systemdRun`: what it does instead of systemd's. */
  async function open(systemdRun: (args: readonly string[]) => Promise<string>) {
    ran.length = 0
    told.length = 0
    const fake: Exec = {
      ...exec,
      run(file, args, options) {
        ran.push(file)
        return file === 'systemd-run' ? systemdRun(args) : exec.run(file, args, options)
      },
    }
    const log = (event: string, { object, reason }: Readonly<Record<string, string>>): void => {
      told.push([event, object, reason].join(' '))
    }
    return openWireGuardGo({ exec: fake, stateDirectory, log })
  }

  const refusing = (words: string) => () =>
    Promise.reject(
      new LinkspanError({
        code: 'exec',
        object: 'link ls-wg0',
        reason: `systemd-run: exit code 1: ${words}`,
      }),
    )

  await t.test('no systemd: a process of its own, said once', async (t) => {
    const go = await open(refusing('nobody asked'))
    await Promise.all([go.start('ls-wg0'), go.start('ls-wg1')])
    t.match(run('ip', 'link', 'show', 'dev', 'ls-wg1'), /mtu 1420/)
    t.same(ran, ['wireguard-go', 'wireguard-go'])
    t.equal(told.length, 1)
    t.match(told[0], /^wireguard-go-unscoped link ls-wg. systemd does not run here$/)
    t.same(JSON.parse(readFileSync(list, 'utf8')), ['ls-wg0', 'ls-wg1'])
    await Promise.all([go.stop('ls-wg0'), go.stop('ls-wg1')])
    t.same(JSON.parse(readFileSync(list, 'utf8')), [])
  })

  mkdirSync(manager, { recursive: true })

  await t.test('a manager that does not answer is none', async (t) => {
    for (const words of [
      'Failed to connect to bus: Host is down',
      "System has not been booted with systemd as init system (PID 1). Can't operate.",
    ]) {
      const go = await open(refusing(words))
      await go.start('ls-wg0')
      t.same(ran, ['systemd-run', 'wireguard-go'])
      t.same(told, [`wireguard-go-unscoped link ls-wg0 systemd-run: exit code 1: ${words}`])
      await go.stop('ls-wg0')
    }
  })

  const installed = existsSync('/usr/bin/systemd-run')
  const skip = installed ? false : 'needs systemd-run'
  await t.test('systemd-run as it is, with nobody behind it', { skip }, async (t) => {
    const go = await open((args) => exec.run('systemd-run', args, { object: 'link ls-wg0' }))
    await go.start('ls-wg0')
    t.same(ran, ['systemd-run', 'wireguard-go'])
    await go.stop('ls-wg0')
  })

  await t.test('a manager that refuses is an error, and nothing is started', async (t) => {
    for (const words of [
      'Failed to start transient scope unit: Access denied',
      'Failed to connect to bus: Operation not permitted',
    ]) {
      const go = await open(refusing(words))
      await t.rejects(go.start('ls-wg0'), {
        code: 'exec',
        object: 'link ls-wg0',
        reason: `systemd-run: exit code 1: ${words}`,
        next: /journalctl --unit=linkspan-ls-wg0-.*\.scope/,
      })
      t.same(ran, ['systemd-run'])
      t.same(told, [])
      t.throws(() => run('ip', 'link', 'show', 'dev', 'ls-wg0'))
      await go.stop('ls-wg0')
    }
  })

  await t.test('in a scope, and asked for no key', async (t) => {
    let asked = ''
    const go = await open(() => Promise.resolve('')) // the process is played by this test
    mkdirSync('/run/wireguard', { recursive: true })
    const server = createServer((socket) => {
      socket.on('data', (piece) => {
        asked += piece.toString()
        if (asked.endsWith('\n\n')) socket.end('errno=0\n\n')
      })
    })
    await new Promise<void>((resolve) => server.listen('/run/wireguard/ls-wg0.sock', resolve))
    await go.start('ls-wg0')
    t.same(ran, ['systemd-run'])
    t.same(told, [])
    t.equal(asked, 'set=1\n\n')
    await new Promise((resolve) => server.close(resolve))
    await go.stop('ls-wg0')
  })
  rmSync(manager, { recursive: true })

  await t.test('a list of names that is none', async (t) => {
    writeFileSync(list, '{"ls-wg0":1}\n')
    await t.rejects(openWireGuardGo({ exec, stateDirectory }), { code: 'state-unreadable', object: list })
  })
})
