/**
 * /etc/linkspan/config.yml: what one gateway is told by its operator. zod checks the form, yaml.ts says where each problem
 * is, and all problems are told at once. Prefixes go through ip-cidr and then through the strict parser of the model.
 */
import { hostname } from 'node:os'
import IPCIDR from 'ip-cidr'
import { z } from 'zod'
import { defaultConfigFile, defaultMetrics } from '../model/config.ts'
import type { CanaryTarget, Config } from '../model/config.ts'
import { defaultBasePort, devices } from '../model/device.ts'
import { namePattern } from '../model/fabric.ts'
import { familyOf, isMalformed, parseAddress, parsePrefix } from '../model/prefix.ts'
import type { Address, Prefix } from '../model/prefix.ts'
import { prefixHint } from '../trust/cidr.ts'
import type { Problem } from '../trust/decode.ts'
import { quoted } from '../trust/excerpt.ts'
import { identityPattern, isUnreachable, nameHint, nameRule } from '../trust/payload.ts'
import { prefixSchema } from '../trust/schema.ts'
import { didYouMean } from '../trust/spelling.ts'
import { registry, registryFields } from './registry-config.ts'
import { YamlFile } from './yaml.ts'

/** Reads and checks the file. Throws config-invalid with every problem in it. */
export async function readConfig(file: string = defaultConfigFile): Promise<Config> {
  return configOf(await YamlFile.read(file))
}

/** A refinement's message, with a hint that travels in the issue's params. */
export function refuse(
  context: z.RefinementCtx,
  message: string,
  hint?: string,
  path: (string | number)[] = [],
): never {
  context.addIssue({ code: 'custom', message, path, params: { hint } })
  return z.NEVER
}

/** For its JSON Schema: what a refinement checks, as far as a pattern can say it. */
function like<T extends z.ZodType>(type: T, pattern: unknown): T {
  return type.meta({ pattern })
}

const name = like(
  z.string().superRefine((value, context) => {
    if (!namePattern.test(value))
      refuse(context, `expected ${nameRule}, found ${quoted(value)}`, nameHint(value))
  }),
  namePattern.source,
)

export const prefix = like(
  z.string().transform((value, context): Prefix => {
    const parsed = parsePrefix(value)
    if (isMalformed(parsed)) return refuse(context, parsed.malformed, prefixHint(value, parsed))
    // Two opinions on what a file says are better than one: the strict parser and ip-cidr must agree.
    return IPCIDR.isValidCIDR(value) ? parsed : refuse(context, `"${value}" is not a prefix`)
  }),
  prefixSchema['pattern'],
)

const address = z.string().transform((value, context): Address => {
  const parsed = parseAddress(value)
  if (isMalformed(parsed)) return refuse(context, parsed.malformed)
  return IPCIDR.isValidAddress(value) ? parsed : refuse(context, `"${value}" is not an address`)
})

const endpointAddress = address.superRefine((value, context) => {
  if (isUnreachable(value))
    refuse(context, `no other host can reach ${value}`, 'give the address by which peers reach it')
})

/** dev_valid_name() in net/core/dev.c: 1 to 15 bytes, no slash, colon or space. */
const link = like(
  z.string().superRefine((value, context) => {
    if (!/^[^\s/:]{1,15}$/.test(value) || value === '.' || value === '..') {
      refuse(context, `expected a link name of 1 to 15 characters, found ${quoted(value)}`)
    } else if (value.startsWith('ls-')) refuse(context, `"${value}" is a name of linkspan's own links`)
  }),
  '^[^\\s/:]{1,15}$',
)

const words = z
  .string()
  .regex(/^[\w ./:@+-]{0,63}$/, 'expected at most 63 letters, digits, spaces and ./:@+-_')
const port = z.int().min(1).max(65_535)

const label = z.string().regex(/^[A-Za-z0-9][\w./-]{0,62}$/, 'expected a label of letters, digits and ./-_')
const siteFields = z.strictObject({
  name,
  provider: words.default(''),
  region: words.default(''),
  labels: z.record(label, words).default({}),
})
const site = z.union([
  name.transform((value) => ({ name: value, provider: '', region: '', labels: {} })),
  siteFields,
])

const socket = (example: string): z.ZodType<{ address: Address; port: number }> =>
  z.string().transform((value, context) => {
    const found = socketOf(value)
    return found ?? refuse(context, `expected ADDRESS:PORT such as "${example}", found ${quoted(value)}`)
  })

/** `10.1.0.1:80` or `[fd00::1]:80`. */
function socketOf(value: string): { address: Address; port: number } | undefined {
  const parts = /^(?:\[(.+)\]|([^:]+)):([1-9][0-9]{0,4})$/.exec(value)
  const address = parseAddress(parts?.[1] ?? parts?.[2] ?? '')
  const listen = Number(parts?.[3])
  return isMalformed(address) || !(listen >= 1 && listen <= 65_535) ? undefined : { address, port: listen }
}

