/**
 * Failover end to end: one host's packets to a host behind a site of two gateways, over two underlays, 1,000 a second. How
 * long none arrives when the gateway that carries them dies without a word, and when the underlay that carries them is cut.
 * And what is lost when that gateway drains and comes back, 20 times, and how flows spread (spread.ts).
 *
 * Before each failure the agent that has to notice is restarted, since it trusts a path that failed a moment ago less each
 * time.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { ip } from '../support/command.ts'
import type { Gateway } from '../support/gateway.ts'
import { Meter } from '../support/meter.ts'
import { untilFit } from '../support/path-row.ts'
import { makeTwin } from '../support/twin.ts'
import type { Twin } from '../support/twin.ts'
import { spreadFigures } from './spread.ts'
import { figure, median, percentile } from './figure.ts'
import type { Figure } from './figure.ts'

const failures = 30
const drains = 20

const profiles = [
  { name: 'default', fabric: [], atMost: 1000 },
  { name: 'fast', fabric: ['probe: { intervalMs: 50, retryMs: 30, downAfter: 6 }'], atMost: 300 },
] as const

export async function run(): Promise<Figure[]> {
  const figures: Figure[] = []
  for (const { name, fabric, atMost } of profiles) {
    const directory = mkdtempSync(path.join(tmpdir(), 'linkspan-bench-'))
    const twin = await makeTwin(directory, fabric)
    try {
      for (const [what, cut] of [
        ['gateway dies', killGateway],
        ['underlay cut', cutUnderlay],
      ] as const) {
        const gaps: number[] = []
        for (let round = 0; round < failures; round++) gaps.push(await oneFailure(twin, cut))
        figures.push(
          figure('failover', { figure: `${what}, ${name}, median`, value: median(gaps), unit: 'ms' }),
          figure('failover', {
            figure: `${what}, ${name}, p99 of ${failures}`,
            value: percentile(gaps, 99),
            unit: 'ms',
            atMost,
            baseline: `longest ${Math.max(...gaps).toFixed()} ms`,
          }),
        )
      }
      if (name === 'default') figures.push(await drained(twin), ...(await spreadFigures(twin)))
    } finally {
      await twin.lab.end()
      rmSync(directory, { recursive: true, force: true })
    }
  }
  return figures
}

export type Cut = (twin: Twin, carrier: Gateway) => () => void

/** Without a word: none of its links carries anything. */
export const killGateway: Cut = (_twin, { machine }) => {
  machine.run('sh', '-c', 'ip link set dev dx0 down; ip link set dev wan0 down')
  return () => {
    machine.run('sh', '-c', 'ip link set dev dx0 up; ip link set dev wan0 up')
  }
}

/** The bridge itself: no gateway sees its own link go. */
export const cutUnderlay: Cut = () => {
  ip('link set dev dx down')
  return () => {
    ip('link set dev dx up')
  }
}

/** How long nothing arrived, in ms. */
export async function oneFailure(twin: Twin, cut: Cut): Promise<number> {
  const { one, oneHost, twoHost } = twin
  await one.stop()
  one.log = ''
  one.start()
  await untilFit(one, 'site-2', 4)
  const meter = await Meter.start(oneHost, twoHost, '10.2.0.10')
  await pause(500)
  const carrier = await carrierOf(twin)
  const mend = cut(twin, carrier)
  await pause(2000)
  const { gapMs } = await meter.stop()
  mend()
  return gapMs
}

/** The gateway that the flow goes by: its device sends most. */
async function carrierOf({ one, a, b }: Twin): Promise<Gateway> {
  const sent = (device: string): number =>
    Number(one.machine.run('cat', `/sys/class/net/${device}/statistics/tx_packets`))
  const before = [sent('ls-wg0'), sent('ls-wg1')] as const
  await pause(200)
  return sent('ls-wg0') - before[0] > sent('ls-wg1') - before[1] ? a : b
}

async function drained(twin: Twin): Promise<Figure> {
  const { one, oneHost, twoHost } = twin
  await untilFit(one, 'site-2', 4)
  const meter = await Meter.start(oneHost, twoHost, '10.2.0.10', { flows: 16 })
  for (let round = 0; round < drains; round++) {
    const gateway = round % 2 === 0 ? twin.a : twin.b
    gateway.cli('drain', '--timeout', '0')
    await pause(700)
    gateway.cli('drain', '--undo')
    await pause(700)
  }
  const { sent, lost, gapMs } = await meter.stop()
  return figure('failover', {
    figure: `lost in ${drains} drains and returns`,
    value: lost,
    unit: 'packets',
    atMost: 0,
    baseline: `of ${sent}, longest gap ${gapMs} ms`,
  })
}
