/**
 * The bundle: all documents of a fabric in one file, for any web server or object store. It is text, a line a document:
 *
 *   linkspan-bundle 1
 *   certificates/aws-a.jws eyJhbGciOiJFZERTQSIs….eyJmYWJyaWMiOiJwcm9kIiwi….q8Vp3n…
 *   fabric.jws eyJhbGciOiJFZERTQSIs….eyJmYWJyaWMiOiJwcm9kIiwi….Zt0aXh…
 *   end 2
 *
 * NAME SPACE DOCUMENT. A document that is a JWS is written as it is, and the line's line feed is the document's own; any
 * other bytes are base64url, which has no dots, so the two cannot be mistaken for each other. The encoder sorts by name: one
 * changed document is one changed line, and version control and rsync send little.
 *
 * The last line says how many lines there are between. A file that was cut off anywhere lacks it or contradicts it, and then
 * nothing of it counts. A line that is wrong counts alone: it is reported, the others are taken. A name that is given twice
 * counts for nothing, however often and with whatever, so that the order of lines never decides.
 *
 * Names carry no trust. They tell the versions of one document apart and say in messages which one is meant.
 */
import { LinkspanError } from '../errors.ts'
import { quoted } from '../trust/excerpt.ts'

export interface BundleEntry {
  readonly name: string
  readonly bytes: Uint8Array
}

/** A line that holds no document. */
export interface BadLine {
  /** From 1. */
  readonly line: number
  /** Absent where the name is what is wrong. */
  readonly name?: string
  readonly reason: string
}

export interface Bundle {
  /** In order of lines. */
  readonly entries: readonly BundleEntry[]
  readonly badLines: readonly BadLine[]
}

/** Bytes of which nothing counts: no bundle, or not a whole one. */
export interface NoBundle {
  readonly malformed: string
  readonly hint?: string
}

/** Largest bundle, in bytes. */
export const maxBundleBytes = 64 * 1024 * 1024
/** Certificate, record and request of every gateway a fabric can have. A hostile file has millions of tiny lines. */
const maxLines = 200_000
/** Bad lines that are reported one by one. With more of them the whole is not what it should be. */
const maxBadLines = 1000

const header = 'linkspan-bundle 1'
/** A relative path of at most four steps, none of which is hidden, `.` or `..`. */
const namePattern = /^[\w-][\w.-]{0,127}(?:\/[\w-][\w.-]{0,127}){0,3}$/
const maxNameLength = 515
const nameRule = 'a path of letters, digits and ._- such as records/aws-a.jws'

const lineFeed = 0x0a
const space = 0x20
/** Bytes read between two steps of the decoder. */
const stepBytes = 256 * 1024
/** Lines gone through between two of them. */
const stepLines = 1024

/**
 * Throws `document-invalid` where a name is none or is given twice, where there are more documents than a bundle can have,
 * and where the bundle would be larger than allowed. A JWS that lacks its final line feed gets one.
 */
export function encodeBundle(entries: Iterable<BundleEntry>): Buffer {
  const refuse = (object: string, reason: string, next: string): LinkspanError =>
    new LinkspanError({ code: 'document-invalid', object, reason, next })
  const sorted = [...entries].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
  if (sorted.length > maxLines)
    throw refuse(
      'the bundle',
      `has ${sorted.length} documents, at most ${maxLines} are possible`,
      'remove some',
    )
  let before: string | undefined
  const lines = sorted.map(({ name, bytes }) => {
    if (!isName(name)) throw refuse(quoted(name), 'is no name of a document', `expected ${nameRule}`)
    if (name === before) throw refuse(name, 'is given twice', 'keep one of the two')
    before = name
    return `${name} ${textOf(bytes)}\n`
  })
  const bundle = Buffer.from(`${header}\n${lines.join('')}end ${lines.length}\n`, 'latin1')
  if (bundle.length <= maxBundleBytes) return bundle
  throw refuse(
    'the bundle',
    `is ${bundle.length} bytes long, at most ${maxBundleBytes} are possible`,
    'remove some',
  )
}

export function decodeBundle(bytes: Uint8Array): Bundle | NoBundle {
  const steps = decodeSteps(bytes)
  for (;;) {
    const step = steps.next()
    if (step.done === true) return step.value
  }
}

/** The same in steps of a few milliseconds, for a process that has other things to do. The bytes are not kept. */
export function* decodeSteps(bytes: Uint8Array): Generator<undefined, Bundle | NoBundle> {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (text.length > maxBundleBytes) return { malformed: `is larger than ${maxBundleBytes} bytes` }
  if (!beginsAsBundle(text)) return strangerOf(text)
  const lines = new Lines()
  let at = header.length + 1
  let steppedAt = 0
  for (let line = 2; ; line++) {
    const end = text.indexOf(lineFeed, at)
    if (end < 0) return cutOff
    if (text.toString('latin1', at, at + 4) === 'end ') {
      const counted = text.toString('latin1', at, Math.min(end, at + 16))
      if (end + 1 < text.length)
        return { malformed: `line ${line}: goes on after the line that ends it`, hint: anew }
      if (counted !== `end ${line - 2}`)
        return {
          malformed: `has ${line - 2} documents, and its last line says ${quoted(counted)}`,
          hint: anew,
        }
      return yield* lines.take()
    }
    if (line - 1 > maxLines) return { malformed: `has more than ${maxLines} lines`, hint: anew }
    lines.add(line, text.subarray(at, end + 1))
    if (lines.bad > maxBadLines)
      return { malformed: `line ${line}: holds no document, as ${maxBadLines} lines before it`, hint: anew }
    at = end + 1
    if (at - steppedAt < stepBytes) continue
    steppedAt = at
    yield
  }
}

