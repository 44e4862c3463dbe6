/** `linkspan routes`: which prefix goes where, and which do not and why. */
import type { CommandModule } from 'yargs'
import type { RouteView } from '../daemon/status.ts'
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
  const rows = installed.map(({ prefix, type, to, devices, mtu, src }) => {
    const { site, gateways } = destination(to)
    const where = type === 'unicast' ? site : whatIsDone[type]
    return [prefix, where, gateways, devices?.join(',') ?? '-', String(mtu ?? '-'), src ?? '-']
  })
  const lines = table([head, ...rows])
  const missing = routes.filter(({ type }) => type === 'not installed')
  if (missing.length > 0) {
    lines.push('', 'Not installed here')
    lines.push(
      ...table(missing.map(({ prefix, to, reason }) => [`  ${prefix}`, `site ${to ?? '-'}`, reason ?? ''])),
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

/** A group's key: `default SITE GATEWAY,...` or `gateway NAME` (plan/group-id.ts). */
function destination(key = ''): { readonly site: string; readonly gateways: string } {
  const [kind, first = '-', second] = key.split(' ')
  if (kind === 'default') return { site: first, gateways: second ?? '-' }
  return { site: '-', gateways: first }
}
