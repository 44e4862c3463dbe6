/**
 * The hook of the active gateway: it runs at the lowest plane of a site, and at the other one when that gateway is gone. How
 * long the site's own side takes is printed, besides what the hook itself takes.
 */
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { isolated } from '../support/isolate.ts'
import { makeTwin } from '../support/twin.ts'

await isolated(import.meta.url, async (directory) => {
  // The route table of a cloud, as both gateways of site 2 see it: who wrote last.
  const table = path.join(directory, 'table')
  const program = path.join(directory, 'hook')
  writeFileSync(
    program,
    `#!/bin/sh
input=$(cat)
case $input in *10.1.0.0/16*) ;; *) echo "no prefix" >&2; exit 1 ;; esac
echo "$LINKSPAN_GATEWAY" >>${table}
echo "led to $LINKSPAN_GATEWAY"
`,
  )
  chmodSync(program, 0o755)
  const twin = await makeTwin(directory, [], (gateway) => {
    const file = gateway.machine.path('/etc/linkspan/config.yml')
    const hook = `hooks: { site-active: { program: ${program}, auditSeconds: 3600 } }\n`
    if (gateway.name !== 'gw-1') writeFileSync(file, readFileSync(file, 'utf8') + hook)
  })
  const { one, a, b } = twin
  const written = (): string[] =>
    existsSync(table)
      ? readFileSync(table, 'utf8')
          .trim()
          .split('\n')
          .filter((line) => line !== '')
      : []
  /** ms since then, once it does. */
  const leadsTo = async (name: string, startedAt = performance.now()): Promise<number> => {
    while (written().at(-1) !== name) {
      if (performance.now() - startedAt > 120_000) throw new Error(`it leads to ${written().join(' ')}`)
      await pause(5)
    }
    return Math.round(performance.now() - startedAt)
  }

  await t.test('it runs at the lowest plane, and there alone', async (t) => {
    await leadsTo('gw-2a')
    await a.untilLogged('hook-ran hook=site-active cause=takeover')
    await pause(1000)
    t.equal(written().at(-1), 'gw-2a', written().join(' '))
    const { siteSide } = (await a.status()) ?? {}
    t.match(siteSide, {
      active: 'gw-2a',
      self: true,
      unseen: [],
      hook: { last: { outcome: 'ok', said: 'led to gw-2a' } },
    })
    t.match((await b.status())?.siteSide, { active: 'gw-2a', self: false })
    t.match(a.cli('status').stdout, /this gateway is active[^]*hook site-active .*: ok .*led to gw-2a/)
    t.equal((await one.status())?.siteSide, undefined, 'a site of one gateway')
  })

  await t.test('a drained gateway hands over, and takes back', async (t) => {
    let startedAt = performance.now()
    t.equal(a.cli('drain', '--timeout', '0').status, 0)
    t.comment(`site side taken over from a gateway that drains: ${await leadsTo('gw-2b', startedAt)} ms`)
    startedAt = performance.now()
    t.equal(a.cli('drain', '--undo').status, 0)
    t.comment(`and taken back, 5 s of waiting included: ${await leadsTo('gw-2a', startedAt)} ms`)
    await b.untilLogged('site-passive site=site-2 active=gw-2a')
  })

  await t.test('a gateway that dies without a word', async (t) => {
    const startedAt = performance.now()
    for (const link of ['dx0', 'wan0', 'site0']) a.machine.ip(`link set dev ${link} down`)
    a.signal('SIGKILL')
    t.comment(`site side taken over from a gateway that died: ${await leadsTo('gw-2b', startedAt)} ms`)
    t.match((await b.status())?.siteSide, { active: 'gw-2b', self: true })
  })

  for (const gateway of [one, a, b]) await gateway.stop()
})
