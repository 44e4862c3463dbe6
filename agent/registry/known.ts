/**
 * The last-known-good store: the documents that came into force, in the state directory, enough to boot and to carry
 * traffic with no registry. It is trusted no more than a registry is: what it holds goes through the same door, signatures
 * and all.
 *
 *   known/documents    a line a document, appended and synced as they come into force: ORIGIN SPACE JWS
 *   known/marks.json   what cannot be read from documents: who holds what several claim, serials of documents that are no
 *                      longer in force, and how late it surely is
 *
 * A line that a power cut or a full disk tore is no document, and its predecessor is still there; what is appended next takes
 * its place. The file is written anew, with what is in force only, when it has grown to several times that. What could not
 * be written is not taken for written: whoever asked for it hears of it and asks again.
 */
import { mkdir, open, readFile } from 'node:fs/promises'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { join } from 'node:path'
import { writeAtomically } from '../atomic-file.ts'
import { errnoOf, LinkspanError, reasonOf } from '../errors.ts'
import type { Reason } from '../errors.ts'
import type { Delivered } from '../model/document.ts'
import { noMarks } from '../trust/tenure.ts'
import type { Marks } from '../trust/tenure.ts'
import type { LastKnown } from './port.ts'

export interface Known {
  readonly documents: readonly Delivered[]
  readonly marks: Marks
  /** It is surely later than this: Unix ms. */
  readonly floorMs: number
  /** What could not be read. */
  readonly damage: readonly Reason[]
}

/** Documents judged before the event loop gets a turn. */
const portion = 32
/** Bytes above which the file is written anew, where it holds more than twice what is in force. */
const slackBytes = 1024 * 1024

export class KnownStore implements LastKnown {
  readonly #directory: string
  /** Of whole lines. */
  #bytes = 0
  /** There may be a piece of a line behind them. */
  #isTorn = false
  /** Of what is in force, by its origin: an estimate. */
  readonly #live = new Map<string, number>()
  #marks = ''
  #work: Promise<void> = Promise.resolve()

  private constructor(directory: string) {
    this.#directory = directory
  }

  /** Opens it, and makes the directory. What is damaged is left out and reported; nothing is deleted. */
  static async open(stateDirectory: string): Promise<{ readonly store: KnownStore; readonly known: Known }> {
    const directory = join(stateDirectory, 'known')
    await mkdir(directory, { recursive: true, mode: 0o700 })
    const store = new KnownStore(directory)
    const damage: Reason[] = []
    const documents = await store.#readDocuments(damage)
    const { marks, floorMs } = await store.#readMarks(damage)
    return { store, known: { documents, marks, floorMs, damage } }
  }

