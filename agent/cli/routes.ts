/** `linkspan routes`: which prefix goes where, and which do not and why. */
import type { CommandModule } from 'yargs'
import type { RouteView } from '../daemon/route-view.ts'
import { ask } from './client.ts'
import { withJson, withRunDirectory } from './option.ts'
import type { JsonOption, RunDirectoryOption } from './option.ts'
import { table } from './table.ts'

export const routesCommand: CommandModule<object, JsonOption & RunDirectoryOption> = {
  command: 'routes',
  describe: 'Prefixes, where they lead, and those that are not installed',
  builder: (yargs) => withRunDirectory(withJson(yargs)),
  handler: async (options) => {
    const answer = (await ask(options['run-directory'], '/routes')) as {
      readonly routes: readonly RouteView[]
    }
    const text = options.json ? JSON.stringify(answer) : formatRoutes(answer.routes)
    process.stdout.write(`${text}\n`)
  },
}

export function formatRoutes(routes: readonly RouteView[]): string {
  const head = ['PREFIX', 'SITE', 'GATEWAYS', 'DEVICES', 'MTU', 'SRC']
  const installed = routes.filter(({ type }) => type !== 'not installed')
  const rows = installed.map(({ prefix, type, site, gateways, devices, mtu, src }) => {
    const where = type === 'unicast' ? (site ?? '-') : whatIsDone[type]
    return [
      prefix,
      where,
      gateways?.join(',') ?? '-',
      devices?.join(',') ?? '-',
      String(mtu ?? '-'),
      src ?? '-',
    ]
  })
  const lines = table([head, ...rows])
  const shared = installed.filter(({ reason }) => reason !== undefined)
  if (shared.length > 0) {
    lines.push('', 'Of several sites, one at a time is used')
    lines.push(
      ...table(
        shared.map(({ prefix, site, reason }) => [`  ${prefix}`, `site ${site ?? '-'}`, reason ?? '']),
      ),
    )
  }
  const missing = routes.filter(({ type }) => type === 'not installed')
  if (missing.length > 0) {
    lines.push('', 'Not installed here')
    lines.push(
      ...table(
        missing.map(({ prefix, site, reason }) => [`  ${prefix}`, `site ${site ?? '-'}`, reason ?? '']),
      ),
    )
  }
  return lines.join('\n')
}

const whatIsDone: Readonly<Record<RouteView['type'], string>> = {
  unicast: '',
  throw: '(this side)',
  unreachable: '(unreachable)',
  blackhole: '(dropped)',
  'not installed': '',
}
