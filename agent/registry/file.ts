/**
 * The file registry: a directory that may be a local disk, a shared file system or a git checkout.
 *
 *   fabric.jws   certificates/<gateway>.jws   records/<gateway>.jws   requests/<gateway>.jws   authority/<key>.jws
 *   vouchers/<gateway>.jws   claims/<gateway>.jws
 *
 * The first bag is all there is. Then inotify names single files, and only those are read again, so a change is one small
 * read away from the daemon. Shared file systems deliver no events and directories get replaced under us, so every 30
 * seconds a walk compares names, inodes, sizes and times, and reads what differs. What cannot be read is reported and
 * changes nothing; a file that looks half written is read again before it is passed on.
 */
import { mkdir, readFile, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { isAborted } from '../pause.ts'
import { syncDirectory, writeAtomically } from '../atomic-file.ts'
import { errnoOf, LinkspanError } from '../errors.ts'
import type { Reason } from '../errors.ts'
import type { Bag, Delivered, Signed } from '../model/document.ts'
import { looksWhole } from '../trust/envelope.ts'
import { isRefusal, parseDocument } from '../trust/parse.ts'
import { ChangeSignal, DirectoryWatch } from './directory-watch.ts'
import { errorReason, folders, listRegistry, readDocument, sizeOf } from './directory.ts'
import type { Listing } from './directory.ts'
import { documentName } from './document-name.ts'
import type { Judge, Registry } from './port.ts'

export interface FileRegistryOptions {
  /** Between two walks that need no event, in ms. */
  readonly walkMs?: number
  /** Events that come within this time are one bag, in ms. */
  readonly coalesceMs?: number
  /** All documents together, in bytes; 64 MiB. What does not fit is left out. */
  readonly bagBytes?: number
}

/** When a half-written file is read again, in ms; after the last it is passed on as it is. */
const retriesMs = [50, 200, 1000]
/** Between two walks while something cannot be read. */
const unreachableMs = 2000
/** All documents of a registry together, in bytes. */
const maxBagBytes = 64 * 1024 * 1024
/** A path costs memory, too, even with nothing in the file. */
const pathBytes = 64
/** Files looked at between two chances for the event loop. */
const portion = 1024
/** Reasons that are told one by one. */
const mostReasons = 100
/** Files read at the same time. */
const concurrency = 16

export class FileRegistry implements Registry {
  readonly #directory: string
  readonly #walkMs: number
  readonly #coalesceMs: number
  readonly #bagBytes: number

  constructor(
    directory: string,
    { walkMs = 30_000, coalesceMs = 5, bagBytes = maxBagBytes }: FileRegistryOptions = {},
  ) {
    this.#directory = directory
    this.#bagBytes = bagBytes
    this.#walkMs = walkMs
    this.#coalesceMs = coalesceMs
  }

  async *watch(signal: AbortSignal): AsyncIterable<Bag> {
    const changes = new ChangeSignal(signal)
    const watch = new DirectoryWatch(this.#directory, folders, changes)
    const reader = new Reader(this.#directory, this.#bagBytes)
    // Also where nobody asks for the next bag any more: inotify watches keep a process alive.
    const close = (): void => {
      watch.close()
    }
    signal.addEventListener('abort', close, { once: true })
    try {
      while (!signal.aborted) {
        // Watches come before the walk, so that nothing falls between.
        watch.renew()
        let bag = await reader.walk()
        if (bag !== undefined) yield bag
        const walkedAt = performance.now()
        while (!isAborted(signal)) {
          const walkAt = walkedAt + (reader.isWhole ? this.#walkMs : Math.min(this.#walkMs, unreachableMs))
          const left = Math.min(walkAt, reader.retryAt) - performance.now()
          await changes.wait(left)
          if (isAborted(signal)) return
          await changes.settle(this.#coalesceMs)
          const { files, walk } = changes.take()
          if (walk || !reader.reachable || performance.now() >= walkAt) break
          bag = await reader.reread(files)
          if (bag !== undefined) yield bag
          if (reader.astray) break
        }
      }
    } finally {
      signal.removeEventListener('abort', close)
      watch.close()
    }
  }

  /** Writes a record or request to its place. Nothing is written where the same bytes are there already. */
  async publish(bytes: Uint8Array, signal: AbortSignal, judge?: Judge): Promise<void> {
    const signed = parseDocument({ origin: 'the document to publish', bytes })
    if (isRefusal(signed)) throw new LinkspanError(signed)
    signal.throwIfAborted()
    await writeDocument(this.#directory, signed, bytes, judge)
  }
}

/** Where a document has its place in a registry directory. */
export function documentPath(directory: string, signed: Signed): string {
  return join(directory, `${documentName(signed)}.jws`)
}

/**
 * Puts a document in its place, whole or not at all; answers the path. A directory has no way to say "if it is still there":
 * between the judge's look and the rename somebody else may come.
 */
export async function writeDocument(
  directory: string,
  signed: Signed,
  bytes: Uint8Array,
  judge: Judge = () => undefined,
): Promise<string> {
  const path = documentPath(directory, signed)
  try {
    // The registry's directory itself is never made here: on an unmounted mount point it would hide the registry.
    if (dirname(path) !== directory) await makeFolder(dirname(path))
    const present = await readFile(path).catch(() => undefined)
    if (present?.equals(bytes) === true) return path
    judge(present)
    await writeAtomically(path, bytes)
  } catch (error) {
    if (error instanceof LinkspanError) throw error
    throw new LinkspanError(errorReason(path, error, 'cannot be written'), { cause: error })
  }
  return path
}

/** Takes a file out of a registry directory; false where there is none. Throws as writeDocument() does. */
export async function removeDocument(path: string): Promise<boolean> {
  try {
    await unlink(path)
    await syncDirectory(dirname(path))
    return true
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false
    throw new LinkspanError(errorReason(path, error, 'cannot be removed'), { cause: error })
  }
}

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path)
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error
  }
}

/**
 * All documents of a registry directory; what is being written is waited for. Throws registry-unreadable where the
 * directory cannot be read.
 */
export async function readRegistry(directory: string): Promise<Bag> {
  const reader = new Reader(directory, maxBagBytes)
  const bag = await reader.walk()
  const [reason] = bag?.unreadable ?? []
  if (bag?.complete !== true) {
    throw new LinkspanError(
      reason ?? { code: 'registry-unreadable', object: directory, reason: 'cannot be read' },
    )
  }
  const documents = [...bag.documents]
  let { unreadable } = bag
  while (reader.retryAt < Infinity) {
    await pause(Math.max(0, reader.retryAt - performance.now()))
    const more = await reader.reread([])
    if (more !== undefined) {
      for (const one of more.documents) documents.push(one)
      unreadable = more.unreadable
    }
  }
  return { documents, complete: true, unreadable }
}

/** What was read of the directory so far, and what must be read again. */
class Reader {
  readonly #directory: string
  /** By origin: inode, size and times of the bytes last delivered. */
  #known = new Map<string, string>()
  #unreadable: readonly Reason[] = []
  /** Files that looked half written: how often they were read, and when next. */
  readonly #partial = new Map<string, { reads: number; atMs: number }>()
  #complete = false
  #reachable = false
  #astray = false
  readonly #most: number
  /** Of all that is known. */
  #bytes = 0

  constructor(directory: string, most: number) {
    this.#directory = directory
    this.#most = most
  }

  /** The directory could be listed the last time. */
  get reachable(): boolean {
    return this.#reachable
  }

  /** Nothing was unreadable; else it may soon be readable, and no change of the directory would say so. */
  get isWhole(): boolean {
    return this.#reachable && this.#unreadable.length === 0
  }

  /** A file was to be read whose folder is not there: only a walk tells what is left. */
  get astray(): boolean {
    return this.#astray
  }

  get retryAt(): number {
    let earliest = Infinity
    for (const { atMs } of this.#partial.values()) earliest = Math.min(earliest, atMs)
    return earliest
  }

  /** Lists everything and reads what is new or different. Undefined: nothing to say. */
  async walk(): Promise<Bag | undefined> {
    this.#astray = false
    const listing = await listRegistry(this.#directory)
    this.#reachable = listing.readable
    if (!listing.readable) return this.#report([], [], listing.unreadable)
    const first = !this.#complete
    const hidden = new Set(listing.unreadable.map(({ object }) => object))
    const gone = [...this.#known.keys()].filter((origin) => isGone(origin, listing, hidden))
    for (const origin of gone) this.#forget(origin)
    const wanted: string[] = []
    let room = this.#most - this.#bytes
    let leftOut = 0
    let count = 0
    for (const [origin, stamp] of listing.files) {
      if (++count % portion === 0) await nextTurn()
      const known = this.#known.get(origin)
      if (known === stamp) continue
      const more = costOf(origin, stamp) - (known === undefined ? 0 : costOf(origin, known))
      if (more > room) leftOut++
      else {
        wanted.push(origin)
        room -= more
      }
    }
    const read = await this.#read(wanted)
    const unreadable = [...listing.unreadable, ...read.unreadable]
    // The place of them all: what lies there counts as unreadable, not as vanished.
    if (leftOut > 0) unreadable.push(tooMuch(this.#directory, `${leftOut} documents are`, this.#most))
    if (!first) return this.#report(read.documents, gone, unreadable)
    this.#complete = true
    this.#unreadable = capped(this.#directory, unreadable)
    return { documents: read.documents, complete: true, unreadable: this.#unreadable }
  }

  /** Reads these files, and those whose retry is due. */
  async reread(origins: Iterable<string>): Promise<Bag | undefined> {
    const due = [...this.#partial]
      .filter(([, { atMs }]) => atMs <= performance.now())
      .map(([origin]) => origin)
    const wanted = new Set([...origins, ...due])
    if (wanted.size === 0) return undefined
    const { documents, missing, unreadable } = await this.#read([...wanted])
    const gone = missing.filter((origin) => this.#forget(origin))
    const others = this.#unreadable.filter(({ object }) => !wanted.has(object))
    return this.#report(documents, gone, [...others, ...unreadable])
  }

  async #read(
    origins: readonly string[],
  ): Promise<{ documents: Delivered[]; missing: string[]; unreadable: Reason[] }> {
    const documents: Delivered[] = []
    const missing: string[] = []
    const unreadable: Reason[] = []
    const queue = origins.values()
    const worker = async (): Promise<void> => {
      for (const origin of queue) {
        const read = await readDocument(origin)
        if ('code' in read) unreadable.push(read)
        else if ('missing' in read) {
          if (read.missing === 'file') missing.push(origin)
          else this.#astray = true
        } else if (!this.#isPartial(origin, read.bytes)) {
          if (this.#keep(origin, read.stamp)) documents.push({ origin, bytes: read.bytes })
          else unreadable.push(tooMuch(origin, 'is', this.#most))
        } else if (!this.#known.has(origin)) unreadable.push(halfWritten(origin))
        if (!('bytes' in read)) this.#partial.delete(origin)
      }
    }
    await Promise.all(Array.from({ length: concurrency }, worker))
    return { documents, missing, unreadable }
  }

  /** False where there is no room for it; what was known of it stays. */
  #keep(origin: string, stamp: string): boolean {
    const known = this.#known.get(origin)
    const more = costOf(origin, stamp) - (known === undefined ? 0 : costOf(origin, known))
    if (more > this.#most - this.#bytes) return false
    this.#known.set(origin, stamp)
    this.#bytes += more
    return true
  }

  #forget(origin: string): boolean {
    const known = this.#known.get(origin)
    if (known === undefined) return false
    this.#bytes -= costOf(origin, known)
    return this.#known.delete(origin)
  }

  /** True while the file should be read again first: it does not end as a document does. */
  #isPartial(origin: string, bytes: Uint8Array): boolean {
    const { reads, atMs } = this.#partial.get(origin) ?? { reads: 0, atMs: 0 }
    const isWhole = looksWhole(bytes)
    // Its writer goes on, and each of the writes is an event: none of them shortens its time.
    if (!isWhole && atMs > performance.now()) return true
    const waitMs = retriesMs[reads]
    if (isWhole || waitMs === undefined) {
      this.#partial.delete(origin)
      return false
    }
    this.#partial.set(origin, { reads: reads + 1, atMs: performance.now() + waitMs })
    return true
  }

  #report(documents: Delivered[], gone: string[], all: readonly Reason[]): Bag | undefined {
    const unreadable = capped(this.#directory, all)
    const said = JSON.stringify(unreadable) === JSON.stringify(this.#unreadable)
    this.#unreadable = unreadable
    if (said && documents.length === 0 && gone.length === 0) return undefined
    return { documents, gone, complete: false, unreadable }
  }
}

/** Nobody may take it for a registry without this document. */
function halfWritten(object: string): Reason {
  return {
    code: 'registry-unreadable',
    object,
    reason: 'looks half written: it does not end as a signed document does',
  }
}

function tooMuch(object: string, whatIs: string, most: number): Reason {
  return {
    code: 'registry-unreadable',
    object,
    reason: `${whatIs} left out: the registry's documents are longer than ${most} bytes together`,
    next: 'remove what does not belong there',
  }
}

/** Bytes that a file counts against the limit. */
function costOf(origin: string, stamp: string): number {
  return pathBytes + origin.length + sizeOf(stamp)
}

/** Gone, and not merely in a place that cannot be read now. */
function isGone(origin: string, { files }: Listing, hidden: ReadonlySet<string>): boolean {
  return !files.has(origin) && !hidden.has(origin) && !hidden.has(dirname(origin))
}

/** The first few one by one. What lies in the directory of the others counts as unreadable, too, and not as vanished. */
function capped(directory: string, unreadable: readonly Reason[]): readonly Reason[] {
  const more = unreadable.length - mostReasons
  if (more <= 0) return unreadable
  const reason = `holds ${more} more documents that cannot be read`
  const next = 'remove what does not belong there'
  return [
    ...unreadable.slice(0, mostReasons),
    { code: 'registry-unreadable', object: directory, reason, next },
  ]
}
