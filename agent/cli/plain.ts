/**
 * The two commands that must not wait for yargs: `status`, which people and programs ask all the time, and `agent`, which
 * would keep yargs in memory for good. Their usual forms are parsed here, with node's strict parser; whatever that does
 * not like goes to yargs, which says what is wrong.
 */
import { parseArgs } from 'node:util'
import { defaultConfigFile, defaultStateDirectory } from '../model/config.ts'
import { wireGuards } from './agent.ts'
import type { AgentArguments } from './agent.ts'
import { defaultRunDirectory } from './client.ts'
import type { StatusArguments } from './status.ts'

const text = { type: 'string' } as const
const flag = { type: 'boolean' } as const

/** Undefined where yargs must look at the line. */
export function plainStatus(line: readonly string[]): StatusArguments | undefined {
  const parsed = plain(() =>
    parseArgs({
      args: line.slice(1),
      options: { json: flag, 'run-directory': text },
      allowPositionals: true,
      tokens: true,
    }),
  )
  if (line[0] !== 'status' || parsed === undefined || parsed.positionals.length > 1) return undefined
  const { values, positionals } = parsed
  const [gateway] = positionals
  return {
    json: values.json === true,
    'run-directory': values['run-directory'] ?? defaultRunDirectory,
    ...(gateway === undefined ? {} : { gateway }),
  }
}

/** Undefined where yargs must look at the line. */
export function plainAgent(line: readonly string[]): AgentArguments | undefined {
  const parsed = plain(() =>
    parseArgs({
      args: line.slice(1),
      options: {
        config: text,
        'state-directory': text,
        'run-directory': text,
        wireguard: text,
        verbose: flag,
      },
      tokens: true,
    }),
  )
  if (line[0] !== 'agent' || parsed === undefined) return undefined
  const { values } = parsed
  const wireguard = wireGuards.find((each) => each === (values.wireguard ?? 'auto'))
  if (wireguard === undefined) return undefined
  return {
    config: values.config ?? defaultConfigFile,
    'state-directory': values['state-directory'] ?? defaultStateDirectory,
    'run-directory': values['run-directory'] ?? defaultRunDirectory,
    wireguard,
    verbose: values.verbose === true,
  }
}

interface Parsed {
  readonly values: Readonly<Record<string, unknown>>
  readonly positionals: readonly string[]
  readonly tokens: readonly ({ readonly kind: string } | { readonly kind: 'option'; readonly name: string })[]
}

function plain<T extends Parsed>(parse: () => T): T | undefined {
  try {
    const parsed = parse()
    // `--config=`, `--config --json`, `status ''` and `--json --json` are mistakes, too.
    const odd = Object.values(parsed.values).some((value) => value === '' || String(value).startsWith('-'))
    const names = parsed.tokens.flatMap((token) => ('name' in token ? [token.name] : []))
    const twice = new Set(names).size < names.length
    return odd || twice || parsed.positionals.includes('') ? undefined : parsed
  } catch {
    return undefined
  }
}
