/**
 * `linkspan registry bundle`: all that a registry holds as one file, for any web server. The same documents make the same
 * bytes, whatever kind of registry they lie in, and a file that would be no different is left as it is, so that servers that
 * make the ETag of its time have nothing new to send.
 */
import { open } from 'node:fs/promises'
import { resolve } from 'node:path'
import { writeAtomically } from '../atomic-file.ts'
import { errnoOf, formatReason, LinkspanError } from '../errors.ts'
import type { Reason } from '../errors.ts'
import { beginsAsBundle, encodeBundle, headerBytes, isName, maxBundleBytes } from '../registry/bundle.ts'
import type { BundleEntry } from '../registry/bundle.ts'
import { compareText } from '../trust/refusal.ts'
import { exitCode } from './exit-code.ts'
import { readBounded } from './bounded-file.ts'
import { print, say } from './output.ts'
import { sourceOf } from './registry-command.ts'
import type { RegistryOptions } from './registry-command.ts'
import { readAll, registryText } from './registry-driver.ts'
import { placeOf, shown } from './registry-place.ts'
import { count } from './table.ts'

export interface BundleOptions extends RegistryOptions {
  readonly out: string
}

export async function writeBundle(options: BundleOptions): Promise<void> {
  const of = await sourceOf(options)
  const path = resolve(options.out)
  const before = await bundleAt(path)
  const { documents, unreadable } = await readAll(of)
  const left: Reason[] = [...unreadable]
  const entries = new Map<string, BundleEntry>()
  for (const { origin, bytes } of documents.toSorted((a, b) => compareText(a.origin, b.origin))) {
    const name = `${placeOf(of, origin)}.jws`
    const why = !isName(name)
      ? 'its place has a name that no bundle can hold'
      : entries.has(name)
        ? `has the place of another: ${name}`
        : undefined
    if (why === undefined) entries.set(name, { name, bytes })
    else left.push({ code: 'registry-unreadable', object: origin, reason: why, next: 'remove it' })
  }
  const bundle = encodeBundle(entries.values())
  const written = before?.equals(bundle) !== true
  if (written) await write(path, bundle)
  for (const reason of left) say(`left out: ${shown(formatReason(reason))}`)
  const size = `${count(entries.size, 'document')}, ${bundle.length} bytes`
  print(
    options,
    { path, source: registryText(of), documents: entries.size, bytes: bundle.length, written, left },
    written ? `wrote ${path}: ${size}` : `${path} is up to date: ${size}`,
  )
  if (left.length > 0) process.exitCode = exitCode.degraded
}

/** The bundle that is there; undefined where there is none. Throws `usage` where it is something else: a slip of the hand. */
async function bundleAt(path: string): Promise<Buffer | undefined> {
  try {
    const file = await open(path)
    try {
      const stats = await file.stat()
      const { buffer, bytesRead } = await file.read(Buffer.alloc(headerBytes), 0, headerBytes, 0)
      if (stats.isFile() && (stats.size === 0 || beginsAsBundle(buffer.subarray(0, bytesRead))))
        return stats.size > maxBundleBytes ? undefined : await readBounded(path, maxBundleBytes)
    } finally {
      await file.close()
    }
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === 'ENOENT') return undefined
    if (errno !== 'EISDIR') throw cannot(path, error)
  }
  const reason = 'is there already, and is no bundle'
  throw new LinkspanError({ code: 'usage', object: path, reason, next: 'name another file, or delete it' })
}

async function write(path: string, bundle: Buffer): Promise<void> {
  try {
    await writeAtomically(path, bundle)
  } catch (error) {
    throw cannot(path, error)
  }
}

function cannot(path: string, error: unknown): LinkspanError {
  const errno = errnoOf(error)
  const code =
    errno === 'EACCES' || errno === 'EPERM'
      ? 'permission'
      : errno === 'ENOENT' || errno === 'ENOTDIR'
        ? 'usage'
        : 'internal'
  const reason = `cannot be written: ${error instanceof Error ? error.message : String(error)}`
  return new LinkspanError({ code, object: path, reason }, { cause: error })
}
