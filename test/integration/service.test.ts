/** `down` beside systemd, which is played by a script: the unit stops before anything is removed, whatever it is up to. */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { linkGroup } from '../../agent/model/kernel-number.ts'
import { run } from '../support/command.ts'
import { isolated } from '../support/isolate.ts'

const main = fileURLToPath(new URL('../../agent/main.js', import.meta.url))
const link = 'ls-br7001'

await isolated(import.meta.url, async (directory) => {
  const bin = path.join(directory, 'bin')
  const log = path.join(directory, 'log')
  mkdirSync(bin)

  /** Runs `down` with a unit in that state; what systemctl was asked, and whether the link was there then. */
  function down(state: string, inNamespace: readonly string[] = []): readonly string[] {
    const systemctl = path.join(bin, 'systemctl')
    writeFileSync(log, '')
    writeFileSync(
      systemctl,
      `#!/bin/sh
echo "$* $(ip -o link show dev ${link} >/dev/null 2>&1 && echo whole || echo gone)" >>${log}
[ "$1" != show ] || echo ActiveState=${state}
`,
    )
    chmodSync(systemctl, 0o755)
    run('ip', ...inNamespace, 'link', 'add', link, 'group', String(linkGroup), 'type', 'bridge')
    const places = ['--state-directory', path.join(directory, 'state'), '--run-directory', directory]
    const command = [process.execPath, main, 'down', ...places]
    const all = inNamespace.length === 0 ? command : ['ip', 'netns', 'exec', 'other', ...command]
    const { status, stderr } = spawnSync(all[0] ?? '', all.slice(1), {
      env: { PATH: `${bin}:${process.env['PATH'] ?? ''}` },
      encoding: 'utf8',
    })
    t.equal(status, 0, stderr)
    t.throws(() => run('ip', ...inNamespace, 'link', 'show', 'dev', link), 'the link is gone')
    return readFileSync(log, 'utf8').trim().split('\n')
  }

  const show = 'show --property=ActiveState linkspan.service whole'
  const stop = 'stop linkspan.service whole'

  await t.test('no systemd', (t) => {
    t.same(down('active'), [''])
    t.end()
  })
  mkdirSync('/run/systemd/system', { recursive: true })
  await t.test('a unit that runs, or will', (t) => {
    for (const state of ['active', 'activating', 'reloading']) t.same(down(state), [show, stop], state)
    t.end()
  })
  await t.test('a unit at rest', (t) => {
    t.same(down('inactive'), [show])
    t.end()
  })
  await t.test('the network namespace of another agent', (t) => {
    run('ip', 'netns', 'add', 'other')
    t.same(down('active', ['-netns', 'other']), [''], 'the unit of the host is left alone')
    t.end()
  })
})
