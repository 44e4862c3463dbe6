/**
 * `linkspan registry`: what the operator of a file registry does. `fabric` writes the fabric document, `add` certifies a
 * gateway from its request, `list` shows what is there and what the gateways will make of it.
 */
import { mkdir } from 'node:fs/promises'
import { basename, dirname, isAbsolute, join, resolve } from 'node:path'
import type { Argv, ArgumentsCamelCase, CommandModule } from 'yargs'
import { formatReason, LinkspanError } from '../errors.ts'
import type { Reason } from '../errors.ts'
import { defaultConfigFile } from '../model/config.ts'
import type { Delivered, Document, Request } from '../model/document.ts'
import { formatDocument, maxDocumentBytes, maxFabricBytes } from '../model/document.ts'
import type { Name } from '../model/fabric.ts'
import { errorReason } from '../registry/directory.ts'
import { documentPath, readRegistry, writeDocument } from '../registry/file.ts'
import { documentsOf, isRefusal, parseDocument } from '../trust/parse.ts'
import { formatRefusal } from '../trust/refusal.ts'
import type { Refusal } from '../trust/refusal.ts'
import { succession } from '../trust/rule.ts'
import { verify } from '../trust/verify.ts'
import { readBounded } from './bounded-file.ts'
import { certify, parseGrant } from './certify.ts'
import { readConfig } from './config.ts'
import { exitCode } from './exit-code.ts'
import { fabricOf } from './fabric-file.ts'
import { pathOfUrl } from './file-url.ts'
import { readNumbers, writeNumbers } from './number-file.ts'
import { listing } from './registry-list.ts'
import { withRegistryLock } from './registry-lock.ts'
import type { RegistryLock } from './registry-lock.ts'
import { YamlFile } from './yaml.ts'

interface Common {
  registry?: string
  config: string
  json: boolean
}

interface FabricArguments extends Common {
  file: string
}

interface AddArguments extends Common {
  request: string
  plane: string | undefined
  number: string | undefined
  prefix: string[] | undefined
  network: string[] | undefined
  replace: boolean
}

const fabricCommand: CommandModule<object, FabricArguments> = {
  command: 'fabric <file>',
  describe: 'Write the fabric document from a YAML file',
  builder: (yargs) =>
    common(yargs).positional('file', { type: 'string', demandOption: true, describe: 'YAML file' }),
  handler: writeFabric,
}

const addCommand: CommandModule<object, AddArguments> = {
  command: 'add <request>',
  describe: 'Certify a gateway from its request',
  builder: (yargs) =>
    repeatable(common(yargs))
      .positional('request', {
        type: 'string',
        demandOption: true,
        describe: 'A gateway that asked, or a request file',
      })
      .option('plane', {
        type: 'string',
        requiresArg: true,
        describe: 'Plane in its site, 0-3 (default: lowest free)',
      })
      .option('number', {
        type: 'string',
        requiresArg: true,
        describe: 'Fabric-wide number (default: lowest free)',
      })
      .option('prefix', {
        type: 'string',
        array: true,
        nargs: 1,
        describe: 'PREFIX[:MAXLENGTH], in place of the requested',
      })
      .option('network', {
        type: 'string',
        array: true,
        nargs: 1,
        describe: 'Network, in place of the requested',
      })
      .option('replace', {
        type: 'boolean',
        default: false,
        describe: 'It has a certificate and gets a new one',
      }),
  handler: add,
}

const listCommand: CommandModule<object, Common> = {
  command: 'list',
  describe: 'Show the documents and what is refused (then exit code 3) or unreadable (1)',
  builder: common,
  handler: list,
}

export const registryCommand: CommandModule = {
  command: 'registry <command>',
  describe: 'Work on a file registry',
  builder: (yargs) =>
    yargs
      .command(fabricCommand)
      .command(addCommand)
      .command(listCommand)
      .demandCommand(1, 'Which registry command?'),
  handler: () => {
    // One of the commands above does the work.
  },
}

