/** An audit over 100,000 unchanged routes: dump, compare, find nothing. */
import { diffSteps } from '../../agent/diff/diff.ts'
import { inTurns } from '../../agent/daemon/breath.ts'
import { nexthopId } from '../../agent/model/kernel-number.ts'
import type { KernelObject } from '../../agent/model/kernel-object.ts'
import { figure, median } from './figure.ts'
import type { Figure } from './figure.ts'
import { benchRoutes, clearRoutes, groups, makeGround } from './ground.ts'
import { longestStall } from './stall.ts'

const count = 100_000
const rounds = 5

export async function run(): Promise<Figure[]> {
  const ground = await makeGround()
  const signal = new AbortController().signal
  try {
    clearRoutes()
    const routes = benchRoutes(count)
    await ground.kernel.apply(
      routes.map((object) => ({ verb: 'add', object })),
      signal,
    )
    const member = nexthopId.device(0)
    const desired: KernelObject[] = [
      { kind: 'nexthop', id: member, family: 6, device: 'bench0' },
      ...Array.from({ length: groups }, (_, i): KernelObject => ({
        kind: 'group',
        id: nexthopId.firstGroup + i,
        members: [{ id: member, weight: 1 }],
      })),
      ...routes,
    ]
    const times: number[] = []
    let stall = 0
    let ops = 0
    for (let round = 0; round < rounds; round++) {
      const started = performance.now()
      const away = await longestStall(async () => {
        const observed: KernelObject[][] = []
        for await (const part of ground.kernel.observe({ sysctls: [] }, signal)) observed.push([...part])
        const { ops: found } = await inTurns(diffSteps(desired, flat(observed), { nowSeconds: 0 }), signal)
        ops += found.length
      })
      times.push((performance.now() - started) / 1000)
      stall = Math.max(stall, away)
    }
    return [
      figure('audit', { figure: '100,000 unchanged routes', value: median(times), unit: 's', atMost: 0.5 }),
      figure('audit', { figure: 'ops found', value: ops, unit: 'ops', atMost: 0 }),
      figure('audit', { figure: 'longest event-loop stall', value: stall, unit: 'ms', atMost: 50 }),
    ]
  } finally {
    await ground.close()
  }
}

function* flat(parts: readonly (readonly KernelObject[])[]): Generator<KernelObject> {
  for (const part of parts) yield* part
}
