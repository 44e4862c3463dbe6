/**
 * Cold programming of 100,000 prefixes behind groups through the real driver, against a minimal C program that sends the
 * very same messages in batches of 64. `ip -batch` beside it, for information.
 */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { MessageWriter } from '../../agent/kernel/message.ts'
import { encodeRoute } from '../../agent/kernel/route.ts'
import { figure, median } from './figure.ts'
import type { Figure } from './figure.ts'
import { benchRoutes, clearRoutes, ip, makeGround } from './ground.ts'
import { longestStall } from './stall.ts'

const count = 100_000
const rounds = 5

export async function run(): Promise<Figure[]> {
  const ground = await makeGround()
  const baseline = fileURLToPath(new URL('../../../native/build/routes', import.meta.url))
  try {
    const routes = benchRoutes(count)
    const file = path.join(ground.directory, 'messages')
    const writer = new MessageWriter(16 << 20)
    for (const route of routes) encodeRoute(writer, 'add', route, () => 0)
    writeFileSync(file, writer.take())
    const driver: number[] = []
    const minimal: number[] = []
    let stall = 0
    const signal = new AbortController().signal
    for (let round = 0; round < rounds; round++) {
      clearRoutes()
      const ops = routes.map((object) => ({ verb: 'add' as const, object }))
      const started = performance.now()
      stall = Math.max(
        stall,
        await longestStall(async () => {
          const failed = (await ground.kernel.apply(ops, signal)).filter(({ error }) => error !== undefined)
          if (failed.length > 0)
            throw new Error(`${failed.length} routes failed: ${failed[0]?.error?.reason ?? ''}`)
        }),
      )
      driver.push(count / ((performance.now() - started) / 1000))
      clearRoutes()
      const [nanoseconds, refused] = execFileSync(baseline, [file, '64'], { encoding: 'utf8' })
        .split(' ')
        .map(Number)
      if (refused !== 0) throw new Error(`the baseline had ${refused ?? ''} routes refused`)
      minimal.push(count / ((nanoseconds ?? 0) / 1e9))
    }
    clearRoutes()
    const batch = path.join(ground.directory, 'batch')
    const lines = routes.map(
      ({ prefix, nexthop }) => `route add ${prefix} nhid ${nexthop ?? 0} proto 76 table 19539`,
    )
    writeFileSync(batch, `${lines.join('\n')}\n`)
    const started = performance.now()
    ip('-batch', batch)
    const iproute = count / ((performance.now() - started) / 1000)
    clearRoutes()
    const ratios = driver.map((rate, i) => rate / (minimal[i] ?? Number.NaN))
    return [
      figure('routes', {
        figure: 'driver / minimal C',
        value: median(ratios),
        unit: 'ratio',
        atLeast: 0.85,
        baseline: `C ${Math.round(median(minimal))} routes/s`,
      }),
      figure('routes', { figure: 'driver', value: median(driver), unit: 'routes/s' }),
      figure('routes', { figure: 'ip -batch', value: iproute, unit: 'routes/s' }),
      figure('routes', { figure: 'longest event-loop stall', value: stall, unit: 'ms', atMost: 50 }),
    ]
  } finally {
    await ground.close()
  }
}