function common<T>(yargs: Argv<T>): Argv<T & Common> {
  return yargs
    .option('registry', {
      type: 'string',
      requiresArg: true,
      describe: 'Directory (default: that of config.yml)',
    })
    .option('config', {
      type: 'string',
      requiresArg: true,
      default: defaultConfigFile,
      describe: 'config.yml',
    })
    .option('json', { type: 'boolean', default: false, describe: 'JSON on stdout' }) as Argv<T & Common>
}

/**
 * Lets --prefix and --network be repeated. The table of all commands makes the last of repeated options count, which would
 * silently drop prefixes; here they are collected, and options that have one value are refused when they come twice.
 */
function repeatable<T>(yargs: Argv<T>): Argv<T> {
  const collected = ['prefix', 'network']
  return yargs
    .parserConfiguration({
      'dot-notation': false,
      'camel-case-expansion': false,
      'duplicate-arguments-array': true,
    })
    .check((given) => {
      const twice = Object.entries(given).find(
        ([name, value]) => name !== '_' && Array.isArray(value) && !collected.includes(name),
      )
      if (twice === undefined) return true
      throw new LinkspanError({ code: 'usage', object: `--${twice[0]}`, reason: 'is given twice' })
    })
}

async function writeFabric(options: ArgumentsCamelCase<FabricArguments>): Promise<void> {
  const directory = await directoryOf(options)
  const yaml = await YamlFile.read(options.file)
  // What is wrong by itself makes no directory.
  fabricOf(yaml, undefined, Date.now())
  const made = await makeDirectory(directory)
  await withRegistryLock(directory, (lock) => replaceFabric(options, directory, made, yaml, lock))
}

/** True where it was not there. Its parent must be: a mistyped path makes no tree. */
async function makeDirectory(directory: string): Promise<boolean> {
  try {
    await mkdir(directory)
    return true
  } catch (error) {
    const errno = error instanceof Error && 'code' in error ? error.code : undefined
    if (errno === 'EEXIST') return false
    if (errno !== 'ENOENT')
      throw new LinkspanError(errorReason(directory, error, 'cannot be made'), { cause: error })
    const reason = `neither it nor ${dirname(directory)} exists`
    const next = 'is the path right? only its last directory is made'
    throw new LinkspanError({ code: 'usage', object: directory, reason, next }, { cause: error })
  }
}

async function replaceFabric(
  options: FabricArguments,
  directory: string,
  made: boolean,
  yaml: YamlFile,
  lock: RegistryLock,
): Promise<void> {
  const place = join(directory, 'fabric.json')
  const bytes = await readBounded(place, maxFabricBytes).catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  })
  const before = bytes === undefined ? undefined : parseDocument({ origin: place, bytes })
  const refused = before !== undefined && isRefusal(before)
  if (refused) say(`replacing a fabric document that is refused:\n${formatRefusal(before)}`)
  const incumbent = !refused && before?.type === 'fabric' ? before.payload : undefined
  const payload = fabricOf(yaml, incumbent?.serial, Date.now())
  const refusal = incumbent === undefined ? undefined : succession(options.file, incumbent, payload)
  if (refusal !== undefined) throw new LinkspanError({ ...refusal, code: 'config-invalid' })
  const document: Document = { type: 'fabric', payload }
  await lock.check()
  const path = await writeDocument(directory, document)
  const { documents, unreadable } = await readRegistry(directory)
  for (const reason of unreadable) say(`unreadable: ${formatReason(reason)}`)
  for (const other of verify(documents, Date.now()).refusals) say(formatRefusal(other))
  const underlays = payload.underlays.map(({ name }) => name).join(', ')
  print(
    options,
    { path, made, ...document },
    `${made ? `made ${directory}\n` : ''}wrote ${path}: fabric ${payload.fabric}, serial ${payload.serial}, underlays ${underlays}`,
  )
}

