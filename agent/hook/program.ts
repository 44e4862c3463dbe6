/**
 * What the programs for hooks have in common: each is run by the agent (daemon/hook.ts) and by people, reads what it is told
 * from stdin and what it may do from a file of its own, and says in one line what it did. It asks first and writes nothing
 * that stands as it should, so that it may run at any time, twice, and be killed at any moment.
 */
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { prefix, problemsOf, refuse, unique } from '../cli/config.ts'
import { YamlFile } from '../cli/yaml.ts'
import { MetadataFailure } from '../cloud/metadata-http.ts'
import type { CloudTrouble } from '../cloud/metadata-http.ts'
import { LinkspanError, formatReason, reasonOf } from '../errors.ts'
import type { Reason } from '../errors.ts'
import { isMalformed, parsePrefix } from '../model/prefix.ts'
import type { Prefix } from '../model/prefix.ts'
import { quoted } from '../trust/excerpt.ts'

/** What the agent says on stdin. */
export interface HookInput {
  readonly fabric: string
  readonly site: string
  readonly gateway: string
  /** Of other sites. */
  readonly prefixes: readonly Prefix[]
}

export interface Run<C> {
  readonly config: C
  readonly input: HookInput
  /** Say what would change, and change nothing. */
  readonly dryRun: boolean
  /** A line for people; the last one is what the agent keeps. */
  readonly say: (line: string) => void
  readonly signal: AbortSignal
}

export interface Program<F extends z.ZodRawShape> {
  /** Also that of its configuration: /etc/linkspan/hooks.d/NAME.yml. */
  readonly name: string
  readonly fields: z.ZodObject<F>
  /** Rejects with a LinkspanError. */
  readonly run: (run: Run<z.output<z.ZodObject<F>>>) => Promise<void>
}

/** 100,000 prefixes take two. */
const maxInputBytes = 32 * 1024 * 1024
/** Longer than the agent waits by default; by hand there is nobody who waits. */
const limitMs = 600_000

/** An address of an API: https, or http to this host (tests, and forwarders that bring the TLS along). */
export const endpoint = z.string().superRefine((value, context) => {
  const url = URL.canParse(value) ? new URL(value) : undefined
  const isLocal = url !== undefined && ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname)
  const isSafe = url?.protocol === 'https:' || (url?.protocol === 'http:' && isLocal)
  if (!isSafe || url.pathname !== '/' || url.search !== '' || url.username !== '') {
    refuse(context, `expected https://HOST or https://HOST:PORT, found ${quoted(value)}`)
  }
})

/** Keys that every program has. `limit`: of routes, by default. */
export const commonFields = (limit: number) => ({
  /** Instead of the remote prefixes themselves, where these are too many for a table. */
  routes: unique(z.array(prefix).min(1), (value) => value).optional(),
  limit: z.int().min(1).max(100_000).default(limit),
  endpoint: endpoint.optional(),
  /** The metadata service; for tests. */
  metadata: endpoint.optional(),
})

/** Runs it, and ends the process: 0 done, 1 failed, 2 usage or configuration. */
export async function runProgram<F extends z.ZodRawShape>(program: Program<F>): Promise<never> {
  const { name } = program
  try {
    const { file, dryRun } = optionsOf(name)
    const config = await configOf(program, file)
    const input = inputOf(await stdin())
    const say = (line: string): void => void process.stdout.write(`${line}\n`)
    await program.run({ config, input, dryRun, say, signal: AbortSignal.timeout(limitMs) })
    process.exit(0)
  } catch (error) {
    const reason: Reason =
      error instanceof MetadataFailure ? { ...told(error), code: 'exec' } : reasonOf(error, name)
    process.stderr.write(`${formatReason(reason)}\n`)
    process.exit(reason.code === 'usage' || reason.code === 'config-invalid' ? 2 : 1)
  }
}

function told({ object, reason, next }: MetadataFailure): CloudTrouble {
  return { object, reason, ...(next === undefined ? {} : { next }) }
}

function optionsOf(name: string): { readonly file: string; readonly dryRun: boolean } {
  try {
    const { values } = parseArgs({
      options: { config: { type: 'string' }, 'dry-run': { type: 'boolean' } },
      allowPositionals: false,
    })
    return {
      file: values.config ?? `/etc/linkspan/hooks.d/${name}.yml`,
      dryRun: values['dry-run'] === true,
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    const next = `${name} [--config FILE] [--dry-run], and on stdin what the agent gives a hook`
    throw new LinkspanError({ code: 'usage', object: name, reason, next })
  }
}

async function configOf<F extends z.ZodRawShape>(
  { fields }: Program<F>,
  file: string,
): Promise<z.output<z.ZodObject<F>>> {
  const yaml = await YamlFile.read(file)
  const parsed = fields.safeParse(yaml.value ?? {}, { reportInput: true })
  if (parsed.success) return parsed.data
  throw yaml.error(problemsOf(parsed.error.issues, [], { '': Object.keys(fields.shape) }))
}

async function stdin(): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > maxInputBytes) throw noInput(`holds more than ${maxInputBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

const inputShape = z.object({
  schema: z.literal(1),
  fabric: z.string(),
  site: z.string(),
  gateway: z.string(),
  prefixes: z.array(z.string()),
})

function inputOf(text: string): HookInput {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw noInput('is no JSON')
  }
  const parsed = inputShape.safeParse(value)
  if (!parsed.success) throw noInput(z.prettifyError(parsed.error).replaceAll('\n', ' '))
  const prefixes = parsed.data.prefixes.map((text): Prefix => {
    const found = parsePrefix(text)
    if (isMalformed(found)) throw noInput(found.malformed)
    return found
  })
  return { ...parsed.data, prefixes }
}

function noInput(reason: string): LinkspanError {
  const next = '{"schema":1,"fabric":"…","site":"…","gateway":"…","prefixes":["10.2.0.0/16"]}'
  return new LinkspanError({ code: 'usage', object: 'stdin', reason, next })
}
