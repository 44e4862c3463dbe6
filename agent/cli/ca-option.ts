/** Options that the commands of `linkspan ca` share, and where an authority has its place. */
import { homedir } from 'node:os'
import { isAbsolute, join, resolve } from 'node:path'
import type { Argv } from 'yargs'
import { LinkspanError } from '../errors.ts'
import { defaultConfigFile } from '../model/config.ts'
import type { PassphraseSource } from './passphrase.ts'

export interface CaOptions {
  readonly ca?: string
  readonly registry?: string
  readonly remember: boolean
  readonly config: string
  readonly json: boolean
}

export interface SigningOptions extends CaOptions {
  readonly 'passphrase-file'?: string
}

export interface KeyMakingOptions extends SigningOptions {
  /** False: `--no-passphrase`. */
  readonly passphrase: boolean
}

export function withCa<T>(yargs: Argv<T>): Argv<T & CaOptions> {
  return yargs
    .option('ca', {
      type: 'string',
      requiresArg: true,
      describe: 'The directory of the authority (default: ~/.local/share/linkspan/ca)',
    })
    .option('registry', {
      type: 'string',
      requiresArg: true,
      describe: 'Directory, URL, or YAML file with registry: (default: the one used first, else config.yml)',
    })
    .option('remember', {
      type: 'boolean',
      default: false,
      describe: 'From now on --registry is the registry of this authority',
    })
    .option('config', {
      type: 'string',
      requiresArg: true,
      default: defaultConfigFile,
      describe: 'config.yml',
    })
    .option('json', {
      type: 'boolean',
      default: false,
      describe: 'JSON on stdout, with a schema number',
    }) as Argv<T & CaOptions>
}

export function withSigning<T>(yargs: Argv<T>): Argv<T & SigningOptions> {
  return withCa(yargs).option('passphrase-file', {
    type: 'string',
    requiresArg: true,
    describe: 'Its first line is the passphrase of the key',
  }) as Argv<T & SigningOptions>
}

export function withKeyMaking<T>(yargs: Argv<T>): Argv<T & KeyMakingOptions> {
  return withSigning(yargs).option('passphrase', {
    type: 'boolean',
    default: true,
    describe: '--no-passphrase: store the key unencrypted',
  })
}

/** What a gateway is certified for, now or when it claims its voucher. */
export interface GrantOptions {
  readonly plane: string | undefined
  readonly number: string | undefined
  readonly prefix: readonly string[] | undefined
  readonly network: readonly string[] | undefined
  readonly grant: readonly string[] | undefined
  readonly days: string
}

/** `instead`: of what they stand in place. */
export function withGrants<T>(yargs: Argv<T>, instead = ''): Argv<T & GrantOptions> {
  const one = { type: 'string', requiresArg: true } as const
  const some = { type: 'string', array: true, nargs: 1 } as const
  return repeatable(yargs, ['prefix', 'network', 'grant'])
    .option('plane', { ...one, describe: 'Plane in its site, 0-3 (default: lowest free)' })
    .option('number', { ...one, describe: 'Fabric-wide number (default: lowest free)' })
    .option('prefix', { ...some, describe: `PREFIX[:MAXLENGTH]${instead}` })
    .option('network', { ...some, describe: `NAME[=PREFIX,...]${instead}` })
    .option('grant', { ...some, describe: 'defaultRoute or shared; none takes them back' })
    .option('days', { ...one, default: '398', describe: 'Valid for so many days' })
}

/**
 * Lets these options be repeated. The table of all commands makes the last of repeated options count, which would silently
 * drop prefixes; here they are collected, and options that have one value are refused when they come twice.
 */
export function repeatable<T>(yargs: Argv<T>, names: readonly string[]): Argv<T> {
  return yargs
    .parserConfiguration({
      'dot-notation': false,
      'camel-case-expansion': false,
      'duplicate-arguments-array': true,
    })
    .check((given) => {
      const twice = Object.entries(given).find(
        ([name, value]) => name !== '_' && Array.isArray(value) && !names.includes(name),
      )
      if (twice === undefined) return true
      throw new LinkspanError({ code: 'usage', object: `--${twice[0]}`, reason: 'is given twice' })
    })
}

/** Of the XDG Base Directory Specification: relative paths in the variable count for nothing. */
export function directoryOf({ ca }: CaOptions): string {
  if (ca !== undefined) return resolve(ca)
  const given = process.env['XDG_DATA_HOME'] ?? ''
  const data = isAbsolute(given) ? given : join(homedir(), '.local', 'share')
  return join(data, 'linkspan', 'ca')
}

export function passphraseOf(options: SigningOptions & { readonly passphrase?: boolean }): PassphraseSource {
  const file = options['passphrase-file']
  return { none: options.passphrase === false, ...(file === undefined ? {} : { file }) }
}

/** Throws `usage`. */
export function integerOf(option: string, text: string, least: number, most: number): number {
  const number = /^(?:0|[1-9][0-9]{0,5})$/.test(text) ? Number(text) : NaN
  if (number >= least && number <= most) return number
  const reason = `expected an integer, ${least} to ${most}, found "${text}"`
  const hint = /^0+[0-9]+$/.test(text) ? { next: 'write it without leading zeros' } : {}
  throw new LinkspanError({ code: 'usage', object: option, reason, ...hint })
}

export const dayMs = 24 * 3600 * 1000
