/**
 * The command line: one yargs table, one file per command.
 *
 * yargs has habits that must not reach a gateway: a `fail` handler that returns lets the command run, `--json=flase`
 * silently means false, and its own exit() cuts output short. So: strict parsing, failures are thrown, boolean values are
 * checked as they were typed, and empty values and options given twice are refused. Commands import what they need when they
 * run; `ca`, `registry` and `keys`, whose options need more, are loaded only where the command line names them.
 */
import yargs from 'yargs'
import type { Argv } from 'yargs'
import { LinkspanError } from '../errors.ts'
import { agentCommand } from './agent.ts'
import { downCommand } from './down.ts'
import { drainCommand } from './drain.ts'
import { eventsCommand } from './events.ts'
import { peersCommand } from './peers.ts'
import { pingCommand } from './ping.ts'
import { planCommand } from './plan.ts'
import { routesCommand } from './routes.ts'
import { statusCommand } from './status.ts'
import { packageVersion } from './version.ts'

/** Parses and runs. Throws `usage` before anything has run where the line is wrong, and whatever the command throws. */
export async function runCommandLine(given: readonly string[]): Promise<void> {
  // yargs makes an empty text of a lone `-`.
  const line = given.map((word) => (word === '-' ? '/dev/stdin' : word))
  refuseEmpty(line)
  const parser = yargs([...line])
    .scriptName('linkspan')
    .usage('$0 <command>: private network between sites over WireGuard and VXLAN')
    .version(packageVersion())
    .help()
    .alias('help', 'h')
    .parserConfiguration({
      'dot-notation': false,
      'duplicate-arguments-array': false,
      'camel-case-expansion': false,
    })
    .strict()
    .recommendCommands()
    .demandCommand(1, 'Which command?')
    .exitProcess(false)
    .wrap(Math.min(110, process.stdout.columns || 110))
    .fail((message: string | null, error: Error | undefined) => {
      // YError: yargs' own, about the line; all others are of the command that ran.
      if (error instanceof Error && error.name !== 'YError') throw error
      throw usage(message ?? error?.message ?? 'cannot be understood')
    })
    .check((parsed) => checkBooleans(line, parsed))
    .check((parsed) => checkEmpty(line, parsed))
    .check((parsed) => checkRepeated(line, parsed))
    .command(agentCommand)
    .command(planCommand)
    .command(statusCommand)
    .command(peersCommand)
    .command(routesCommand)
    .command(pingCommand)
    .command(eventsCommand)
    .command(drainCommand)
    .command(downCommand)
  await addLazily(parser, line)
  await parser.parseAsync()
}

async function addLazily(parser: Argv, line: readonly string[]): Promise<void> {
  const described = [
    ['ca', 'The authority of a fabric'],
    ['registry', 'Work on a registry'],
    ['keys', 'The keys of this gateway'],
  ] as const
  for (const [name, describe] of described) {
    if (!line.includes(name)) parser.command(`${name} <command>`, describe)
    else if (name === 'ca') parser.command((await import('./ca.ts')).caCommand)
    else if (name === 'registry') parser.command((await import('./registry.ts')).registryCommand)
    else parser.command((await import('./keys.ts')).keysCommand)
  }
}

/** `--json=flase`: yargs makes it false; the operator meant something. */
function checkBooleans(line: readonly string[], given: Readonly<Record<string, unknown>>): true {
  for (const word of line) {
    if (word === '--') break
    const [, no, name = '', value] = /^--(no-)?([^=]+)=(.*)$/s.exec(word) ?? []
    if (value === undefined || typeof given[name] !== 'boolean') continue
    if (no === undefined && (value === 'true' || value === 'false')) continue
    throw usage(`--${no ?? ''}${name} is on or off: expected --${name} or --no-${name}, found "${word}"`)
  }
  return true
}

/** `--config=` is an empty text; a script's variable was not set. */
function refuseEmpty(line: readonly string[]): void {
  for (const word of line) {
    if (word === '--') break
    const option = /^(--[^=]+)=$/s.exec(word)?.[1]
    if (option !== undefined) throw usage(`${option} needs a value`)
  }
}

/** `--config ''` and `status ''`, the same mistake. */
function checkEmpty(line: readonly string[], given: Readonly<Record<string, unknown>>): true {
  const isEmpty = (value: unknown): boolean => value === '' || (Array.isArray(value) && value.includes(''))
  const [name] = Object.entries(given).find(([key, value]) => key !== '$0' && isEmpty(value)) ?? []
  if (name === undefined) return true
  const option = line.includes(`--${name}`) ? `--${name}` : name === '_' ? 'each word' : `<${name}>`
  throw usage(`${option} needs a value`)
}

/** yargs lets the last one count: `--dry-run --no-dry-run` would remove everything. */
function checkRepeated(line: readonly string[], given: Readonly<Record<string, unknown>>): true {
  const seen = new Set<string>()
  for (const word of line) {
    if (word === '--') break
    const name = /^--(?:no-)?([^=]+)/.exec(word)?.[1]
    if (name === undefined) continue
    // Lists are what may be repeated.
    if (seen.has(name) && !Array.isArray(given[name]))
      throw new LinkspanError({ code: 'usage', object: `--${name}`, reason: 'is given twice' })
    seen.add(name)
  }
  return true
}

function usage(reason: string): LinkspanError {
  return new LinkspanError({
    code: 'usage',
    object: 'linkspan',
    reason: reason.trim(),
    next: 'linkspan --help',
  })
}
