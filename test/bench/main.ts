/**
 * scripts/bench [NAME...] [--json] [--long]: measures, prints a table, exits 1 where a bound is missed. `--long`: as often and
 * for as long as the demands on it say, where that takes too long for every day.
 *
 * Every bench is a module with `run(): Promise<Figure[]>`. Benches make their own namespaces and remove them. Bounds that
 * compare are ratios within one run; the median of five unless a bench says otherwise.
 */
import { figure, formatTable } from './figure.ts'
import type { Figure } from './figure.ts'

export interface BenchOptions {
  readonly isLong: boolean
}

type Run = (options: BenchOptions) => Promise<Figure[]>

const benches: Readonly<Record<string, () => Promise<{ run: Run }>>> = {
  routes: () => import('./routes.ts'),
  audit: () => import('./audit.ts'),
  change: () => import('./change.ts'),
  memory: () => import('./memory.ts'),
  idle: () => import('./idle.ts'),
  start: () => import('./start.ts'),
  restart: () => import('./restart.ts'),
  trust: () => import('./trust.ts'),
  paths: () => import('./paths.ts'),
  failover: () => import('./failover.ts'),
  'failover-many': () => import('./failover-many.ts'),
  rotation: () => import('./rotation.ts'),
}

const options = process.argv.slice(2).filter((argument) => argument.startsWith('-'))
const names = process.argv.slice(2).filter((argument) => !argument.startsWith('-'))
const unknown = [
  ...options.filter((option) => !['--json', '--long'].includes(option)),
  ...names.filter((name) => !Object.hasOwn(benches, name)),
]
if (unknown.length > 0) {
  console.error(
    `bench: unknown ${unknown.join(', ')}; usage: scripts/bench [--json] [--long] [${Object.keys(benches).join('|')}]...`,
  )
  process.exit(2)
}
const json = options.includes('--json')
const isLong = options.includes('--long')

const figures: Figure[] = []
for (const [name, load] of Object.entries(benches)) {
  if (names.length > 0 && !names.includes(name)) continue
  if (!json) console.error(`${name} ...`)
  try {
    const { run } = await load()
    figures.push(...(await run({ isLong })))
  } catch (error) {
    // The others are measured all the same.
    console.error(error)
    figures.push(figure(name, { figure: 'ended early', value: Number.NaN, unit: '' }))
  }
}
console.log(json ? JSON.stringify(figures, null, 2) : formatTable(figures))
process.exit(figures.every(({ ok }) => ok) ? 0 : 1)
