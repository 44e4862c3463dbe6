/**
 * Lossy paths for a while, with the engine's default profile and what the daemon makes of its reports: half of them lose 20 %
 * of round trips, half 5 %. Counts what should not be: a path that is taken for down, a path at 5 % whose standing changes.
 */
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { probes } from '../../agent/kernel/addon.ts'
import { address } from '../../agent/model/prefix.ts'
import { startProbes } from '../../agent/probe/engine.ts'
import type { ProbeProfile } from '../../agent/probe/port.ts'
import { pathId } from '../../agent/probe/known-paths.ts'
import { PathTable } from '../../agent/probe/table.ts'
import type { NamedPath } from '../../agent/probe/table.ts'
import { baseline, device, port, quiet, until } from './probe-lab.ts'
import type { Machine } from './probe-lab.ts'

export const defaultProfile: ProbeProfile = { intervalMs: 200, retryMs: 60, downAfter: 10 }

export interface Soak {
  /** Probes sent meanwhile. */
  readonly sent: number
  /** Share of them lost, as the engine counts it: of the paths at 20 %, and of those at 5 %. */
  readonly lost: readonly [number, number]
  /** Changes of the engine's state, of any path. */
  readonly falseDowns: number
  /** Changes of the standing of paths at 5 %. */
  readonly flaps: number
}

interface Count {
  answered: number
  lost: number
}

/** `each`: paths of either kind. `far` is joined by `device`, and its addresses are those of paths.c: up to twice `each`. */
export async function soak(far: Machine, each: number, seconds: number): Promise<Soak> {
  const crowd = Array.from({ length: 2 * each }, (_, n) => `fe80::1:${(n + 1).toString(16)}`)
  const paths = crowd.map((at): NamedPath & { readonly at: string } => {
    return { at, gateway: at, site: at, underlay: 'wan', device }
  })
  const table = new PathTable()
  table.name(paths, performance.now())
  let [isLossy, falseDowns, flaps] = [false, 0, 0]
  const counts: readonly [Count, Count] = [
    { answered: 0, lost: 0 },
    { answered: 0, lost: 0 },
  ]
  const kindOf = (gateway: string): 0 | 1 => (crowd.indexOf(gateway) < each ? 0 : 1)
  const settle = (): void => {
    for (const { entry } of table.settle()) if (isLossy && kindOf(entry.gateway) === 1) flaps++
  }
  const reflector = far.spawn(baseline, ['crowd', device, String(port), String(crowd.length), '0', '3600'])
  const engine = startProbes(probes(), port, quiet, {
    onChange: (news) => {
      if (isLossy && news.state !== 'up') falseDowns++
      table.tell(news)
      settle()
    },
    onReport: (report) => {
      table.report(report)
      settle()
      if (!isLossy) return
      for (let row = 0; row < report.rows; row++) {
        const count = counts[kindOf(report.idOf(row)?.split(' ')[0] ?? '')]
        count.answered += report.value(row, 'answered')
        count.lost += report.value(row, 'unanswered') - report.value(row, 'late')
      }
    },
  })
  try {
    engine.setPaths(
      paths.map((path) => ({ id: pathId(path), device, address: address(path.at), profile: defaultProfile })),
    )
    const isUp = (): boolean => [...table.entries()].every(({ state }) => state === 'up')
    if (!(await until(isUp, 30_000))) throw new Error('the paths did not come up')
    writeFileSync(far.path('/run/lossy'), lossy(crowd.slice(0, each), crowd.slice(each)))
    far.run('nft', '-f', '/run/lossy')
    const before = engine.counters().sent
    isLossy = true
    await pause(seconds * 1000)
    isLossy = false
    const share = ({ answered, lost }: Count): number => lost / (answered + lost)
    const lost = [share(counts[0]), share(counts[1])] as const
    return { sent: engine.counters().sent - before, lost, falseDowns, flaps }
  } finally {
    far.attempt('nft', 'delete', 'table', 'inet', 'lossy')
    engine.stop()
    reflector.kill('SIGKILL')
    await once(reflector, 'exit')
  }
}

function lossy(much: readonly string[], little: readonly string[]): string {
  const rule = (of: readonly string[], percent: number): string =>
    `iifname ${device} ip6 daddr { ${of.join(', ')} } numgen random mod 100 < ${percent} drop`
  return `table inet lossy {
    chain input {
      type filter hook input priority -400
      ${rule(much, 20)}
      ${rule(little, 5)}
    }
  }`
}
