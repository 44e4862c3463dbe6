/**
 * Trust at scale. A fabric of 10,000 gateways that a process never saw: every document checked, judged and planned (cold.ts).
 * A changed record of 1,000 gateways on its way through a real etcd into the kernel. And an agent whose registry is gone.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Document } from '../../agent/model/document.ts'
import { address, prefix } from '../../agent/model/prefix.ts'
import { identityOf } from '../support/documents.ts'
import { fleet, fleetEndpoint, fleetRecord, ownRecord, prefixesOf, writeFleet } from '../support/fleet.ts'
import { changeTimes, gateways, prefixes, worst } from './change.ts'
import type { Cold } from './cold.ts'
import { figure, median, percentile } from './figure.ts'
import type { Figure } from './figure.ts'
import { startFleetAgent } from './fleet-agent.ts'
import { etcdRegistry } from './fleet-registry.ts'

const coldGateways = 10_000
const coldPrefixes = 100_000
const rounds = 5
const outageSeconds = 60
/** First what may be had at once is used up. */
const burstSeconds = 30
const churnSeconds = 20
const coldGateway = 'bench-own'
const cold = fileURLToPath(new URL('cold.js', import.meta.url))

export async function run(): Promise<Figure[]> {
  return [
    ...(await coldFigures()),
    ...(await etcdFigures()),
    ...(await churnFigures()),
    ...(await outageFigures()),
  ]
}

async function coldFigures(): Promise<Figure[]> {
  // In memory: what a disk takes to hand out 20,000 files is not the question.
  const directory = mkdtempSync(path.join('/run', 'linkspan-cold-'))
  try {
    await writeFleet(directory, coldFleet())
    const runs: Cold[] = []
    for (let round = 0; round < rounds; round++) runs.push(await coldRun(directory))
    const wrong = runs.filter((one) => one.gateways !== coldGateways + 1 || one.refusals > 0)
    const of = (value: (one: Cold) => number): number => median(runs.map(value))
    const all = (value: (one: Cold) => number): string => runs.map((one) => value(one).toFixed(0)).join(', ')
    const name = `${coldGateways.toLocaleString('en-US')} gateways cold`
    return [
      figure('trust', {
        figure: `${name}: verified and planned`,
        value: of(({ verifyMs, planMs }) => verifyMs + planMs) / 1000,
        unit: 's',
        atMost: 5,
        baseline: `ms verified ${all(({ verifyMs }) => verifyMs)}; planned ${all(({ planMs }) => planMs)}`,
      }),
      figure('trust', {
        figure: `${name}: processor time of that, all threads`,
        value: of(({ cpuMs }) => (cpuMs[1] ?? 0) + (cpuMs[2] ?? 0)) / 1000,
        unit: 's',
        atMost: 10,
        baseline: '5 s of 2 cores',
      }),
      figure('trust', {
        figure: `${name}: read before, as files`,
        value: of(({ readMs }) => readMs) / 1000,
        unit: 's',
      }),
      figure('trust', {
        figure: `${name}: RSS at most`,
        value: of(({ rssMB }) => rssMB),
        unit: 'MB',
        atMost: 400,
      }),
      figure('trust', {
        figure: `${name}: longest event-loop stall`,
        value: of(({ stallMs }) => stallMs),
        unit: 'ms',
        atMost: 50,
        baseline: all(({ stallMs }) => stallMs),
      }),
      figure('trust', {
        figure: 'the same, while the loop had a processor',
        value: of(({ busyStallMs }) => busyStallMs),
        unit: 'ms',
        atMost: 50,
        baseline: all(({ busyStallMs }) => busyStallMs),
      }),
      figure('trust', {
        figure: 'runs with a gateway missing or a document refused',
        value: wrong.length,
        unit: 'runs',
        atMost: 0,
      }),
    ]
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

function coldFleet(): readonly Document[] {
  const own = { gateway: coldGateway, site: 'own', identity: identityOf(coldGateway) }
  const said = ownRecord(own, {
    prefixes: [prefix('172.20.0.0/16')],
    endpoints: [{ ...fleetEndpoint(0), address: address('192.0.2.1') }],
  })
  return [...fleet({ gateways: coldGateways, prefixes: coldPrefixes, own }), said]
}

/** With the flags that the agent runs with. */
async function coldRun(directory: string): Promise<Cold> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--max-semi-space-size=4', cold, directory, coldGateway],
    { timeout: 120_000 },
  )
  return JSON.parse(stdout) as Cold
}

