/** `linkspan keys`: the gateway's public keys. Private keys are never shown, by no command. */
import type { CommandModule } from 'yargs'
import { KeyStore } from '../daemon/key-store.ts'
import { defaultConfigFile, defaultStateDirectory } from '../model/config.ts'
import { deviceName } from '../model/device.ts'
import { maxUnderlays } from '../model/fabric.ts'

interface RequestArguments {
  'state-directory': string
  config: string
}

interface ShowArguments {
  'state-directory': string
  json: boolean
}

const showCommand: CommandModule<object, ShowArguments> = {
  command: 'show',
  describe: 'Show the public keys of this gateway',
  builder: (yargs) =>
    yargs
      .option('state-directory', {
        type: 'string',
        requiresArg: true,
        default: defaultStateDirectory,
        describe: 'State',
      })
      .option('json', { type: 'boolean', default: false, describe: 'JSON on stdout' }),
  handler: async (options) => {
    const keys = await KeyStore.read(options['state-directory'])
    const tunnelKeys = keys.tunnelKeys(maxUnderlays)
    const { identity, generation } = keys
    const lines = Object.entries(tunnelKeys).map(
      ([index, key]) => `${deviceName(Number(index)).padEnd(8)}  ${key}`,
    )
    const text = [`identity    ${identity}`, `generation  ${generation}`, ...lines].join('\n')
    const json = JSON.stringify({ schema: 1, identity, generation, tunnelKeys })
    process.stdout.write(`${options.json ? json : text}\n`)
  },
}

/** What `ca issue` takes as a file or on stdin. */
const requestCommand: CommandModule<object, RequestArguments> = {
  command: 'request',
  describe: 'Print the request for a certificate: one line, for `linkspan ca issue /dev/stdin`',
  builder: (yargs) =>
    yargs
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
        describe: 'State',
      }),
  handler: async (options) => {
    const [{ readConfig }, { requestOf }, { documentPath }, { outboxDirectory, readOutbox }] =
      await Promise.all([
        import('./config.ts'),
        import('../daemon/announce.ts'),
        import('../registry/file.ts'),
        import('../registry/outbox.ts'),
      ])
    const config = await readConfig(options.config)
    const keys = await KeyStore.read(options['state-directory'])
    const fresh = requestOf(config, keys)
    const path = documentPath(outboxDirectory(options['state-directory']), {
      document: fresh,
      kid: keys.identity,
      hash: '',
    })
    // The agent's has in it what the cloud and the site's links said.
    const laid = await readOutbox(path)
    const isOurs =
      laid?.kid === keys.identity &&
      laid.document.type === 'request' &&
      laid.document.payload.fabric === config.fabric
    process.stdout.write(`${keys.seal(isOurs ? laid.document : fresh).trimEnd()}\n`)
  },
}

export const keysCommand: CommandModule = {
  command: 'keys <command>',
  describe: 'The keys of this gateway',
  builder: (yargs) =>
    yargs.command(showCommand).command(requestCommand).demandCommand(1, 'Which keys command?'),
  handler: () => {
    // The command above does the work.
  },
}
