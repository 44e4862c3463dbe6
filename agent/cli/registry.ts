/** `linkspan registry`: what is in a registry, and what the gateways make of it. */
import type { Argv, ArgumentsCamelCase, CommandModule } from 'yargs'
import { formatReason, LinkspanError } from '../errors.ts'
import { defaultConfigFile } from '../model/config.ts'
import type { RegistryConfig } from '../model/config.ts'
import type { Delivered } from '../model/document.ts'
import type { Ground } from '../trust/ground.ts'
import { momentOf } from '../trust/moment.ts'
import { isRefusal, parseDocument } from '../trust/parse.ts'
import { identityPattern } from '../trust/payload.ts'
import { formatRefusal } from '../trust/refusal.ts'
import { verify } from '../trust/verify.ts'
import { readConfig } from './config.ts'
import { exitCode } from './exit-code.ts'
import { print, say } from './output.ts'
import { readAll, registryText } from './registry-driver.ts'
import { listing } from './registry-list.ts'
import { registryOf, registryOption } from './registry-option.ts'

interface Common {
  registry?: string
  authority?: string
  config: string
  json: boolean
}

const listCommand: CommandModule<object, Common> = {
  command: 'list',
  describe: 'Show the documents and what is refused (then exit code 3) or unreadable (1)',
  builder: common,
  handler: list,
}

export const registryCommand: CommandModule = {
  command: 'registry <command>',
  describe: 'Look into a registry',
  builder: (yargs) => yargs.command(listCommand).demandCommand(1, 'Which registry command?'),
  handler: () => {
    // One of the commands above does the work.
  },
}

function common<T>(yargs: Argv<T>): Argv<T & Common> {
  return yargs
    .option('registry', {
      type: 'string',
      requiresArg: true,
      describe: 'Directory, URL, or YAML file with registry: (default: config.yml)',
    })
    .option('authority', {
      type: 'string',
      requiresArg: true,
      describe: 'Key of the authority (default: that of config.yml)',
    })
    .option('config', {
      type: 'string',
      requiresArg: true,
      default: defaultConfigFile,
      describe: 'config.yml',
    })
    .option('json', { type: 'boolean', default: false, describe: 'JSON on stdout' }) as Argv<T & Common>
}

async function list(options: ArgumentsCamelCase<Common>): Promise<void> {
  const { registry } = options
  const of: RegistryConfig =
    registry === undefined
      ? (await readConfig(options.config)).registry
      : registryOf(await registryOption(registry), undefined)
  const directory = registryText(of)
  const { documents, unreadable } = await readAll(of)
  const ground = await groundOf(options, documents)
  const verdict = verify(documents, { ...ground, moment: momentOf(Date.now()) })
  const shown = listing(directory, documents, verdict.snapshot, verdict.refusals, unreadable)
  print(options, { ...shown.json, authority: ground.authority }, shown.text)
  for (const refusal of verdict.refusals) if (!options.json) say(formatRefusal(refusal))
  for (const reason of unreadable) if (!options.json) say(`unreadable: ${formatReason(reason)}`)
  // Documents that cannot be read are unknown, so all that was said above may be wrong.
  if (unreadable.length > 0) process.exitCode = exitCode.failed
  else if (verdict.refusals.length > 0) process.exitCode = exitCode.degraded
}

/**
 * Whose documents count. Where neither an option nor config.yml says it, those of the key that signed the fabric document
 * there, which whoever can write to the registry may have put there.
 */
async function groundOf(options: Common, documents: readonly Delivered[]): Promise<Ground> {
  const [signed] = documents.flatMap((delivered) => {
    const parsed = parseDocument(delivered)
    return isRefusal(parsed) || parsed.document.type !== 'fabric' ? [] : [parsed]
  })
  const fabric = signed?.document.payload.fabric ?? ''
  const { authority } = options
  if (authority !== undefined) {
    if (identityPattern.test(authority)) return { fabric, authority }
    const reason = 'expected an Ed25519 public key: 43 characters of base64url'
    throw new LinkspanError({ code: 'usage', object: '--authority', reason, next: 'linkspan ca show' })
  }
  if (options.registry === undefined) return readConfig(options.config)
  try {
    return await readConfig(options.config)
  } catch (error) {
    // A file that cannot be read: no gateway's host, and the registry is looked at by itself. One that is wrong is told.
    if (!(error instanceof LinkspanError) || error.cause === undefined) throw error
    const kid = signed?.kid ?? ''
    if (kid !== '')
      say(`note: judged by the key that signed its fabric document, ${kid}: is that the authority?`)
    return { fabric, authority: kid }
  }
}
