/**
 * 1,000 paths: processor time of this process with the probe engine in it, against a minimal C sender and reflector that
 * moves as many packets over the same link (paths.c). The other end is in both cases the same crowd of 1,000 stateless
 * senders and reflectors. Then how long after a far end's death its paths are down, by the profile of the default and of
 * the fast one.
 */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { address } from '../../agent/model/prefix.ts'
import type { ProbedPath, ProbeProfile } from '../../agent/probe/port.ts'
import { soak } from '../support/soak.ts'
import { baseline, calmDown, device, fast, joinBy, Machine, Near, port, until } from '../support/probe-lab.ts'
import { figure, median, percentile } from './figure.ts'
import type { Figure } from './figure.ts'
import { ip } from './ground.ts'
import type { BenchOptions } from './main.ts'
import { cpuMs } from './stall.ts'

const count = 1000
const rounds = 5
const seconds = 4
/** Jitter only ever shortens an interval of 200 ms, by a tenth on average. */
const meanIntervalMs = 180
const usual: ProbeProfile = { intervalMs: 200, retryMs: 60, downAfter: 10, holdMs: 100, returnAfter: 2 }

export async function run({ isLong }: BenchOptions): Promise<Figure[]> {
  calmDown()
  const far = await Machine.make('crowd')
  try {
    joinBy(device, far)
    // No neighbours are asked for, as in a tunnel: both ends have one hardware address.
    ip('link', 'set', 'dev', device, 'arp', 'off', 'address', '02:00:00:00:00:01')
    far.ip(`link set dev ${device} arp off address 02:00:00:00:00:01`)
    const lines = crowd(count).map((one) => `address add ${one}/128 dev ${device}`)
    writeFileSync(far.path('/run/addresses'), lines.join('\n'))
    far.run('ip', '-batch', '/run/addresses')
    return [...(await cost(far)), ...(await detection(far)), ...(await lossyPaths(far, isLong))]
  } finally {
    ip('link', 'delete', 'dev', device)
    far.end()
  }
}

function crowd(size: number): string[] {
  return Array.from({ length: size }, (_, n) => `fe80::1:${(n + 1).toString(16)}`)
}

function pathsOf(size: number, profile: ProbeProfile): ProbedPath[] {
  return crowd(size).map((one) => ({ id: one, device, address: address(one), profile }))
}

async function cost(far: Machine): Promise<Figure[]> {
  const process_ = far.spawn(baseline, [
    'crowd',
    device,
    String(port),
    String(count),
    String(meanIntervalMs),
    '600',
  ])
  const engine: number[] = []
  const minimal: number[] = []
  const rates: string[] = []
  try {
    for (let round = 0; round < rounds; round++) {
      const mine = await engineCost()
      const theirs = baselineCost()
      engine.push(mine.msPerSecond)
      minimal.push(theirs.msPerSecond)
      rates.push(`${mine.rate.toFixed()}/${theirs.rate.toFixed()}`)
    }
  } finally {
    process_.kill('SIGKILL')
    await once(process_, 'exit')
  }
  const ratios = engine.map((ms, i) => ms / (minimal[i] ?? Number.NaN))
  return [
    figure('paths', {
      figure: '1,000 paths: process / minimal C',
      value: median(ratios),
      unit: 'ratio of CPU',
      atMost: 1.3,
      baseline: `C ${(median(minimal) / 10).toFixed(1)} % of a CPU; packets/s sent and reflected ${rates.join(' ')}`,
    }),
    figure('paths', { figure: '1,000 paths', value: median(engine) / 10, unit: '% of a CPU' }),
  ]
}

interface Cost {
  readonly msPerSecond: number
  /** Packets sent and reflected a second. */
  readonly rate: number
}

