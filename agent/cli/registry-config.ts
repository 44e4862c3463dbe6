/**
 * `registry:` of config.yml: a URL, or a URL with what it takes to be let in.
 *
 *   registry: file:///srv/linkspan
 *   registry: https://bundles.example.com/prod
 *   registry: { url: "etcd://etcd-a:2379,etcd-b:2379", ca: /etc/linkspan/etcd-ca.pem, user: aws-a, password: /etc/linkspan/etcd-password }
 *
 * Secrets are files, never words of the configuration. `etcd:` is over TLS; `etcd+http:` is for a server on this host.
 */
import { isAbsolute } from 'node:path'
import { z } from 'zod'
import type { RegistryConfig, RegistryFiles } from '../model/config.ts'
import { bundleUrl } from '../registry/https-url.ts'
import { quoted } from '../trust/excerpt.ts'
import { pathOfUrl } from './file-url.ts'

const file = z
  .string()
  .superRefine((value, context) => {
    if (!isAbsolute(value))
      context.addIssue({ code: 'custom', message: `expected an absolute path, found ${quoted(value)}` })
  })
  .meta({ pattern: '^/' })
const url = z.string()
const words = z.string().regex(/^[\w.@-]{1,128}$/, 'expected a name of letters, digits and ._@-')

/** What URL() would quietly repair or drop (white space, backslashes, a path, a query) is no host here. */
const hostAndPort = /^([^\s\p{Cc}\\/?#@:[\]]+|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?$/iu

export const registryFields = z.strictObject({
  url,
  mirrors: z.array(url).optional(),
  prefix: z
    .string()
    .regex(/^(\/[\w.-]+)+$/, 'expected a prefix such as "/linkspan/prod"')
    .optional(),
  ca: file.optional(),
  certificate: file.optional(),
  key: file.optional(),
  token: file.optional(),
  user: words.optional(),
  password: file.optional(),
})

type Fields = z.output<typeof registryFields>

/** What does not belong to a kind of registry. */
const foreign = {
  file: ['mirrors', 'prefix', 'ca', 'certificate', 'key', 'token', 'user', 'password'],
  https: ['prefix', 'user', 'password'],
  etcd: ['mirrors', 'token'],
} as const

/** `fabric` completes the prefix of etcd, so the answer is a function of it. */
export type RegistryOf = (fabric: string) => RegistryConfig

export const registry = z.union([
  url.transform((value, context) => registryOf({ url: value }, context)),
  registryFields.transform((value, context) => registryOf(value, context)),
])

function registryOf(fields: Fields, context: z.RefinementCtx): RegistryOf {
  const refuse = (message: string, hint?: string, path: string[] = []): never => {
    context.addIssue({ code: 'custom', message, path, params: { hint } })
    return z.NEVER
  }
  const { url: value, mirrors = [], ca, certificate, key, token, user, password } = fields
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(value)?.[1]?.toLowerCase()
  if (scheme === undefined && isAbsolute(value))
    return refuse('expected a URL', `did you mean "file://${value}"?`)
  const kind =
    scheme === 'https' || scheme === 'file'
      ? scheme
      : scheme === 'etcd' || scheme === 'etcd+http'
        ? 'etcd'
        : undefined
  if (kind === undefined) {
    const found = value.includes('@') ? '' : `, found ${quoted(value)}`
    return refuse(
      `expected a URL such as "file:///var/lib/registry", "https://HOST/PATH" or "etcd://HOST:2379"${found}`,
    )
  }
  const stray = foreign[kind].find((field) => fields[field] !== undefined)
  if (stray !== undefined)
    return refuse(`${stray} is nothing that ${kind}: registries know`, undefined, [stray])
  if ([value, ...mirrors].some((each) => each.includes('@')) && kind !== 'file')
    return refuse('a URL holds no user and no password', 'give them as user: and password:')
  if ((certificate === undefined) !== (key === undefined))
    return refuse('certificate and key go together', 'give both or neither')
  if ((user === undefined) !== (password === undefined))
    return refuse('user and password go together', 'password: is the path of a file')
  const files: RegistryFiles = {
    ...(ca === undefined ? {} : { ca }),
    ...(certificate === undefined ? {} : { certificate }),
    ...(key === undefined ? {} : { key }),
  }
  switch (kind) {
    case 'file': {
      const at = pathOfUrl(value)
      if ('path' in at) return () => ({ kind, directory: at.path })
      const expected = 'expected a URL such as "file:///var/lib/registry"'
      return refuse(`${expected}, found ${quoted(value)}, which ${at.malformed}`)
    }
    case 'https': {
      const urls = [value, ...mirrors]
      const wrong = urls.find((each) => 'malformed' in bundleUrl(each))
      if (wrong !== undefined) {
        // What a query holds may be a secret.
        const found = quoted(wrong.replace(/\?.*$/s, '?…'))
        const hint = wrong.includes('#') ? 'leave out what follows #: no server ever sees it' : undefined
        return refuse(`expected a URL such as "https://HOST/PATH", found ${found}`, hint)
      }
      return () => ({ kind, urls, files: token === undefined ? files : { ...files, token } })
    }
    case 'etcd': {
      const transport = scheme === 'etcd' ? 'https' : 'http'
      const hosts = /^[^:]*:\/\/(.*?)\/?$/s.exec(value)?.[1]?.split(',') ?? ['']
      const endpoints = hosts.map((host) => `${transport}://${host}`)
      if (!hosts.every((host) => hostAndPort.test(host)) || !endpoints.every((each) => URL.canParse(each)))
        return refuse(
          `expected hosts such as "etcd://HOST:2379,HOST:2379", found ${quoted(value)}`,
          'the prefix of the keys is given as prefix:',
        )
      return (fabric) => ({
        kind,
        endpoints,
        prefix: fields.prefix ?? `/linkspan/${fabric}`,
        files,
        ...(user === undefined || password === undefined ? {} : { user: { name: user, password } }),
      })
    }
  }
}
