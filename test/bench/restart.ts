/**
 * Restarts under 1,000 packets/s between hosts: 20 by SIGTERM, 20 by SIGKILL. Lost packets, and ops that the restarted
 * agent found necessary. The control run drops one packet in a hundred on purpose, so that a meter that sees nothing is
 * not believed.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Gateway } from '../support/gateway.ts'
import { Meter } from '../support/meter.ts'
import { makePair } from '../support/pair.ts'
import { figure } from './figure.ts'
import type { Figure } from './figure.ts'

const rounds = 20

export async function run(): Promise<Figure[]> {
  const directory = mkdtempSync(path.join(tmpdir(), 'linkspan-bench-'))
  const { lab, left, leftHost, rightHost } = await makePair(directory)
  const figures: Figure[] = []
  try {
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      const meter = await Meter.start(leftHost, rightHost, '10.2.0.10')
      let ops = 0
      for (let round = 0; round < rounds; round++) ops += await restart(left, signal)
      const { lost, sent, gapMs } = await meter.stop()
      figures.push(
        figure('restart', {
          figure: `lost in ${rounds} ${signal} restarts`,
          value: lost,
          unit: 'packets',
          atMost: 0,
          baseline: `of ${sent}, longest gap ${gapMs} ms`,
        }),
        figure('restart', { figure: `ops after ${signal}`, value: ops, unit: 'ops', atMost: 0 }),
      )
    }
    rightHost.run(
      'nft',
      'add table ip control; add chain ip control in { type filter hook input priority 0; }; add rule ip control in udp dport 9000 numgen inc mod 100 0 drop',
    )
    const control = await Meter.start(leftHost, rightHost, '10.2.0.10')
    await pause(5000)
    const { lost, sent } = await control.stop()
    figures.push(
      figure('restart', {
        figure: 'control: lost with 1 in 100 dropped',
        value: lost / sent,
        unit: 'ratio',
        atLeast: 0.009,
        baseline: '0.01',
      }),
    )
    return figures
  } finally {
    await lab.end()
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Ops of the restarted agent's first audit. */
async function restart(gateway: Gateway, signal: NodeJS.Signals): Promise<number> {
  await gateway.stop(signal)
  gateway.log = ''
  gateway.start()
  await gateway.untilLogged('first-audit')
  await pause(300)
  const ops = [...gateway.log.matchAll(/(?:audit|pass) .*?ops=([0-9]+)/g)].map((match) => Number(match[1]))
  return ops.reduce((sum, each) => sum + each, 0)
}