async function engineCost(): Promise<Cost> {
  const near = new Near()
  near.engine.setPaths(pathsOf(count, usual))
  await until(() => near.news.filter(({ state }) => state === 'up').length >= count, 20_000)
  await pause(500)
  const [from, spent, before] = [performance.now(), cpuMs(), near.engine.counters()]
  await pause(seconds * 1000)
  const tookS = (performance.now() - from) / 1000
  const after = near.engine.counters()
  const moved = after.sent + after.reflected - before.sent - before.reflected
  const msPerSecond = (cpuMs() - spent) / tookS
  near.engine.stop()
  return { msPerSecond, rate: moved / tookS }
}

function baselineCost(): Cost {
  const out = execFileSync(
    baseline,
    ['near', device, String(port), String(count), String(meanIntervalMs), String(seconds)],
    { encoding: 'utf8' },
  )
  const [sent = 0, , reflected = 0, nanoseconds = 0] = out.split(' ').map(Number)
  return { msPerSecond: nanoseconds / 1e6 / seconds, rate: (sent + reflected) / seconds }
}

/** From before the far end is cut off to the thread's decision, of 100 paths at a time. */
async function detection(far: Machine): Promise<Figure[]> {
  const process_ = far.spawn(baseline, ['crowd', device, String(port), '100', '0', '600'])
  const figures: Figure[] = []
  try {
    for (const { name, profile, atMost } of [
      { name: 'default', profile: usual, atMost: 900 },
      { name: 'fast profile', profile: { ...fast, holdMs: 100, returnAfter: 2 }, atMost: 280 },
    ]) {
      const took = await detectionOf(far, profile)
      figures.push(
        figure('paths', { figure: `down, ${name}, median`, value: median(took), unit: 'ms' }),
        figure('paths', {
          figure: `down, ${name}, p99 of ${took.length}`,
          value: percentile(took, 99),
          unit: 'ms',
          atMost,
        }),
      )
    }
  } finally {
    process_.kill('SIGKILL')
    await once(process_, 'exit')
  }
  return figures
}

/**
 * 100 paths for a minute at 20 % round-trip loss, and 100 at 5 %: as many hours of paths as 10 paths in 10 minutes, which is
 * what `--long` measures.
 */
async function lossyPaths(far: Machine, isLong: boolean): Promise<Figure[]> {
  const [each, seconds] = isLong ? [10, 600] : [100, 60]
  const { sent, lost, falseDowns, flaps } = await soak(far, each, seconds)
  const [much, little] = lost.map((share) => `${(share * 100).toFixed(1)} % lost`)
  const what = `${each} paths, ${seconds} s`
  return [
    figure('paths', {
      figure: `false downs, ${what}, 20 % loss`,
      value: falseDowns,
      unit: '',
      atMost: 0,
      baseline: `${sent} probes, ${much ?? ''}`,
    }),
    figure('paths', {
      figure: `changes of standing, ${what}, 5 % loss`,
      value: flaps,
      unit: '',
      atMost: 0,
      baseline: little ?? '',
    }),
  ]
}

function inputTable(rule: string): string {
  const chain = `type filter hook input priority -400\n iifname ${device} ${rule}`
  return `table inet cut {\n chain input {\n ${chain}\n }\n}\n`
}

async function detectionOf(far: Machine, profile: ProbeProfile): Promise<number[]> {
  const took: number[] = []
  writeFileSync(far.path('/run/cut'), inputTable('drop'))
  const near = new Near()
  const paths = pathsOf(100, profile)
  near.engine.setPaths(paths)
  const all = (state: string): boolean => paths.every(({ id }) => near.last(id)?.state === state)
  for (let round = 0; round < 3; round++) {
    if (!(await until(() => all('up'), 20_000))) throw new Error('the paths did not come up')
    await pause(300)
    const cutAtMs = Number(process.hrtime.bigint()) / 1e6
    far.run('nft', '-f', '/run/cut')
    if (!(await until(() => all('down'), 20_000))) throw new Error('the paths did not go down')
    took.push(...paths.map(({ id }) => (near.last(id)?.sinceMs ?? Number.NaN) - cutAtMs))
    far.run('nft', 'delete table inet cut')
  }
  near.engine.stop()
  return took
}
