/** What the commands of `linkspan registry` share: their options, which registry is meant, and by whom it is judged. */
import type { Argv } from 'yargs'
import { LinkspanError } from '../errors.ts'
import { defaultConfigFile } from '../model/config.ts'
import type { RegistryConfig } from '../model/config.ts'
import type { Delivered, Signed } from '../model/document.ts'
import { namePattern } from '../model/fabric.ts'
import type { Name } from '../model/fabric.ts'
import { authoritiesOf } from '../trust/authorities.ts'
import { openEnvelope } from '../trust/envelope.ts'
import type { Ground } from '../trust/ground.ts'
import { isRefusal, parseDocument } from '../trust/parse.ts'
import { identityPattern, nameRule } from '../trust/payload.ts'
import { readConfig } from './config.ts'
import { registryOf, registryOption } from './registry-option.ts'

export interface RegistryOptions {
  readonly registry?: string
  readonly fabric?: string
  readonly config: string
  readonly json: boolean
}

export interface JudgingOptions extends RegistryOptions {
  readonly authority?: string
}

export function withRegistry<T>(yargs: Argv<T>): Argv<T & RegistryOptions> {
  return yargs
    .option('registry', {
      type: 'string',
      requiresArg: true,
      describe: 'Directory, URL, or YAML file with registry: (default: config.yml)',
    })
    .option('fabric', {
      type: 'string',
      requiresArg: true,
      describe: 'Name of the fabric (default: that of config.yml, else what its authority signed)',
    })
    .option('config', {
      type: 'string',
      requiresArg: true,
      default: defaultConfigFile,
      describe: 'config.yml',
    })
    .option('json', { type: 'boolean', default: false, describe: 'JSON on stdout' }) as Argv<
    T & RegistryOptions
  >
}

export function withJudgement<T>(yargs: Argv<T>): Argv<T & JudgingOptions> {
  return withRegistry(yargs).option('authority', {
    type: 'string',
    requiresArg: true,
    describe: 'Key of the authority (default: that of config.yml)',
  }) as Argv<T & JudgingOptions>
}

/** Which registry is meant. Throws `usage` and `config-invalid`. */
export async function sourceOf({ registry, fabric, config }: RegistryOptions): Promise<RegistryConfig> {
  if (fabric !== undefined && !namePattern.test(fabric))
    throw new LinkspanError({ code: 'usage', object: '--fabric', reason: `expected ${nameRule}` })
  if (registry === undefined) return (await readConfig(config)).registry
  return registryOf(await registryOption(registry), fabric)
}

/**
 * Whose documents count: by option, else by config.yml. Throws `usage` where neither says it: whoever can write to the
 * registry must not be the one who does.
 */
export async function groundOf(options: JudgingOptions, documents: readonly Delivered[]): Promise<Ground> {
  const { authority, fabric, config } = options
  if (authority === undefined) {
    const configured = await configuredGround(config)
    if (configured !== undefined)
      return { fabric: fabric ?? configured.fabric, authority: configured.authority }
    const reason = 'whose documents count? no config.yml says it'
    throw new LinkspanError({ code: 'usage', object: '--authority', reason, next: 'linkspan ca show' })
  }
  if (!identityPattern.test(authority)) {
    const reason = 'expected an Ed25519 public key: 43 characters of base64url'
    throw new LinkspanError({ code: 'usage', object: '--authority', reason, next: 'linkspan ca show' })
  }
  return { fabric: fabric ?? fabricNamed(documents, authority), authority }
}

/** Undefined where the file cannot be read: this is no gateway's host. Throws where it is wrong. */
export async function configuredGround(config: string): Promise<Ground | undefined> {
  try {
    const { fabric, authority } = await readConfig(config)
    return { fabric, authority }
  } catch (error) {
    if (!(error instanceof LinkspanError) || error.cause === undefined) throw error
    return undefined
  }
}

/** The fabric that this authority speaks of. Where it says nothing there, what others say names it, and is refused. */
function fabricNamed(documents: readonly Delivered[], authority: string): Name {
  const signed = signedOf(documents, ['authority', 'fabric'])
  const { trusted, retired } = authoritiesOf(authority, signed)
  const isOwn = ({ kid }: Signed): boolean => trusted.has(kid) || retired.has(kid)
  const named =
    signed.find((one) => isOwn(one) && one.document.type === 'fabric') ??
    signed.find(isOwn) ??
    signedOf(documents, ['certificate', 'voucher']).find(isOwn) ??
    signed[0]
  return named?.document.payload.fabric ?? ''
}

/** Documents of these types with a good signature, whoever's it is. */
export function signedOf(documents: readonly Delivered[], types: readonly string[]): Signed[] {
  return documents.flatMap((delivered) => {
    const envelope = openEnvelope(delivered.bytes)
    if ('malformed' in envelope || !types.includes(envelope.type)) return []
    const parsed = parseDocument(delivered)
    return isRefusal(parsed) ? [] : [parsed]
  })
}
