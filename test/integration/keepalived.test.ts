/**
 * docs/keepalived.md as it stands there, with the names of the lab: real keepalived in both gateways of a site holds the
 * address that hosts send to, on one that forwards.
 */
import type { ChildProcess } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Gateway } from '../support/gateway.ts'
import { isolated } from '../support/isolate.ts'
import { repository } from '../support/repository.ts'
import { makeTwin } from '../support/twin.ts'

const program = '/usr/sbin/keepalived'
const shared = '10.2.0.254'

if (!existsSync(program))
  t.pass('keepalived', { skip: `there is no ${program}: install the package keepalived` })
else {
  await isolated(import.meta.url, async (directory) => {
    const { one, a, b, twoHost } = await makeTwin(directory)
    twoHost.ip(`route replace default via ${shared}`)
    const page = readFileSync(path.join(repository, 'docs/keepalived.md'), 'utf8')
    const example = /```\n(global_defs[^`]*)```/.exec(page)?.[1] ?? ''
    const running: ChildProcess[] = []
    const start = (gateway: Gateway, own: string, priority: number): void => {
      const config = example
        .replace('interface eth1', 'interface site0')
        .replace('10.2.0.1:9587', `${own}:9587`)
        .replace('priority 110', `priority ${priority}`)
      const file = gateway.machine.path('/run/keepalived.conf')
      writeFileSync(file, config)
      const log = (piece: Buffer): void => {
        gateway.log += piece.toString()
      }
      const options = ['--vrrp', '--dont-fork', '--log-console', '--use-file', '/run/keepalived.conf']
      const keepalived = gateway.machine.spawn(program, options, { stdio: ['ignore', 'pipe', 'pipe'] })
      keepalived.stdout?.on('data', log)
      keepalived.stderr?.on('data', log)
      running.push(keepalived)
    }
    const holds = ({ machine }: Gateway): boolean =>
      machine.ip('-o -4 address show dev site0').includes(`${shared}/`)
    /** ms since then, once this gateway alone holds the address. */
    const untilAt = async (
      gateway: Gateway,
      without: Gateway | undefined,
      startedAt: number,
    ): Promise<number> => {
      while (!holds(gateway) || (without !== undefined && holds(without))) {
        if (performance.now() - startedAt > 120_000)
          throw new Error(`${gateway.name} never held it:\n${gateway.log}`)
        await pause(20)
      }
      return Math.round(performance.now() - startedAt)
    }

    await t.test(
      'the gateway of the higher priority holds the address, and hosts reach the other site',
      async (t) => {
        start(a, '10.2.0.1', 110)
        start(b, '10.2.0.2', 100)
        await untilAt(a, b, performance.now())
        t.equal(await twoHost.reaches('10.1.0.10'), true)
      },
    )

    await t.test('one that drains gives it up, and gets it back', async (t) => {
      let startedAt = performance.now()
      t.equal(a.cli('drain', '--timeout', '0').status, 0)
      t.comment(`address moved from a gateway that drains: ${await untilAt(b, a, startedAt)} ms`)
      t.equal(await twoHost.reaches('10.1.0.10'), true)
      startedAt = performance.now()
      t.equal(a.cli('drain', '--undo').status, 0)
      t.comment(`and back, 5 s of waiting included: ${await untilAt(a, b, startedAt)} ms`)
      t.equal(await twoHost.reaches('10.1.0.10'), true)
    })

    await t.test('a gateway that dies without a word', async (t) => {
      const startedAt = performance.now()
      for (const link of ['dx0', 'wan0', 'site0']) a.machine.ip(`link set dev ${link} down`)
      a.signal('SIGKILL')
      // What is dead knows nothing of it: its own address list says nothing.
      t.comment(`address moved from a gateway that died: ${await untilAt(b, undefined, startedAt)} ms`)
      t.equal(await twoHost.reaches('10.1.0.10'), true)
    })

    for (const keepalived of running) keepalived.kill('SIGTERM')
    for (const gateway of [one, a, b]) await gateway.stop()
  })
}