  /** Keeps documents that came into force. Resolves when they are on disk. */
  append(documents: readonly Delivered[]): Promise<void> {
    if (documents.length === 0) return this.#work
    return this.#next(async () => {
      const text = documents.map((one) => this.#line(one)).join('')
      const file = await open(this.#file, 'a', 0o600)
      try {
        if (this.#isTorn) await file.truncate(this.#bytes)
        else this.#bytes = (await file.stat()).size
        this.#isTorn = true
        await file.writeFile(text)
        await file.datasync()
      } finally {
        await file.close()
      }
      this.#isTorn = false
      this.#bytes += text.length
    })
  }

  /** True when `rewrite` is worth its while. */
  get isGrown(): boolean {
    let live = 0
    for (const bytes of this.#live.values()) live += bytes
    return this.#bytes > 2 * live + slackBytes
  }

  /** Writes the file anew with those lines that `isInForce` says are. */
  rewrite(isInForce: (document: Delivered) => boolean): Promise<void> {
    return this.#next(async () => {
      const kept: Delivered[] = []
      const text = await readFile(this.#file, 'latin1')
      for (const [i, document] of this.#documentsOf(text, []).entries()) {
        if (isInForce(document)) kept.push(document)
        // It checks signatures: a few milliseconds at one go.
        if (i % portion === portion - 1) await nextTurn()
      }
      this.#live.clear()
      const next = kept.map((one) => this.#line(one)).join('')
      await writeAtomically(this.#file, next, 0o600, 'next')
      this.#isTorn = false
      this.#bytes = next.length
    })
  }

  /** Keeps the marks, where they are others than those kept. */
  saveMarks(marks: Marks, floorMs: number): Promise<void> {
    const { identities, numbers, tunnelKeys, documents } = marks
    const lists = { identities: [...identities], numbers: [...numbers], tunnelKeys: [...tunnelKeys] }
    const text = `${JSON.stringify({ ...lists, documents: [...documents], floorMs })}\n`
    return this.#next(async () => {
      if (text === this.#marks) return
      await writeAtomically(join(this.#directory, 'marks.json'), text, 0o600, 'next')
      this.#marks = text
    })
  }

  get #file(): string {
    return join(this.#directory, 'documents')
  }

  /** One write at a time. */
  #next(work: () => Promise<void>): Promise<void> {
    const next = this.#work.then(work)
    this.#work = next.catch(() => undefined) // whoever asked for it has the error
    return next
  }

  #line({ origin, bytes }: Delivered): string {
    const line = `${encodeURI(origin)} ${Buffer.from(bytes).toString('latin1').trimEnd()}\n`
    this.#live.set(origin, line.length)
    return line
  }

  async #readDocuments(damage: Reason[]): Promise<readonly Delivered[]> {
    const text = await readFile(this.#file, 'latin1').catch((error: unknown) => {
      if (!isMissing(error)) damage.push(unreadable(this.#file, error))
      return ''
    })
    return this.#documentsOf(text, damage)
  }

  #documentsOf(text: string, damage: Reason[]): readonly Delivered[] {
    const documents: Delivered[] = []
    const lines = text.split('\n')
    // What follows the last line feed is a line that was never finished.
    const torn = lines.pop() ?? ''
    this.#bytes = text.length - torn.length
    this.#isTorn = torn !== ''
    if (torn !== '') damage.push(damaged(this.#file, lines.length + 1, 'is cut off'))
    for (const [i, line] of lines.entries()) {
      const space = line.indexOf(' ')
      const origin = originOf(line.slice(0, Math.max(space, 0)))
      if (space <= 0 || origin === undefined) {
        damage.push(damaged(this.#file, i + 1, 'is no document'))
        continue
      }
      this.#live.set(origin, line.length + 1)
      // A name of its own for each line: several lines may have come from one origin.
      documents.push({
        origin: `${this.#file}:${i + 1}`,
        bytes: Buffer.from(`${line.slice(space + 1)}\n`, 'latin1'),
      })
    }
    return documents
  }

  async #readMarks(damage: Reason[]): Promise<{ marks: Marks; floorMs: number }> {
    const file = join(this.#directory, 'marks.json')
    try {
      const text = await readFile(file, 'utf8')
      const parsed = parseMarks(JSON.parse(text))
      if (parsed === undefined)
        throw new LinkspanError({ code: 'state-unreadable', object: file, reason: 'does not hold marks' })
      this.#marks = text
      return parsed
    } catch (error) {
      if (!isMissing(error)) damage.push(unreadable(file, error))
      return { marks: noMarks, floorMs: 0 }
    }
  }
}

function parseMarks(value: unknown): { marks: Marks; floorMs: number } | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const content = value as Readonly<Record<string, unknown>>
  const names = <K>(of: string, isKey: (key: unknown) => key is K): Map<K, string> | undefined => {
    const list = content[of]
    if (!Array.isArray(list)) return undefined
    const pairs = list.filter(
      (pair): pair is [K, string] => Array.isArray(pair) && isKey(pair[0]) && typeof pair[1] === 'string',
    )
    return pairs.length === list.length ? new Map(pairs) : undefined
  }
  const [identities, numbers, tunnelKeys] = [
    names('identities', isText),
    names('numbers', isCount),
    names('tunnelKeys', isText),
  ]
  const { documents, floorMs } = content
  if (!identities || !numbers || !tunnelKeys || !Array.isArray(documents) || !isCount(floorMs))
    return undefined
  const marks = documents.filter(isMark)
  if (marks.length < documents.length) return undefined
  return { marks: { identities, numbers, tunnelKeys, documents: new Map(marks) }, floorMs }
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0
}

function isMark(value: unknown): value is [string, { serial: number; hash: string }] {
  if (!Array.isArray(value) || typeof value[0] !== 'string') return false
  const mark: unknown = value[1]
  return (
    typeof mark === 'object' &&
    mark !== null &&
    'serial' in mark &&
    Number.isSafeInteger(mark.serial) &&
    'hash' in mark &&
    typeof mark.hash === 'string'
  )
}

function originOf(written: string): string | undefined {
  try {
    return decodeURI(written)
  } catch {
    return undefined // not what encodeURI writes
  }
}

function isMissing(error: unknown): boolean {
  return errnoOf(error) === 'ENOENT'
}

function unreadable(file: string, error: unknown): Reason {
  const { reason } = reasonOf(error, file)
  return {
    code: 'state-unreadable',
    object: file,
    reason,
    next: 'the registry will tell it again; delete the file',
  }
}

function damaged(file: string, line: number, reason: string): Reason {
  return {
    code: 'state-unreadable',
    object: `${file}:${line}`,
    reason,
    next: 'the registry will tell it again',
  }
}
