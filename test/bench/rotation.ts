/**
 * Tunnel keys rotate 20 times under traffic, now at one end, now at the other: 1,000 packets/s each way over IPv4, a fifth of
 * that over IPv6 each way and in a stretched network. The three minutes that old keys are kept for pass at once, on the
 * agents' clocks; the data plane's own go on as ever.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Gateway } from '../support/gateway.ts'
import { keysOf, RotatingPair, until } from '../support/rotating.ts'
import { figure } from './figure.ts'
import type { Figure } from './figure.ts'

const rounds = 20

export async function run(): Promise<Figure[]> {
  const directory = mkdtempSync(path.join(tmpdir(), 'linkspan-bench-'))
  const rotating = await RotatingPair.make(directory)
  const { lab, left, right } = rotating.pair
  try {
    await rotating.startTraffic(1000)
    for (let round = 0; round < rounds; round++) await rotate(rotating, round % 2 === 0 ? left : right)
    const flows = await rotating.stopTraffic()
    const sum = (what: 'sent' | 'lost'): number => flows.reduce((total, flow) => total + flow[what], 0)
    return [
      figure('rotation', {
        figure: `lost in ${rounds} rotations of keys`,
        value: sum('lost'),
        unit: 'packets',
        atMost: 0,
        baseline: `of ${sum('sent')}, longest gap ${Math.max(...flows.map(({ gapMs }) => gapMs))} ms`,
      }),
    ]
  } finally {
    await lab.end()
    rmSync(directory, { recursive: true, force: true })
  }
}

async function rotate(rotating: RotatingPair, gateway: Gateway): Promise<void> {
  gateway.log = ''
  const { status, stdout, stderr } = gateway.cli('keys', 'rotate')
  if (status !== 0) throw new Error(`keys rotate: ${stdout}${stderr}`)
  await gateway.untilLogged('keys-moved', 60)
  rotating.passTime(gateway)
  await until('the old keys are gone', async () => (await keysOf(gateway))?.phase === 'settled')
}
