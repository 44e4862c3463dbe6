/** `linkspan keys`: the gateway's public keys. Private keys are never shown, by no command. */
import type { CommandModule } from 'yargs'
import { KeyStore } from '../daemon/key-store.ts'
import { defaultStateDirectory } from '../model/config.ts'
import { deviceName } from '../model/device.ts'
import { maxUnderlays } from '../model/fabric.ts'

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

export const keysCommand: CommandModule = {
  command: 'keys <command>',
  describe: 'The keys of this gateway',
  builder: (yargs) => yargs.command(showCommand).demandCommand(1, 'Which keys command?'),
  handler: () => {
    // The command above does the work.
  },
}
