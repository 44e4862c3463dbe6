/**
 * Failover among 100,000 prefixes: as failover.ts measures it, with 2,000 prefixes behind the site whose gateway dies and as
 * many behind each of 49 more sites of two gateways, which exist on paper: documents in the registry, and nobody at the
 * addresses. Every agent has all routes, elements and AllowedIPs in its kernel. `--long`: 30 of each.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Document } from '../../agent/model/document.ts'
import { address, prefix } from '../../agent/model/prefix.ts'
import type { Prefix } from '../../agent/model/prefix.ts'
import { writeDocument } from '../../agent/registry/file.ts'
import { certificateDocument, recordDocument, sealed, signed } from '../support/documents.ts'
import type { Gateway } from '../support/gateway.ts'
import { makeTwin } from '../support/twin.ts'
import type { Twin } from '../support/twin.ts'
import { cutUnderlay, killGateway, oneFailure } from './failover.ts'
import type { Cut } from './failover.ts'
import { figure, median, percentile } from './figure.ts'
import type { Figure } from './figure.ts'
import type { BenchOptions } from './main.ts'

const sites = 50
const prefixesEach = 2000
/** The real site's block; the others have those before it. */
const real = sites - 1
const firstNumber = 10

export async function run({ isLong }: BenchOptions): Promise<Figure[]> {
  const directory = mkdtempSync(path.join(tmpdir(), 'linkspan-bench-'))
  const issue = ['--prefix', '10.2.0.0/16', '--prefix', `${block(real)}:24`]
  const twin = await makeTwin(directory, [], prepare, { 'gw-2a': issue, 'gw-2b': issue })
  try {
    const { lab, one, a, b } = twin
    for (const document of paperSites()) {
      await writeDocument(lab.registry, signed(document), sealed(document))
    }
    for (const gateway of [one, a, b]) await untilRoutes(gateway, (sites - 1) * prefixesEach)
    await untilRoutes(one, sites * prefixesEach)
    const figures: Figure[] = []
    for (const [what, cut] of [
      ['gateway dies', killGateway],
      ['underlay cut', cutUnderlay],
    ] as const) {
      const gaps: number[] = []
      for (let round = 0; round < (isLong ? 30 : 10); round++) gaps.push(await settledFailure(twin, cut))
      const routes = ((await one.status())?.routes ?? 0).toLocaleString('en-US')
      figures.push(
        figure('failover-many', { figure: `${what}, median`, value: median(gaps), unit: 'ms' }),
        figure('failover-many', {
          figure: `${what}, p99 of ${gaps.length}`,
          value: percentile(gaps, 99),
          unit: 'ms',
          atMost: 1000,
          baseline: `${routes} routes; ${gaps.map((ms) => ms.toFixed()).join(' ')}`,
        }),
      )
    }
    return figures
  } finally {
    await twin.lab.end()
    rmSync(directory, { recursive: true, force: true })
  }
}

/** 4,096 /24s, every second of which is used: no two are siblings, so that nothing aggregates. */
function block(site: number): string {
  return `${11 + (site >> 4)}.${(site & 15) * 16}.0.0/12`
}

function prefixesOf(site: number): readonly Prefix[] {
  const first = (11 + (site >> 4)) * 65_536 + (site & 15) * 4096
  return Array.from({ length: prefixesEach }, (_, n) => {
    const at = first + 2 * n
    return prefix(`${at >> 16}.${(at >> 8) & 255}.${at & 255}.0/24`)
  })
}

/** Whoever exists on paper is behind a router that takes all: nobody asks for absent neighbours. */
function prepare({ name, machine }: Gateway): void {
  machine.ip('neighbour add 172.31.0.254 lladdr 02:00:00:00:00:01 nud permanent dev dx0')
  machine.ip('route add 198.18.0.0/15 via 172.31.0.254 dev dx0 onlink')
  if (name === 'gw-1') return
  const file = machine.path('/etc/linkspan/config.yml')
  const lines = readFileSync(file, 'utf8').split('\n')
  const prefixes = JSON.stringify(['10.2.0.0/16', ...prefixesOf(real)])
  writeFileSync(
    file,
    lines.map((line) => (line.startsWith('prefixes:') ? `prefixes: ${prefixes}` : line)).join('\n'),
  )
}

function paperSites(): readonly Document[] {
  return Array.from({ length: real }, (_, site) =>
    [0, 1].flatMap((plane) => {
      const number = firstNumber + 2 * site + plane
      const at = address(`198.18.0.${number}`)
      return [
        certificateDocument(number, {
          fabric: 'lab',
          site: { name: `paper-${site}`, provider: '', region: '', labels: {} },
          plane,
          prefixes: [{ prefix: prefix(block(site)), maxLength: 24 }],
        }),
        recordDocument(number, {
          fabric: 'lab',
          endpoints: [{ underlay: 'dx', address: at, port: 51820 }],
          prefixes: prefixesOf(site),
        }),
      ]
    }),
  ).flat()
}

async function untilRoutes(gateway: Gateway, count: number): Promise<void> {
  for (let i = 0; i < 600; i++) {
    const status = await gateway.status()
    if (status !== undefined && status.routes >= count) return
    await pause(200)
  }
  throw new Error(`${gateway.name} has no ${count} routes:\n${gateway.log.slice(-4000)}`)
}

async function settledFailure(twin: Twin, cut: Cut): Promise<number> {
  const gapMs = await oneFailure(twin, cut)
  await untilRoutes(twin.one, sites * prefixesEach)
  return gapMs
}
