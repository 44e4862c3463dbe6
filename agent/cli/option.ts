/** Options that several commands share. */
import type { Argv } from 'yargs'
import { defaultConfigFile, defaultStateDirectory } from '../model/config.ts'
import { defaultRunDirectory } from './client.ts'

export interface JsonOption {
  readonly json: boolean
}

export interface RunDirectoryOption {
  readonly 'run-directory': string
}

export interface PlaceOptions extends RunDirectoryOption {
  readonly config: string
  readonly 'state-directory': string
}

export function withJson<T>(yargs: Argv<T>): Argv<T & JsonOption> {
  return yargs.option('json', {
    type: 'boolean',
    default: false,
    describe: 'JSON on stdout, with a schema number',
  })
}

export function withRunDirectory<T>(yargs: Argv<T>): Argv<T & RunDirectoryOption> {
  return yargs.option('run-directory', {
    type: 'string',
    requiresArg: true,
    default: defaultRunDirectory,
    describe: 'Where the agent has its socket',
  })
}

export function withPlaces<T>(yargs: Argv<T>): Argv<T & PlaceOptions> {
  return withRunDirectory(yargs)
    .option('config', {
      type: 'string',
      requiresArg: true,
      default: defaultConfigFile,
      describe: 'config.yml',
    })
    .option('state-directory', {
      type: 'string',
      requiresArg: true,
      default: defaultStateDirectory,
      describe: 'Keys and state',
    })
}
