/** From the agent's start to its first handshake, documents in place, nothing in the kernel: five starts. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { makePair } from '../support/pair.ts'
import { figure, median } from './figure.ts'
import type { Figure } from './figure.ts'

const rounds = 5

export async function run(): Promise<Figure[]> {
  const directory = mkdtempSync(path.join(tmpdir(), 'linkspan-bench-'))
  const { lab, left } = await makePair(directory)
  try {
    const times: number[] = []
    for (let round = 0; round < rounds; round++) {
      await left.stop()
      left.cli('down')
      // The far end must not still hold a session that answers for the new one.
      await pause(500)
      const started = performance.now()
      left.start()
      while (!/\t[1-9][0-9]*\n/.test(left.machine.attempt('wg', 'show', 'all', 'latest-handshakes').stdout)) {
        if (performance.now() - started > 20_000) throw new Error(`no handshake:\n${left.log}`)
        await pause(10)
      }
      times.push((performance.now() - started) / 1000)
    }
    return [
      figure('start', { figure: 'start to first handshake', value: median(times), unit: 's', atMost: 1 }),
    ]
  } finally {
    await lab.end()
    rmSync(directory, { recursive: true, force: true })
  }
}
