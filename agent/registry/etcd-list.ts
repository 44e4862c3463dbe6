/**
 * Listing keys by pages, all at one revision, so that the pages together are what etcd held at one moment. A page is no
 * promise about size: where an answer is longer than we take, or slow to come, smaller pages are asked for, down to a
 * single key, and a key that does not even come alone is named and left out. Answers are held against what was asked,
 * since a server that is not ours must not keep us listing for ever.
 */
import { EtcdContent } from './etcd-content.ts'
import type { Limits } from './etcd-content.ts'
import { EtcdFailure } from './etcd-failure.ts'
import { isInRange, keyAfter, nameOfKey, originOf } from './etcd-key.ts'
import type { KeyRange } from './etcd-key.ts'
import { range } from './etcd-message.ts'
import type { Header, KeyValue } from './etcd-message.ts'
import { malformed } from './etcd-session.ts'
import type { EtcdSession } from './etcd-session.ts'

interface PageOptions {
  readonly keysOnly: boolean
  /** Keys asked for at once. */
  readonly pageKeys: number
}

/** Some of the keys, in order. */
interface Page {
  /** Its revision is that of the list; the same with every page. */
  readonly header: Header
  readonly kvs: readonly KeyValue[]
  /** A key whose value is longer than an answer may be, and then no others. */
  readonly tooLarge?: KeyValue
}

/** Documents are longer than this, on average: else there are too many keys. 64 MiB: 65,534 gateways with four each. */
const leastBytes = 256

/** Throws EtcdFailure, or the signal's reason. */
async function* pages(
  session: EtcdSession,
  { keys, limits }: Place,
  { keysOnly, pageKeys }: PageOptions,
  signal: AbortSignal,
): AsyncGenerator<Page, void> {
  const mostKeys = limits.bagBytes / leastBytes
  let start = keys.start
  let header: Header | undefined
  let limit = pageKeys
  let count = 0
  for (;;) {
    const revision: number = header?.revision ?? 0
    const ask = { key: start, rangeEnd: keys.end, limit, revision, keysOnly }
    let page: Page & { more: boolean }
    try {
      page = await onePage(session, ask, keys, header, signal)
      limit = Math.min(pageKeys, limit * 2)
    } catch (error) {
      if (!(error instanceof EtcdFailure)) throw error
      const tooLarge = error.isTooLarge
      if (!tooLarge && !error.isSilence) throw error
      if (limit > 1) {
        // Slow or dead? A server that does not answer the smallest question is dead.
        if (error.isSilence) await session.touch(keys.start, { serializable: true }, signal)
        limit = tooLarge ? Math.max(1, limit >> 3) : limit >> 1
        continue
      }
      if (!tooLarge) throw error
      page = await onePage(session, { ...ask, keysOnly: true }, keys, header, signal)
      const [key] = page.kvs
      page = { ...page, kvs: [], ...(key === undefined ? {} : { tooLarge: key }) }
    }
    header ??= page.header
    const last = page.tooLarge ?? page.kvs.at(-1)
    count += page.kvs.length
    yield { ...page, header }
    if (!page.more || last === undefined) return
    if (count > mostKeys) throw malformed(`more than ${mostKeys} keys`)
    start = keyAfter(last.key)
  }
}

/** Where a registry lies, and how much of it is taken. */
export interface Place {
  readonly prefix: string
  readonly keys: KeyRange
  readonly limits: Limits
  readonly pageKeys: number
}

export interface Listing {
  readonly content: EtcdContent
  /** By origin. */
  readonly documents: Map<string, Uint8Array>
  readonly header: Header
}

/** All documents of a registry. Throws EtcdFailure, or the signal's reason. */
export async function listDocuments(
  session: EtcdSession,
  place: Place,
  signal: AbortSignal,
): Promise<Listing> {
  const { prefix, limits, pageKeys } = place
  const content = new EtcdContent(prefix, limits)
  const documents = new Map<string, Uint8Array>()
  let header: Header | undefined
  for await (const page of pages(session, place, { keysOnly: false, pageKeys }, signal)) {
    header = page.header
    for (const { key, modRevision, value } of page.kvs) {
      const name = nameOfKey(key)
      // A copy, so that a document does not keep its page in memory.
      if (content.put(name, modRevision, value)) documents.set(originOf(name), new Uint8Array(value))
    }
    const { tooLarge } = page
    if (tooLarge !== undefined) content.put(nameOfKey(tooLarge.key), tooLarge.modRevision, undefined)
  }
  if (header === undefined) throw malformed('no page')
  return { content, documents, header }
}

/** Of all keys, the revision each was written at. */
export async function listRevisions(
  session: EtcdSession,
  place: Place,
  signal: AbortSignal,
): Promise<{ readonly revisions: ReadonlyMap<string, number>; readonly header: Header }> {
  const revisions = new Map<string, number>()
  let header: Header | undefined
  // They are short.
  const options = { keysOnly: true, pageKeys: place.pageKeys * 8 }
  for await (const page of pages(session, place, options, signal)) {
    header = page.header
    for (const { key, modRevision } of page.kvs) revisions.set(nameOfKey(key), modRevision)
  }
  if (header === undefined) throw malformed('no page')
  return { revisions, header }
}

interface Ask {
  readonly key: Uint8Array
  readonly rangeEnd: Uint8Array
  readonly limit: number
  readonly revision: number
  readonly keysOnly: boolean
}

async function onePage(
  session: EtcdSession,
  ask: Ask,
  { end }: KeyRange,
  header: Header | undefined,
  signal: AbortSignal,
): Promise<Page & { more: boolean }> {
  const answer = await session.call(range, ask, signal)
  if (answer.header === undefined) throw malformed('an answer without header')
  if (header !== undefined && answer.header.clusterId !== header.clusterId)
    throw malformed('pages of two clusters')
  if (answer.kvs.length > ask.limit) throw malformed('more keys than were asked for')
  if (answer.more && answer.kvs.length === 0) throw malformed('an empty page with more to follow')
  let start = ask.key
  for (const { key } of answer.kvs) {
    if (!isInRange(key, { start, end })) throw malformed('keys that were not asked for')
    start = keyAfter(key)
  }
  return { header: answer.header, kvs: answer.kvs, more: answer.more }
}
