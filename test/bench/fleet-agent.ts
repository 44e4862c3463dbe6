/**
 * A real agent in the bench's own namespace, following a registry that holds a large fabric: default paths, as on a
 * VM. Its peers are nobody, on an address range that a bridge swallows.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { ask } from '../../agent/cli/client.ts'
import { isRefusal, parseDocument } from '../../agent/trust/parse.ts'
import { authority } from '../support/documents.ts'
import { fleet, fleetFabric } from '../support/fleet.ts'
import { directoryRegistry } from './fleet-registry.ts'
import type { FleetRegistry } from './fleet-registry.ts'
import { ip } from './ground.ts'

export const ownGateway = 'bench-own'
const runDirectory = '/run/linkspan'
const main = fileURLToPath(new URL('../../agent/main.js', import.meta.url))

export interface FleetAgent {
  readonly registry: FleetRegistry
  readonly pid: number
  /** JSON of the control socket. */
  ask(target: string): Promise<Record<string, unknown>>
  /** Resident memory in units of 1,000,000 bytes. */
  rssMB(): number
  /** Seconds of processor time so far, user and system. */
  cpuSeconds(): number
  stop(): Promise<void>
}

export async function startFleetAgent(
  gateways: number,
  prefixes: number,
  registry: FleetRegistry = directoryRegistry(),
): Promise<FleetAgent> {
  ip('link', 'add', 'under0', 'type', 'bridge')
  ip('link', 'set', 'dev', 'under0', 'up')
  // Everybody is behind one router that takes all: with 1,000 absent neighbours on the link itself, wireguard-go would sit
  // in sendmsg() while the kernel waits for their ARP answers.
  ip('address', 'add', '198.18.250.1/32', 'dev', 'under0')
  ip('neighbour', 'add', '198.18.255.254', 'lladdr', '02:00:00:00:00:01', 'nud', 'permanent', 'dev', 'under0')
  ip('route', 'add', 'default', 'via', '198.18.255.254', 'dev', 'under0', 'onlink')
  for (const directory of ['/etc/linkspan', '/var/lib/linkspan', '/run/wireguard'])
    mkdirSync(directory, { recursive: true })
  writeFileSync(
    '/etc/linkspan/config.yml',
    `fabric: ${fleetFabric}\nsite: own\nregistry: ${registry.url}\nauthority: ${authority}\ngateway: ${ownGateway}\nmetrics: false\n`,
  )
  // As /usr/bin/linkspan is run: its first line has the flags.
  chmodSync(main, 0o755)
  const PATH = `${path.dirname(process.execPath)}:${process.env['PATH'] ?? ''}`
  const agent = spawn(main, ['agent'], { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, PATH } })
  let log = ''
  agent.stderr.on('data', (chunk: Buffer) => {
    log = (log + chunk.toString()).slice(-20_000)
  })
  let request: Uint8Array | undefined
  await until(
    () => (request = registry.requestOf(ownGateway)) !== undefined,
    agent,
    () => log,
  )
  const asked = parseDocument({ origin: 'request', bytes: request ?? new Uint8Array() })
  if (isRefusal(asked)) throw new Error(asked.reason)
  const own = { gateway: ownGateway, site: 'own', identity: asked.kid }
  const documents = fleet({ gateways, prefixes, own })
  // The fabric document last: until it is there nothing else counts, and the cold start is one.
  await registry.fill([...documents.slice(1), ...documents.slice(0, 1)])
  const askAgent = async (target: string): Promise<Record<string, unknown>> =>
    (await ask(runDirectory, target, { timeoutMs: 60_000 })) as Record<string, unknown>
  await until(
    async () => {
      const answer = await askAgent('/events').catch(() => undefined)
      const events = (answer?.['events'] ?? []) as readonly { readonly event: string }[]
      if (!events.some(({ event }) => event === 'first-audit')) return false
      const status = await askAgent('/status')
      const peers = status['peers']
      return Array.isArray(peers) && peers.length === gateways && Number(status['routes']) >= prefixes
    },
    agent,
    () => log,
  )
  const pid = agent.pid ?? 0
  return {
    registry,
    pid,
    ask: askAgent,
    rssMB: () =>
      (Number(/VmRSS:\s+([0-9]+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024) / 1e6,
    cpuSeconds: () => {
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
      return (Number(fields[11]) + Number(fields[12])) / 100
    },
    async stop() {
      await ended(agent)
      const down = spawn(process.execPath, [main, 'down'], { stdio: 'ignore' })
      await new Promise((resolve) => down.once('exit', resolve))
      ip('link', 'delete', 'dev', 'under0')
      await registry.end()
      // These are mounts of the bench: what is in them goes, they stay.
      for (const directory of ['/var/lib/linkspan', '/etc/linkspan']) {
        for (const name of readdirSync(directory))
          rmSync(path.join(directory, name), { recursive: true, force: true })
      }
    },
  }
}

async function ended(agent: ChildProcess): Promise<void> {
  if (agent.exitCode !== null) return
  const exit = new Promise((resolve) => agent.once('exit', resolve))
  agent.kill('SIGTERM')
  await exit
}

async function until(
  condition: () => boolean | Promise<boolean>,
  agent: ChildProcess,
  log: () => string,
  seconds = 120,
): Promise<void> {
  for (let i = 0; i < seconds * 20; i++) {
    if (await condition()) return
    if (agent.exitCode !== null) throw new Error(`the agent ended:\n${log()}`)
    await pause(50)
  }
  throw new Error(`nothing after ${seconds} s:\n${log()}`)
}
