/**
 * Two ends of probed paths: this process, and a machine joined by veth links, fe80::1 here and fe80::2 there on each. Links
 * are called like tunnels; there is no WireGuard in between, which the engine does not know either.
 */
import type { ChildProcess } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { probes } from '../../agent/kernel/addon.ts'
import { address } from '../../agent/model/prefix.ts'
import { startProbes } from '../../agent/probe/engine.ts'
import type {
  PathNews,
  ProbedPath,
  ProbeEngine,
  ProbeProfile,
  ProbeState,
  Report,
  TrialVerdict,
  Word,
} from '../../agent/probe/port.ts'
import { ip, run } from './command.ts'
import { Machine } from './machine.ts'
import { repository } from './repository.ts'
import type { FarOrder, FarSaid } from './probe-far.ts'

export const port = 18620
/** test/bench/paths.c: a sender and reflector without state, and a crowd of them. Made by scripts/build. */
export const baseline = path.join(repository, 'native', 'build', 'paths')
/** The fast profile of the fabric, which is quick to test with. */
export const fast: ProbeProfile = { intervalMs: 50, retryMs: 30, downAfter: 6, holdMs: 200 }
/** The link of both ends, where a test has one. */
export const device = 'ls-wg0'
/** From the far end to us. */
export const back: ProbedPath = { id: 'us', device, address: address('fe80::1'), profile: fast }
export const quiet: Word = { draining: false, notForwarding: false, weight: 1, serial: 7 }

export function pathTo(device: string, id = device, profile = fast): ProbedPath {
  return { id, device, address: address('fe80::2'), profile }
}

/** An engine of this process and what it said. */
export class Near {
  readonly engine: ProbeEngine
  readonly news: PathNews[] = []
  /** When each came, on the clock of performance.now(). */
  readonly heardMs: number[] = []
  readonly reports: Report[] = []
  readonly verdicts: { readonly id: string; readonly trial: number; readonly verdict: TrialVerdict }[] = []

  constructor(word: Word = quiet) {
    this.engine = startProbes(probes(), port, word, {
      onChange: (news) => {
        this.news.push(news)
        this.heardMs.push(performance.now())
      },
      onReport: (report) => this.reports.push(report),
      onVerdict: (id, trial, verdict) => this.verdicts.push({ id, trial, verdict }),
    })
  }

  last(id: string): PathNews | undefined {
    return this.news.findLast((news) => news.id === id)
  }

  /** True when `id` gets into `state`, within `limitMs`. */
  async becomes(id: string, state: ProbeState, limitMs = 10_000): Promise<boolean> {
    return until(() => this.last(id)?.state === state, limitMs)
  }

  /** The next whole report. */
  async report(): Promise<Report> {
    const { length } = this.reports
    if (!(await until(() => this.reports.length > length))) throw new Error('no report came')
    return this.reports.at(-1) as Report
  }
}

/** The other end's agent. */
export class Far {
  readonly process: ChildProcess
  readonly news: PathNews[] = []
  readonly verdicts: TrialVerdict[] = []
  /** Smoothed, one a path and second. */
  readonly roundTripsMs: number[] = []
  #counters: Record<string, number> = {}
  #done = 0

  constructor(machine: Machine) {
    const file = fileURLToPath(new URL('./probe-far.js', import.meta.url))
    this.process = machine.spawn(process.execPath, [file, String(port)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    if (this.process.stdout === null) throw new Error('no stdout')
    createInterface({ input: this.process.stdout }).on('line', (line) => {
      const said = JSON.parse(line) as FarSaid
      if (said.news !== undefined) this.news.push(said.news)
      if (said.verdict !== undefined) this.verdicts.push(said.verdict)
      if (said.roundTripsMs !== undefined) this.roundTripsMs.push(...said.roundTripsMs)
      if (said.counters !== undefined) this.#counters = said.counters
      if (said.done === true) this.#done++
    })
  }

  async order(order: FarOrder): Promise<void> {
    const done = this.#done
    this.process.stdin?.write(`${JSON.stringify(order)}\n`)
    if (!(await until(() => this.#done > done, 30_000))) throw new Error('the far end took no order')
  }

  async counters(): Promise<Record<string, number>> {
    await this.order({ counters: true })
    return this.#counters
  }
}

export async function until(done: () => boolean, limitMs = 10_000): Promise<boolean> {
  const end = performance.now() + limitMs
  while (!done()) {
    if (performance.now() > end) return false
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  return true
}

/** Before any link is made. */
export function calmDown(): void {
  for (const which of ['all', 'default']) writeFileSync(`/proc/sys/net/ipv6/conf/${which}/accept_dad`, '0')
}

export function joinBy(
  device: string,
  far: Machine,
  addresses: readonly [string, string] = ['fe80::1/64', 'fe80::2/64'],
): void {
  ip(`link add name ${device} type veth peer name ${device} netns ${far.pid}
      link set dev ${device} addrgenmode none
      address add ${addresses[0]} dev ${device} nodad
      link set dev ${device} up`)
  far.ip(`link set dev ${device} addrgenmode none`)
  far.ip(`address add ${addresses[1]} dev ${device} nodad`)
  far.ip(`link set dev ${device} up`)
}

/** A far end that probes us over both families, on one link: 10.9.9.1 here, 10.9.9.2 there. */
export async function farOfBoth(): Promise<{ readonly machine: Machine; readonly far: Far }> {
  calmDown()
  const machine = await Machine.make('far')
  joinBy(device, machine)
  machine.ip(`address add 10.9.9.2/24 dev ${device}`)
  run('ip', 'address', 'add', '10.9.9.1/24', 'dev', device)
  const far = new Far(machine)
  await far.order({ paths: [back, { ...back, id: 'four', address: address('10.9.9.1') }] })
  return { machine, far }
}

/** Drops what matches at `hook` of the machine until it is undone. */
export function cut(
  machine: Machine,
  hook: 'input' | 'output',
  match = 'meta l4proto { udp, ipv6-icmp, icmp }',
): () => void {
  const link = hook === 'input' ? 'iifname' : 'oifname'
  machine.run('nft', 'add table inet cut')
  machine.run('nft', `add chain inet cut ${hook} { type filter hook ${hook} priority -400; }`)
  // Neighbours are left alone: a tunnel has none.
  machine.run(
    'nft',
    `add rule inet cut ${hook} icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept`,
  )
  machine.run('nft', `add rule inet cut ${hook} ${link} "ls-wg*" ${match} drop`)
  return () => machine.run('nft', 'delete table inet cut')
}

export { Machine }
