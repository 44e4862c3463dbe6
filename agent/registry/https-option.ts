/** What an https registry is told, and what it does where it is told nothing. */
import { LinkspanError } from '../errors.ts'
import { maxBundleBytes } from './bundle.ts'
import type { CredentialFiles } from './credential.ts'
import type { MirrorTimes } from './https-mirror.ts'
import { systemResolver } from './resolver.ts'
import type { Resolve } from './resolver.ts'
import { bundleUrl } from './https-url.ts'

export interface HttpsRegistryOptions {
  /** Paths of what we prove ourselves with, and check the server against. */
  readonly files?: CredentialFiles
  readonly times?: Partial<MirrorTimes>
  /** Without progress a request ends after so many ms. */
  readonly idleMs?: number
  /** A request ends after so many ms. */
  readonly totalMs?: number
  /** Largest body, packed and unpacked, in bytes; at most 64 MiB. */
  readonly maxBytes?: number
  /**
   * The first request of a watch comes within so many ms, at random; default 0. For gateways that have last-known-good
   * documents to live from, so that a fleet that starts together does not ask together.
   */
  readonly spreadMs?: number
  /**
   * Called with a host name before each connection, and waited for: whoever must know the registry's addresses before the
   * first packet goes there learns them here. Hosts that are addresses are not resolved.
   */
  readonly resolve?: Resolve
  readonly random?: () => number
}

/** The same, checked and filled in. */
export interface Setting {
  readonly urls: readonly [URL, ...URL[]]
  readonly files: CredentialFiles
  readonly times: MirrorTimes
  readonly idleMs: number
  readonly totalMs: number
  readonly maxBytes: number
  readonly spreadMs: number
  readonly resolve: Resolve
  readonly random: () => number
}

const defaultTimes: MirrorTimes = {
  pollMs: 10_000,
  returnMs: 600_000,
  leastBackoffMs: 1000,
  mostBackoffMs: 60_000,
  mostRetryAfterMs: 300_000,
}
const maxMirrors = 8

/**
 * Throws `config-invalid` where there is no URL or more than eight, where one is no https URL, and where a client
 * certificate is given without key or a key without certificate.
 */
export function settingOf(urls: readonly string[], options: HttpsRegistryOptions): Setting {
  const { files = {}, times, maxBytes = maxBundleBytes } = options
  if ((files.certificate === undefined) !== (files.key === undefined))
    throw misconfigured('the client certificate', 'certificate and key go together', 'give both or neither')
  return {
    urls: mirrorsOf(urls),
    files,
    times: { ...defaultTimes, ...times },
    idleMs: options.idleMs ?? 10_000,
    totalMs: options.totalMs ?? 120_000,
    maxBytes: Math.min(maxBytes, maxBundleBytes),
    spreadMs: options.spreadMs ?? 0,
    resolve: options.resolve ?? systemResolver(),
    random: options.random ?? Math.random,
  }
}

function mirrorsOf(texts: readonly string[]): readonly [URL, ...URL[]] {
  const urls = texts.map((text, i) => {
    const parsed = bundleUrl(text)
    // Its text may hold a password.
    if ('malformed' in parsed) throw misconfigured(`registry URL ${i + 1}`, parsed.malformed)
    return parsed.url
  })
  const [first, ...others] = urls
  if (first === undefined || urls.length > maxMirrors)
    throw misconfigured('registry', `has ${urls.length} URLs, expected 1 to ${maxMirrors}`)
  return [first, ...others]
}

function misconfigured(object: string, reason: string, next?: string): LinkspanError {
  return new LinkspanError({
    code: 'config-invalid',
    object,
    reason,
    ...(next === undefined ? {} : { next }),
  })
}