const metrics = z.union([
  z.literal(false),
  z.string().transform((value, context) => {
    const found = socketOf(value)
    const expected = 'expected ADDRESS:PORT such as "127.0.0.1:9586", or false'
    return found ?? refuse(context, `${expected}; found ${quoted(value)}`)
  }),
])

const program = like(
  z.string().superRefine((value, context) => {
    if (!/^\/[^\0]{1,4095}$/.test(value)) {
      const hint = 'programs that come with linkspan lie in /usr/lib/linkspan/hooks'
      refuse(context, `expected the absolute path of a program, found ${quoted(value)}`, hint)
    }
  }),
  '^/',
)
const hookDefaults = { limitSeconds: 120, auditSeconds: 300 } as const
const hookFields = z.strictObject({
  program,
  limitSeconds: z.int().min(1).max(3600).default(hookDefaults.limitSeconds),
  auditSeconds: z.int().min(1).max(86_400).default(hookDefaults.auditSeconds),
})
const hooks = z.strictObject({
  'site-active': z.union([program.transform((value) => ({ program: value, ...hookDefaults })), hookFields]),
})

const canaryTarget = z.string().transform((value, context): CanaryTarget => {
  const bare = parseAddress(value)
  const found = isMalformed(bare) ? socketOf(value) : { address: bare }
  const expected = 'expected ADDRESS, which is sent echo requests, or ADDRESS:PORT, which is connected to'
  return found ?? refuse(context, `${expected}; found ${quoted(value)}`)
})

/** A list that names nothing twice. */
export function unique<T extends z.ZodArray>(list: T, by: (element: z.output<T>[number]) => string): T {
  return list.superRefine((elements, context) => {
    const seen = new Set<string>()
    for (const [i, element] of elements.entries()) {
      const key = by(element)
      if (seen.has(key)) refuse(context, `${quoted(key)} is given twice`, 'keep one of the two', [i])
      seen.add(key)
    }
  })
}

const endpoint = z.strictObject({
  underlay: name,
  address: endpointAddress.optional(),
  port: z
    .int()
    .min(1)
    .max(65_536 - devices)
    .default(defaultBasePort),
  interface: link.optional(),
  mtu: z.int().min(1280).max(65_535).optional(),
})
const network = z.strictObject({ name, interfaces: unique(z.array(link), (value) => value).default([]) })
const service = z.strictObject({ protocol: z.enum(['tcp', 'udp']), port })

export const shape = z.strictObject({
  fabric: name,
  authority: z.string().regex(identityPattern, 'expected an Ed25519 public key: 43 characters of base64url'),
  site,
  registry,
  gateway: name.optional(),
  prefixes: unique(z.array(prefix), (value) => value).default([]),
  endpoints: unique(z.array(endpoint).min(1), ({ underlay, address: at }) =>
    at === undefined ? underlay : `${underlay} IPv${familyOf(at)}`,
  ).optional(),
  interfaces: unique(z.array(link), (value) => value).optional(),
  exclude: unique(z.array(prefix), (value) => value).default([]),
  networks: unique(z.array(network), ({ name: of }) => of).default([]),
  services: unique(z.array(service), ({ protocol, port: at }) => `${protocol} ${at}`).default([]),
  metrics: metrics.optional(),
  health: socket('10.1.0.1:9587').optional(),
  canary: z.array(canaryTarget).max(8).default([]),
  hooks: hooks.optional(),
  voucher: z
    .string()
    .regex(/^\/[^\0]{1,4095}$/, 'expected an absolute path')
    .optional(),
})

/** The keys that each object of the file may have, by its path without list positions. */
const keysAt: Readonly<Record<string, readonly string[]>> = {
  '': Object.keys(shape.shape),
  site: Object.keys(siteFields.shape),
  endpoints: Object.keys(endpoint.shape),
  networks: Object.keys(network.shape),
  services: Object.keys(service.shape),
  registry: Object.keys(registryFields.shape),
  hooks: Object.keys(hooks.shape),
  'hooks.site-active': Object.keys(hookFields.shape),
}

export function configOf(yaml: YamlFile): Config {
  const parsed = shape.safeParse(yaml.value ?? {}, { reportInput: true })
  if (!parsed.success) throw yaml.error(problemsOf(parsed.error.issues))
  const {
    fabric,
    authority,
    registry: registryAt,
    prefixes,
    metrics: metricsAt,
    health,
    canary,
    hooks: hooksAt,
    voucher,
    ...own
  } = parsed.data
  const gateway = own.gateway ?? hostGateway(yaml)
  return {
    file: yaml.file,
    fabric,
    authority,
    site: own.site,
    registry: registryAt(fabric),
    prefixes,
    ...(voucher === undefined ? {} : { voucher }),
    metrics: metricsAt ?? (defaultMetrics as Config['metrics']),
    ...(health === undefined ? {} : { health }),
    canary,
    ...(hooksAt === undefined ? {} : { hooks: { siteActive: hooksAt['site-active'] } }),
    own: {
      gateway,
      site: own.site.name,
      exclude: own.exclude,
      networks: own.networks,
      services: own.services,
      registryAddresses: [],
      ...(own.interfaces === undefined ? {} : { interfaces: own.interfaces }),
      ...(own.endpoints === undefined ? {} : { endpoints: own.endpoints.map(present) }),
    },
  }
}