async function add(options: ArgumentsCamelCase<AddArguments>): Promise<void> {
  const directory = await directoryOf(options)
  await withRegistryLock(directory, (lock) => addLocked(options, directory, lock))
}

async function addLocked(options: AddArguments, directory: string, lock: RegistryLock): Promise<void> {
  const { documents, unreadable } = await readRegistry(directory)
  if (unreadable.length > 0) throw unreadableError(directory, unreadable)
  const before = verify(documents, Date.now())
  const fabric = before.snapshot?.fabric
  if (fabric === undefined) {
    const [refusal] = before.refusals.filter(({ origin }) => origin === join(directory, 'fabric.json'))
    const why = refusal === undefined ? '' : `:\n  ${formatReason(refusal)}`
    const reason = `holds no fabric document that counts${why}`
    const next = 'linkspan registry fabric FILE.yml'
    throw new LinkspanError({ code: 'usage', object: directory, reason, next })
  }
  const request = await readRequest(directory, options.request, documents)
  const unknown = before.refusals.filter((refusal) =>
    isUnknownGrant(refusal, directory, request.gateway, options),
  )
  if (unknown.length > 0) throw unreadableError(directory, unknown)
  const certificates = documentsOf(documents).flatMap((document) =>
    document.type === 'certificate' ? [document.payload] : [],
  )
  const numbers = await readNumbers(directory)
  for (const { gateway, number } of certificates) numbers.set(gateway, number)
  const { certificate, warnings } = certify(
    fabric,
    request,
    certificates,
    numbers,
    {
      replace: options.replace,
      ...(options.plane === undefined ? {} : { plane: integer('--plane', options.plane, 0, 3) }),
      ...(options.number === undefined ? {} : { number: integer('--number', options.number, 1, 65_534) }),
      ...(options.prefix === undefined ? {} : { prefixes: options.prefix.map(parseGrant) }),
      ...(options.network === undefined ? {} : { networks: options.network }),
    },
    Date.now(),
  )

  // The gateways' own judgement before anything is written: what they would refuse is refused here.
  const document: Document = { type: 'certificate', payload: certificate }
  const origin = documentPath(directory, document)
  const others = documents.filter((delivered) => delivered.origin !== origin)
  const after = verify([...others, { origin, bytes: Buffer.from(formatDocument(document)) }], Date.now())
  const [refused] = after.refusals.filter((refusal) => refusal.origin === origin)
  if (refused !== undefined) throw new LinkspanError({ ...refused, code: 'usage' })
  for (const warning of warnings) say(`note: ${warning}`)

  // The number first: one given out and not used is harmless, one used twice is not.
  await lock.check()
  numbers.set(certificate.gateway, certificate.number)
  await writeNumbers(directory, numbers)
  const path = await writeDocument(directory, document)
  const { gateway, number, plane, site } = certificate
  const prefixes = certificate.prefixes.map(({ prefix }) => prefix).join(', ')
  const text = `wrote ${path}: gateway ${gateway}, number ${number}, site ${site.name}, plane ${plane}, prefixes ${prefixes || 'none'}`
  print(options, { path, ...document }, text)
}

async function list(options: ArgumentsCamelCase<Common>): Promise<void> {
  const directory = await directoryOf(options)
  const { documents, unreadable } = await readRegistry(directory)
  const verdict = verify(documents, Date.now())
  const shown = listing(directory, documents, verdict.snapshot, verdict.refusals, unreadable)
  print(options, shown.json, shown.text)
  for (const refusal of verdict.refusals) if (!options.json) say(formatRefusal(refusal))
  for (const reason of unreadable) if (!options.json) say(`unreadable: ${formatReason(reason)}`)
  // Documents that cannot be read are unknown, so all that was said above may be wrong.
  if (unreadable.length > 0) process.exitCode = exitCode.failed
  else if (verdict.refusals.length > 0) process.exitCode = exitCode.degraded
}