/** True where these first bytes may be those of a bundle. */
export function beginsAsBundle(bytes: Buffer): boolean {
  const wanted = `${header}\n`
  return bytes.toString('latin1', 0, wanted.length) === wanted
}

/** So many bytes tell whether it is a bundle. */
export const headerBytes = header.length + 1

export function isNoBundle(decoded: Bundle | NoBundle): decoded is NoBundle {
  return 'malformed' in decoded
}

const anew = 'make it anew: linkspan registry bundle'
const cutOff: NoBundle = {
  malformed: 'is cut off: its last line is not "end COUNT"',
  hint: 'the server has only a part of it, or sent only a part',
}

/** What it is instead. */
function strangerOf(text: Buffer): NoBundle {
  if (text.length === 0) return { malformed: 'is empty' }
  const beginning = text.toString('latin1', 0, 40)
  if (`${header}\n`.startsWith(beginning)) return cutOff
  const [first = ''] = beginning.split('\n')
  if (first === `${header}\r`)
    return { malformed: 'has line ends of CR LF', hint: 'it must be served byte for byte' }
  const version = /^linkspan-bundle ([0-9]{1,9})$/.exec(first)?.[1]
  if (version !== undefined)
    return { malformed: `is a bundle of version ${version}, expected 1`, hint: 'upgrade linkspan' }
  return { malformed: `is no bundle: it begins with ${quoted(first)}`, hint: 'does the URL name the bundle?' }
}

interface Line {
  readonly line: number
  readonly held: { readonly bytes: Uint8Array } | { readonly reason: string }
  /** The next line of the same name. */
  readonly again?: number
}

/** What the lines so far hold. */
class Lines {
  readonly #named = new Map<string, Line>()
  readonly #nameless: BadLine[] = []
  #bad = 0

  get bad(): number {
    return this.#bad
  }

  /** `text`: with its line feed. */
  add(line: number, text: Buffer): void {
    const gap = text.subarray(0, maxNameLength + 1).indexOf(space)
    const name = text.toString('latin1', 0, Math.max(0, gap))
    if (!isName(name)) {
      this.#bad++
      this.#nameless.push({ line, reason: `does not begin with a name and a space: expected ${nameRule}` })
      return
    }
    const before = this.#named.get(name)
    if (before !== undefined) {
      if (before.again === undefined) this.#named.set(name, { ...before, again: line })
      this.#bad++
      return
    }
    const held = documentOf(text.subarray(gap + 1))
    if ('reason' in held) this.#bad++
    this.#named.set(name, { line, held })
  }

  *take(): Generator<undefined, Bundle> {
    const entries: BundleEntry[] = []
    const badLines = this.#nameless
    let count = 0
    for (const [name, { line, held, again }] of this.#named) {
      if (++count % stepLines === 0) yield
      if (again !== undefined)
        badLines.push({ line: again, name, reason: `has the name of line ${line}: neither counts` })
      else if ('reason' in held) badLines.push({ line, name, reason: held.reason })
      else entries.push({ name, bytes: held.bytes })
    }
    return { entries, badLines: badLines.sort((a, b) => a.line - b.line) }
  }
}

export function isName(name: string): boolean {
  return namePattern.test(name) && name !== 'end'
}

/** A document as its line has it. */
function textOf(bytes: Uint8Array): string {
  const document = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  // Latin-1 is one character a byte.
  const text = document.toString('latin1').replace(/\n$/, '')
  return partsOf(text) === 3 ? text : document.toString('base64url')
}

/** The document of a line. `line`: what follows the space, with the line feed. */
function documentOf(line: Buffer): Line['held'] {
  const text = line.toString('latin1', 0, line.length - 1)
  if (text === '') return { bytes: new Uint8Array() }
  const parts = partsOf(text)
  // Copied: else every document would keep the whole bundle in memory.
  if (parts === 3) return { bytes: Buffer.from(line) }
  if (parts !== 1) return { reason: 'holds neither a JWS nor base64url' }
  const bytes = Buffer.from(text, 'base64url')
  return bytes.toString('base64url') === text
    ? { bytes }
    : { reason: 'holds base64url that ends in stray bits' }
}

/** Parts of base64url with a dot between; 0 where a part is empty or another character is among them. */
function partsOf(text: string): number {
  if (/[^\w.-]/.test(text)) return 0
  const parts = text.split('.')
  return parts.includes('') ? 0 : parts.length
}
