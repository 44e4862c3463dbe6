/**
 * `linkspan ping SITE|GATEWAY`: how each path there does, a line a second. The agent probes all the time, five times a second
 * and more where something is wrong; this shows what it measured and sends nothing of its own.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { CommandModule } from 'yargs'
import type { NamedPathView } from '../daemon/path-view.ts'
import { LinkspanError } from '../errors.ts'
import { ask } from './client.ts'
import { exitCode } from './exit-code.ts'
import { withJson, withRunDirectory } from './option.ts'
import type { JsonOption, RunDirectoryOption } from './option.ts'
import { table } from './table.ts'

interface PingArguments extends JsonOption, RunDirectoryOption {
  readonly to: string
  readonly count: number
}

const everyMs = 1000

export const pingCommand: CommandModule<object, PingArguments> = {
  command: 'ping <to>',
  describe: 'Round trip, jitter and loss of each path to a site or gateway, a line a second',
  builder: (yargs) =>
    withRunDirectory(withJson(yargs))
      .positional('to', { type: 'string', demandOption: true, describe: 'Name of a site or gateway' })
      .option('count', {
        type: 'number',
        requiresArg: true,
        default: 0,
        describe: 'Seconds to go on; 0: until interrupted',
      })
      .check(({ count }) => {
        if (Number.isInteger(count) && count >= 0) return true
        throw new Error('--count takes a whole number, 0 or more')
      }),
  handler: runPing,
}

async function runPing(options: PingArguments): Promise<void> {
  for (let round = 1; ; round++) {
    const { paths } = (await ask(options['run-directory'], '/paths')) as { paths: readonly NamedPathView[] }
    const found = paths.filter(({ gateway, site }) => gateway === options.to || site === options.to)
    if (found.length === 0) throw unknown(options.to, paths)
    process.exitCode = found.some(({ condition }) => condition !== 'down') ? exitCode.ok : exitCode.failed
    const text = options.json ? [JSON.stringify({ schema: 1, paths: found })] : rows(found, round === 1)
    process.stdout.write(`${text.join('\n')}\n`)
    if (round === options.count) return
    await pause(everyMs)
  }
}

function rows(paths: readonly NamedPathView[], isFirst: boolean): readonly string[] {
  const head = [
    'GATEWAY         ',
    'UNDERLAY    ',
    'PATH          ',
    'RTT MIN/MEAN/P95 ms     ',
    'JITTER ms',
    'LOSS',
  ]
  const lines = paths.map((path) => [
    path.gateway.padEnd(16),
    path.underlay.padEnd(12),
    `${path.standing === 'fit' ? path.condition : path.standing}${path.used || path.standing !== 'fit' ? '' : ', spare'}`.padEnd(
      14,
    ),
    (path.rttMs === undefined
      ? '-'
      : `${path.rttMinMs ?? 0} / ${path.rttMeanMs ?? 0} / ${path.rttP95Ms ?? 0}`
    ).padEnd(24),
    String(path.jitterMs ?? '-').padEnd(9),
    `${Math.round(path.loss * 1000) / 10} %`,
  ])
  return table(isFirst ? [head, ...lines] : lines)
}

function unknown(to: string, paths: readonly NamedPathView[]): LinkspanError {
  const names = [...new Set(paths.flatMap(({ gateway, site }) => [site, gateway]))].sort()
  const known = names.length === 0 ? 'there is none yet' : `there are ${names.slice(0, 12).join(', ')}`
  return new LinkspanError({
    code: 'usage',
    object: to,
    reason: `no path leads to a site or gateway of this name; ${known}`,
  })
}