async function etcdFigures(): Promise<Figure[]> {
  const agent = await startFleetAgent(gateways, prefixes, await etcdRegistry())
  try {
    const { latencies, wrong } = await changeTimes(agent)
    return [
      figure('trust', {
        figure: 'put in etcd to kernel ACK, p99',
        value: percentile(latencies, 99),
        unit: 'ms',
        atMost: 50,
        baseline: `worst ${worst(latencies)}`,
      }),
      figure('trust', { figure: 'the same, median', value: median(latencies), unit: 'ms' }),
      figure('trust', {
        figure: 'changes that are not in the kernel',
        value: wrong,
        unit: 'changes',
        atMost: 0,
      }),
    ]
  } finally {
    await agent.stop()
  }
}

/** A gateway that writes a new record a thousand times a second, and half as many strangers' records under new names. */
async function churnFigures(): Promise<Figure[]> {
  const agent = await startFleetAgent(10, 100, await etcdRegistry())
  const own = prefixesOf(1, { gateways: 10, prefixes: 100 })
  const passes = new Set<number>()
  // The agent remembers a thousand events.
  const look = async (): Promise<void> => {
    const { events } = (await agent.ask('/events')) as unknown as {
      events: readonly { readonly id: number; readonly event: string }[]
    }
    for (const { id, event } of events) if (event === 'pass') passes.add(id)
  }
  try {
    await pause(3000)
    let before = 0
    let began = 0
    const startedAt = performance.now()
    let puts = 0
    let measuredAt = Infinity
    while (measuredAt === Infinity || performance.now() - measuredAt < churnSeconds * 1000) {
      if (measuredAt === Infinity && performance.now() - startedAt >= burstSeconds * 1000) {
        measuredAt = performance.now()
        await look()
        before = passes.size
        began = agent.cpuSeconds()
      }
      const dueAt = startedAt + puts
      const serial = 1763700200000 + puts
      const changed = fleetRecord(1, own, { serial, weight: 1 + (puts % 200) })
      const junk = fleetRecord(20_000 + puts, [], { serial })
      await Promise.all([agent.registry.say(changed), ...(puts % 2 === 0 ? [agent.registry.say(junk)] : [])])
      puts++
      if (performance.now() < dueAt) await pause(dueAt - performance.now())
    }
    const seconds = (performance.now() - measuredAt) / 1000
    const share = (100 * (agent.cpuSeconds() - began)) / seconds
    await look()
    return [
      figure('trust', {
        figure: 'a registry that never rests',
        value: share,
        unit: '% of a core',
        atMost: 40,
        baseline: `${((1000 * puts) / (performance.now() - startedAt)).toFixed(0)} changes/s, half as much junk`,
      }),
      figure('trust', {
        figure: `of them applied in ${churnSeconds} s`,
        value: passes.size - before,
        unit: 'changes',
        atMost: 4 * churnSeconds,
      }),
    ]
  } finally {
    await agent.stop()
  }
}

/** As `idle` measures, but the server is dead. */
async function outageFigures(): Promise<Figure[]> {
  const agent = await startFleetAgent(10, 100, await etcdRegistry())
  try {
    await pause(3000)
    const before = await agent.ask('/status')
    await agent.registry.fail()
    await pause(3000)
    const began = agent.cpuSeconds()
    await pause(outageSeconds * 1000)
    const share = (100 * (agent.cpuSeconds() - began)) / outageSeconds
    const after = await agent.ask('/status')
    const gone = Number(before['routes']) - Number(after['routes'])
    return [
      figure('trust', {
        figure: `registry gone, ${outageSeconds} s, 10 gateways`,
        value: share,
        unit: '% of a core',
        atMost: 1,
      }),
      figure('trust', { figure: 'routes withdrawn meanwhile', value: gone, unit: 'routes', atMost: 0 }),
    ]
  } finally {
    await agent.stop()
  }
}