/** `keys`: those that each object may have, by its path without list positions. */
export function problemsOf(
  issues: readonly z.core.$ZodIssue[],
  within: readonly PropertyKey[] = [],
  keys: Readonly<Record<string, readonly string[]>> = keysAt,
): Problem[] {
  return issues.flatMap((issue): Problem[] => {
    const path = [...within, ...issue.path].map((step) => (typeof step === 'number' ? step : String(step)))
    const problem = (reason: string, hint?: string): Problem[] => [
      { path, part: 'value', reason, ...(hint === undefined ? {} : { hint }) },
    ]
    switch (issue.code) {
      case 'unrecognized_keys': {
        const known = keys[path.filter((step) => typeof step === 'string').join('.')] ?? []
        return issue.keys.map((key) => ({
          path: [...path, key],
          part: 'key',
          reason: `unknown key ${quoted(key)}`,
          hint: didYouMean(key, known),
        }))
      }
      case 'invalid_union': {
        // The alternative whose form fits, if one does, says what is wrong inside it.
        const fitting = issue.errors.find((errors) => !errors.some(isOtherForm))
        if (fitting !== undefined) return problemsOf(fitting, path, keys)
        const forms = issue.errors.flatMap((errors) => errors.filter(isOtherForm).map(formOf))
        return problem(`expected ${forms.join(' or ')}, found ${quoted(issue.input)}`)
      }
      case 'invalid_type':
        if (issue.input === undefined) {
          const key = String(path.at(-1) ?? '')
          return [
            {
              path: path.slice(0, -1),
              part: 'value',
              reason: `the key "${key}" is missing`,
              ...missing(key),
            },
          ]
        }
        return problem(`expected ${formOf(issue)}, found ${quoted(issue.input)}`)
      case 'invalid_value': {
        const hint =
          typeof issue.input === 'string' ? didYouMean(issue.input, issue.values.map(String)) : undefined
        return problem(`expected ${formOf(issue)}, found ${quoted(issue.input)}`, hint)
      }
      case 'too_small':
        return problem(`expected at least ${String(issue.minimum)}, found ${quoted(issue.input)}`)
      case 'too_big':
        return problem(`expected at most ${String(issue.maximum)}, found ${quoted(issue.input)}`)
      case 'invalid_key':
        return problemsOf(issue.issues, path, keys).map((wrong) => ({ ...wrong, part: 'key' }))
      case 'invalid_format':
        return problem(`${issue.message}; found ${quoted(issue.input)}`)
      case 'custom': {
        const hint: unknown = issue.params?.['hint']
        return problem(issue.message, typeof hint === 'string' ? hint : undefined)
      }
      default:
        return problem(issue.message)
    }
  })
}

/** The value is of another kind altogether. */
function isOtherForm(issue: z.core.$ZodIssue): boolean {
  return issue.path.length === 0 && (issue.code === 'invalid_type' || issue.code === 'invalid_value')
}

const forms: Readonly<Record<string, string>> = {
  string: 'a text',
  object: 'keys and values',
  array: 'a list',
  int: 'an integer',
  number: 'a number',
}

function formOf(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_type') return forms[issue.expected] ?? issue.expected
  return issue.code === 'invalid_value' ? issue.values.map(String).join(' or ') : issue.message
}

/** What to write for a key that must be there. */
function missing(key: string): { hint?: string } {
  const examples: Readonly<Record<string, string>> = {
    fabric: 'fabric: NAME, the same at all gateways',
    authority: 'authority: KEY, as linkspan ca init and ca show print it',
    site: 'site: NAME of the place behind this gateway',
    registry: 'registry: file:///DIRECTORY',
    underlay: 'underlay: NAME, one of those in the fabric document',
    program: 'program: /usr/lib/linkspan/hooks/NAME',
  }
  const example = examples[key]
  return example === undefined ? {} : { hint: `write ${example}` }
}

/** For exactOptionalPropertyTypes: zod gives absent keys as undefined. */
function present<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as never
}

function hostGateway(yaml: YamlFile): string {
  const [first = ''] = hostname().toLowerCase().split('.')
  if (namePattern.test(first)) return first
  const reason = `the host name ${quoted(hostname())} cannot be the gateway's name`
  throw yaml.error([{ path: [], part: 'value', reason, hint: 'give a name: gateway: NAME' }])
}
