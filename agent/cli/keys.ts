/** `linkspan keys`: the gateway's public keys, and how they are rotated. Private keys are never shown, by no command. */
import { setTimeout as pause } from 'node:timers/promises'
import type { CommandModule } from 'yargs'
import type { KeysView } from '../daemon/control.ts'
import { formatAgo } from '../daemon/duration.ts'
import { KeyStore } from '../daemon/key-store.ts'
import type { Generation } from '../daemon/key-store.ts'
import { defaultConfigFile, defaultStateDirectory } from '../model/config.ts'
import { deviceName } from '../model/device.ts'
import { maxUnderlays } from '../model/fabric.ts'
import { ask } from './client.ts'
import { exitCode } from './exit-code.ts'
import { withJson, withRunDirectory } from './option.ts'
import type { JsonOption, RunDirectoryOption } from './option.ts'
import { keysLine } from './status.ts'

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
    const { identity, generation, newest, older } = keys
    const lines = Object.entries(tunnelKeys).map(
      ([index, key]) => `${deviceName(Number(index)).padEnd(8)}  ${key}`,
    )
    const ageOf = ({ madeAtMs }: Generation): number =>
      Math.max(0, Math.round((Date.now() - madeAtMs) / 1000))
    const made = `made ${formatAgo(ageOf(newest))}`
    const text = [
      `identity    ${identity}`,
      `generation  ${generation}, ${made}`,
      ...(older === undefined
        ? []
        : [`rotating    generation ${older.number} ${older.isOffered ? 'is still offered' : 'retires'}`]),
      ...lines,
    ].join('\n')
    const json = JSON.stringify({
      schema: 1,
      identity,
      generation,
      ageSeconds: ageOf(newest),
      ...(older === undefined ? {} : { older: { generation: older.number, isOffered: older.isOffered } }),
      tunnelKeys,
    })
    process.stdout.write(`${options.json ? json : text}\n`)
  },
}

interface RotateArguments extends JsonOption, RunDirectoryOption {
  readonly wait: boolean
  readonly timeout: number
}

const everyMs = 1000

/** The old keys go when nobody used them for three minutes, so that the default leaves time for the registry as well. */
const rotateCommand: CommandModule<object, RotateArguments> = {
  command: 'rotate',
  describe: 'Make new tunnel keys beside the old ones; peers go over to them without a lost packet',
  builder: (yargs) =>
    withRunDirectory(withJson(yargs))
      .option('wait', { type: 'boolean', default: false, describe: 'Wait until the old keys are deleted' })
      .option('timeout', {
        type: 'number',
        requiresArg: true,
        default: 600,
        describe: 'Seconds to wait at most',
      })
      .check(({ timeout }) => {
        if (Number.isFinite(timeout) && timeout > 0) return true
        throw new Error('--timeout takes a number of seconds above 0')
      }),
  handler: rotate,
}

async function rotate(options: RotateArguments): Promise<void> {
  const at = options['run-directory']
  const first = (await ask(at, '/keys/rotate', { method: 'POST' })) as KeysView
  const tell = (view: KeysView, text: string): void => {
    process.stdout.write(`${options.json ? JSON.stringify(view) : text}\n`)
  }
  const { generation } = first
  if (!options.wait) {
    if (first.begun !== true) process.exitCode = exitCode.failed
    tell(first, first.begun === true ? `generation ${generation} begun` : `under way: ${keysLine(first)}`)
    return
  }
  const until = performance.now() + options.timeout * 1000
  let said = ''
  for (;;) {
    const now = (await ask(at, '/keys')) as KeysView
    if (now.older === undefined) {
      tell(now, `rotated: generation ${now.generation} is the only one`)
      return
    }
    if (performance.now() >= until) {
      process.exitCode = exitCode.degraded
      tell(now, `not done after ${options.timeout} s, and goes on: ${keysLine(now)}`)
      return
    }
    const waits = (now.waitsFor ?? '').replace(/[0-9]+ s$/, 'a while')
    if (waits !== said && waits !== '') process.stderr.write(`${now.waitsFor}\n`)
    said = waits
    await pause(everyMs)
  }
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
    yargs
      .command(showCommand)
      .command(requestCommand)
      .command(rotateCommand)
      .demandCommand(1, 'Which keys command?'),
  handler: () => {
    // The command above does the work.
  },
}
