/**
 * The driver of the registry that config.yml names. Drivers are loaded when they are named: a gateway with a directory has
 * no use for gRPC.
 */
import type { LookupAddress } from 'node:dns'
import { LinkspanError } from '../errors.ts'
import type { RegistryConfig } from '../model/config.ts'
import type { Bag } from '../model/document.ts'
import type { Address } from '../model/prefix.ts'
import { isMalformed, parseAddress } from '../model/prefix.ts'
import { documentName } from '../registry/document-name.ts'
import type { EtcdRegistry } from '../registry/etcd.ts'
import { shownUrl } from '../registry/https-url.ts'
import type { Registry } from '../registry/port.ts'
import type { Resolve } from '../registry/resolver.ts'
import { isRefusal, parseDocument } from '../trust/parse.ts'

/** Somebody must be asked where it is. */
export function isByName(of: RegistryConfig): boolean {
  if (of.kind === 'file') return false
  return hostsOf(of).some((host) => host !== 'localhost' && isMalformed(parseAddress(host)))
}

/** How messages name it. */
export function registryText(of: RegistryConfig): string {
  switch (of.kind) {
    case 'file':
      return `file://${of.directory}`
    case 'https':
      return of.urls.map((url) => shownUrl(new URL(url))).join(', ')
    case 'etcd':
      return `${of.endpoints.join(', ')} ${of.prefix}`
  }
}

/**
 * `onAddress`: told of every address of the registry before the first packet goes there. `spreadMs`: within which the first
 * request comes, at random, so that a fleet that starts together does not ask together.
 */
export async function openRegistry(
  of: RegistryConfig,
  onAddress: (address: Address) => void = () => undefined,
  spreadMs = 0,
): Promise<Registry> {
  if (of.kind === 'file') {
    const { FileRegistry } = await import('../registry/file.ts')
    return new FileRegistry(of.directory)
  }
  for (const host of hostsOf(of)) {
    const address = parseAddress(host)
    if (!isMalformed(address)) onAddress(address)
  }
  const { systemResolver } = await import('../registry/resolver.ts')
  const system = systemResolver()
  const resolve = async (host: string): Promise<readonly LookupAddress[]> => {
    const found = await system(host)
    for (const { address: text } of found) {
      const address = parseAddress(text)
      if (!isMalformed(address)) onAddress(address)
    }
    return found
  }
  if (of.kind === 'etcd') return openEtcd(of, resolve)
  const { HttpsRegistry } = await import('../registry/https.ts')
  return new HttpsRegistry(of.urls, { files: of.files, resolve, spreadMs })
}

/** Where it is now, for a dry run; what cannot be resolved is left out. */
export async function addressesOf(of: RegistryConfig): Promise<readonly Address[]> {
  if (of.kind === 'file') return []
  const { systemResolver } = await import('../registry/resolver.ts')
  const resolve = systemResolver()
  const found = await Promise.all(
    hostsOf(of).map(async (host) => {
      const literal = parseAddress(host)
      if (!isMalformed(literal)) return [literal]
      const resolved = await resolve(host).catch(() => [])
      return resolved.flatMap(({ address }) => {
        const parsed = parseAddress(address)
        return isMalformed(parsed) ? [] : [parsed]
      })
    }),
  )
  return [...new Set(found.flat())].sort()
}

/** All that a registry holds now. Throws `registry-unreadable` where it cannot be reached, `permission` where it denies it. */
export async function readAll(of: RegistryConfig): Promise<Bag> {
  switch (of.kind) {
    case 'file': {
      const { readRegistry } = await import('../registry/file.ts')
      return readRegistry(of.directory)
    }
    case 'https': {
      const { fetchBundle } = await import('../registry/https.ts')
      return inTime(of, bundleMs, (signal) => fetchBundle(of.urls, { files: of.files }, signal))
    }
    case 'etcd': {
      const { store } = await openEtcd(of)
      return inTime(of, listMs, (signal) => store.list(signal))
    }
  }
}

/** Registries that documents can be put into. */
export type WritableConfig = Exclude<RegistryConfig, { kind: 'https' }>

/** Throws `usage` for a registry that cannot be written to. */
export function writable(of: RegistryConfig): WritableConfig {
  if (of.kind !== 'https') return of
  const reason = 'an https: registry is read-only: its bundle is made from another one'
  const next = 'give that one by --registry, and make the bundle anew afterwards: linkspan registry bundle'
  throw new LinkspanError({ code: 'usage', object: registryText(of), reason, next })
}

/**
 * Takes what lies there away; `origin` as a bag has it. False where there is nothing. Throws `permission` and
 * `registry-unreadable`.
 */
export async function removeFrom(of: WritableConfig, origin: string): Promise<boolean> {
  if (of.kind === 'file') {
    const { removeDocument } = await import('../registry/file.ts')
    return removeDocument(origin)
  }
  const { store } = await openEtcd(of)
  const name = origin.slice(`etcd:${of.prefix}/`.length)
  return inTime(of, listMs, (signal) => store.remove(name, signal))
}

async function openEtcd(
  { endpoints, prefix, files, user }: Extract<RegistryConfig, { kind: 'etcd' }>,
  resolve?: Resolve,
): Promise<EtcdRegistry> {
  const { EtcdRegistry: Driver } = await import('../registry/etcd.ts')
  return new Driver({
    endpoints,
    prefix,
    files,
    keyOf,
    ...(resolve === undefined ? {} : { resolve }),
    ...(user === undefined ? {} : { user: { name: user.name, password: { file: user.password } } }),
  })
}

/** Of an act on a registry as a whole, in ms. A bundle may be large, and its mirrors are asked in turn. */
const listMs = 30_000
const bundleMs = 120_000

async function inTime<T>(
  of: RegistryConfig,
  ms: number,
  act: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const signal = AbortSignal.timeout(ms)
  try {
    return await act(signal)
  } catch (error) {
    if (!signal.aborted || error !== signal.reason) throw error
    const reason = `did not answer within ${ms / 1000} s`
    throw new LinkspanError(
      { code: 'registry-unreadable', object: registryText(of), reason },
      { cause: error },
    )
  }
}

function keyOf(bytes: Uint8Array): string {
  const signed = parseDocument({ origin: 'the document to publish', bytes })
  if (isRefusal(signed)) throw new LinkspanError(signed)
  return documentName(signed)
}

function hostsOf(of: Exclude<RegistryConfig, { kind: 'file' }>): string[] {
  const urls = of.kind === 'https' ? of.urls : of.endpoints
  return urls.map((url) => new URL(url).hostname.replace(/^\[|\]$/g, ''))
}