async function readRequest(
  directory: string,
  named: string,
  documents: readonly Delivered[],
): Promise<Request> {
  const isFile = named.includes('/') || named.endsWith('.json')
  const origin = isFile ? resolve(named) : join(directory, 'requests', `${named}.json`)
  let bytes = documents.find((delivered) => delivered.origin === origin)?.bytes
  if (bytes === undefined) {
    try {
      bytes = await readBounded(origin, maxDocumentBytes)
    } catch (error) {
      if (error instanceof LinkspanError) throw error
      const asked = documentsOf(documents).flatMap(({ type, payload }) =>
        type === 'request' ? [payload.gateway] : [],
      )
      const reason = `there is no request: ${error instanceof Error ? error.message : String(error)}`
      const next =
        asked.length > 0
          ? `requests are there of: ${asked.join(', ')}`
          : 'start the agent: it writes its request'
      throw new LinkspanError({ code: 'usage', object: named, reason, next }, { cause: error })
    }
  }
  const document = parseDocument({ origin, bytes })
  if (isRefusal(document))
    throw new LinkspanError({
      code: 'config-invalid',
      object: document.object,
      reason: refusalText(document),
    })
  if (document.type === 'request') return document.payload
  throw new LinkspanError({
    code: 'usage',
    object: origin,
    reason: `is a ${document.type}, expected a request`,
  })
}

/** All after the object of formatRefusal. */
function refusalText(refusal: Refusal): string {
  return formatRefusal(refusal).slice(refusal.object.length + 2)
}

/** A certificate that does not parse: half written, say. That of the gateway itself may be replaced. */
function isUnknownGrant(
  { rule, origin }: Refusal,
  directory: string,
  gateway: Name,
  { replace }: AddArguments,
): boolean {
  if (rule !== 'document' || dirname(origin) !== join(directory, 'certificates')) return false
  return !replace || basename(origin) !== `${gateway}.json`
}

/** A certificate that is not seen may hold the number or the prefix that is given out next. */
function unreadableError(directory: string, unreadable: readonly Reason[]): LinkspanError {
  const files = unreadable.map((reason) => `\n  ${formatReason(reason)}`).join('')
  return new LinkspanError({
    code: 'registry-unreadable',
    object: directory,
    reason: `a certificate needs all documents, and ${unreadable.length} cannot be read:${files}`,
    next: 'put them right or remove them',
  })
}

async function directoryOf({ registry, config }: Common): Promise<string> {
  if (registry === undefined) return (await readConfig(config)).registry.directory
  if (/^file:/i.test(registry)) {
    const at = pathOfUrl(registry)
    if ('path' in at) return at.path
    const next = 'give a directory or file:///DIRECTORY'
    throw new LinkspanError({
      code: 'usage',
      object: '--registry',
      reason: `"${registry}" ${at.malformed}`,
      next,
    })
  }
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(registry)) {
    const next = 'give a directory or file:///DIRECTORY'
    throw new LinkspanError({
      code: 'usage',
      object: '--registry',
      reason: `"${registry}" is not supported yet`,
      next,
    })
  }
  return isAbsolute(registry) ? registry : resolve(registry)
}

function integer(option: string, text: string, least: number, most: number): number {
  const number = /^(?:0|[1-9][0-9]{0,5})$/.test(text) ? Number(text) : NaN
  if (number >= least && number <= most) return number
  const reason = `expected an integer, ${least} to ${most}, found "${text}"`
  const hint = /^0+[0-9]+$/.test(text) ? { next: 'write it without leading zeros' } : {}
  throw new LinkspanError({ code: 'usage', object: option, reason, ...hint })
}

function print(options: { json: boolean }, json: object, text: string): void {
  process.stdout.write(`${options.json ? JSON.stringify({ schema: 1, ...json }) : text}\n`)
}

function say(text: string): void {
  process.stderr.write(`${text}\n`)
}
