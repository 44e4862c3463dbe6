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
import { shownUrl } from '../registry/https-url.ts'
import type { Registry } from '../registry/port.ts'
import { isRefusal, parseDocument } from '../trust/parse.ts'

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
  const { systemResolver } = await import('../registry/https-resolver.ts')
  const system = systemResolver()
  const resolve = async (host: string): Promise<readonly LookupAddress[]> => {
    const found = await system(host)
    for (const { address: text } of found) {
      const address = parseAddress(text)
      if (!isMalformed(address)) onAddress(address)
    }
    return found
  }
  if (of.kind === 'https') {
    const { HttpsRegistry } = await import('../registry/https.ts')
    return new HttpsRegistry(of.urls, { files: of.files, resolve, spreadMs })
  }
  const { EtcdRegistry } = await import('../registry/etcd.ts')
  const { endpoints, prefix, files, user } = of
  return new EtcdRegistry({
    endpoints,
    prefix,
    files,
    keyOf,
    resolve,
    ...(user === undefined ? {} : { user: { name: user.name, password: { file: user.password } } }),
  })
}

/** All that a registry holds now. Throws `registry-unreadable` where it cannot be reached. */
export async function readAll(of: RegistryConfig): Promise<Bag> {
  if (of.kind === 'file') {
    const { readRegistry } = await import('../registry/file.ts')
    return readRegistry(of.directory)
  }
  const stop = new AbortController()
  const timer = setTimeout(() => {
    stop.abort()
  }, 30_000)
  try {
    for await (const bag of (await openRegistry(of)).watch(stop.signal)) {
      const [reason] = bag.unreadable
      if (!bag.complete && reason !== undefined) throw new LinkspanError(reason)
      if (bag.complete) return bag
    }
  } finally {
    clearTimeout(timer)
    stop.abort()
  }
  const reason = 'did not answer within 30 s'
  throw new LinkspanError({ code: 'registry-unreadable', object: registryText(of), reason })
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
