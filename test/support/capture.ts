/** A packet capture on a link: of a machine, or (undefined) of the lab's own namespace, where the bridges are. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { run } from './command.ts'
import type { Machine } from './machine.ts'

export interface Capture {
  /** Ends it; one line a packet, as tcpdump prints it, link-level header first. */
  stop(): Promise<readonly string[]>
}

/** Captures from when this resolves; `filter` as pcap-filter(7). A bridge shows what all of its ports exchange. */
export async function capture(machine: Machine | undefined, link: string, filter = ''): Promise<Capture> {
  const directory = mkdtempSync(path.join(tmpdir(), 'linkspan-capture-'))
  const file = path.join(directory, 'pcap')
  // -Z root: it would drop privileges to a user who may not write there. --immediate-mode: nothing is left in a buffer.
  const argv = ['-n', '--immediate-mode', '-U', '-Z', 'root', '-i', link, '-w', file]
  if (filter !== '') argv.push(filter)
  const stdio = ['ignore', 'ignore', 'pipe'] as ('ignore' | 'pipe')[]
  const child =
    machine === undefined ? spawn('tcpdump', argv, { stdio }) : machine.spawn('tcpdump', argv, { stdio })
  const closed = once(child, 'close')
  let said = ''
  await new Promise<void>((resolve, reject) => {
    child.stderr?.on('data', (chunk: Buffer) => {
      said += chunk.toString()
      if (said.includes('listening on')) resolve()
    })
    child.once('exit', () => {
      reject(new Error(`tcpdump: ${said}`))
    })
  })
  return {
    async stop() {
      await pause(100)
      child.kill('SIGINT')
      await closed
      try {
        const text = run('tcpdump', '-n', '-e', '-r', file)
        // Lines that begin with a blank go on with a packet: what tcpdump cannot read it shows as bytes.
        return text.split('\n').filter((line) => /^\S/.test(line))
      } finally {
        rmSync(directory, { recursive: true, force: true })
      }
    },
  }
}
