/**
 * YAML files that people write, with places. A file is parsed once; whatever is found wrong later, by whichever decoder, is
 * a path into it, and this turns paths into line, column, source line and caret. All problems are told at once.
 */
import { CST, isMap, isNode, isPair, isScalar, LineCounter, parseDocument, Parser, visit } from 'yaml'
import type { Document, ErrorCode } from 'yaml'
import { LinkspanError } from '../errors.ts'
import type { Problem } from '../trust/decode.ts'
import { formatPath } from '../trust/decode.ts'
import { excerptOf, placeOf, quoted } from '../trust/excerpt.ts'
import { readBounded } from './bounded-file.ts'

/** Larger files are not what people write. */
const maxBytes = 1024 * 1024
/** Lists and maps within each other. Nothing that we read has a third of it; the parser's stack ends at some hundreds. */
const maxDepth = 32

interface Placed {
  readonly offset: number
  readonly reason: string
  readonly hint?: string
}

export class YamlFile {
  readonly file: string
  readonly #text: string
  readonly #document: Document
  /** The file's content as plain values; null where it is empty. */
  readonly value: unknown

  private constructor(file: string, text: string, document: Document) {
    this.file = file
    this.#text = text
    this.#document = document
    this.value = document.toJS() as unknown
  }

  /** Throws config-invalid with every syntax error. */
  static async read(file: string): Promise<YamlFile> {
    let bytes: Buffer
    try {
      bytes = await readBounded(file, maxBytes)
    } catch (error) {
      if (error instanceof LinkspanError) throw error
      const reason = `cannot be read: ${error instanceof Error ? error.message : String(error)}`
      const next = 'write it, or name another file or directory by an option'
      throw new LinkspanError({ code: 'config-invalid', object: file, reason, next }, { cause: error })
    }
    return YamlFile.parse(file, bytes)
  }

  static parse(file: string, bytes: Uint8Array): YamlFile {
    const refuse = (reason: string, next: string): LinkspanError =>
      new LinkspanError({ code: 'config-invalid', object: file, reason, next })
    if (bytes.length > maxBytes) {
      throw refuse(`is ${bytes.length} bytes long, expected at most ${maxBytes}`, 'is it the right file?')
    }
    let text: string
    try {
      text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    } catch {
      throw refuse('is not UTF-8', 'save the file as UTF-8')
    }
    const tooDeep = depthFault(text)
    if (tooDeep !== undefined) throw invalid(file, text, [tooDeep])
    // The core schema of YAML 1.2: `no` and `off` are texts, 0o17 is the only octal. No aliases means no expansion bombs.
    const document = parseDocument(text, {
      version: '1.2',
      uniqueKeys: true,
      prettyErrors: false,
      strict: true,
      lineCounter: new LineCounter(),
    })
    const faults = [...document.errors, ...document.warnings].map(({ code, message, pos: [offset] }) =>
      faultOf(code, message, offset),
    )
    faults.push(...numberFaults(document))
    if (faults.length > 0) throw invalid(file, text, faults)
    if (/^[^#\n]*[&*][A-Za-z]/m.test(text) && hasAlias(document)) {
      throw refuse('uses anchors and aliases', 'write the value out')
    }
    return new YamlFile(file, text, document)
  }

  /** config-invalid that shows all problems in the order of the file. */
  error(problems: readonly Problem[]): LinkspanError {
    const placed = problems.map(({ path, part, reason, hint }) => {
      const where = formatPath(path)
      return {
        offset: this.#offsetOf(path, part),
        reason: where === '' || part === 'key' ? reason : `${where}: ${reason}`,
        ...(hint === undefined ? {} : { hint }),
      }
    })
    return invalid(this.file, this.#text, placed)
  }

  /** Start of the value, or of its key; of the nearest container that exists. */
  #offsetOf(path: readonly (string | number)[], part: 'key' | 'value'): number {
    for (let length = path.length; length > 0; length--) {
      const parent =
        length === 1 ? this.#document.contents : this.#document.getIn(path.slice(0, length - 1), true)
      const last = path[length - 1]
      if (isMap(parent)) {
        const pair = parent.items.find(
          ({ key }) => (isScalar(key) ? String(key.value) : undefined) === String(last),
        )
        const node = pair === undefined || part === 'key' || !isNode(pair.value) ? pair?.key : pair.value
        if (isNode(node) && node.range) return node.range[0]
      } else {
        const node = this.#document.getIn(path.slice(0, length), true)
        if (isNode(node) && node.range) return node.range[0]
      }
    }
    return this.#document.contents?.range?.[0] ?? 0
  }
}

function invalid(file: string, text: string, faults: readonly Placed[]): LinkspanError {
  const inOrder = faults.toSorted((a, b) => a.offset - b.offset)
  const blocks = inOrder.map(({ offset, reason, hint }) => {
    const { line, column } = placeOf(text, offset)
    const advice = hint === undefined ? '' : `\n  hint: ${hint}`
    return { object: `${file}:${line}:${column}`, body: `${reason}\n${excerptOf(text, offset)}${advice}` }
  })
  const [first, ...rest] = blocks
  const reason = [first?.body ?? '', ...rest.map(({ object, body }) => `${object}: ${body}`)].join('\n')
  return new LinkspanError({ code: 'config-invalid', object: first?.object ?? file, reason })
}

/** Where the text is nested too deep. Tokens are read without recursion; what is made of them is not. */
function depthFault(text: string): Placed | undefined {
  for (const token of new Parser().parse(text)) {
    const offset = token.type === 'document' ? offsetTooDeep(token.value, 0) : undefined
    if (offset !== undefined) return { offset, reason: `nested deeper than ${maxDepth} levels` }
  }
  return undefined
}

function offsetTooDeep(token: CST.Token | null | undefined, depth: number): number | undefined {
  if (!CST.isCollection(token)) return undefined
  if (depth >= maxDepth) return token.offset
  for (const { key, value } of token.items) {
    const offset = offsetTooDeep(key, depth + 1) ?? offsetTooDeep(value, depth + 1)
    if (offset !== undefined) return offset
  }
  return undefined
}

function faultOf(code: ErrorCode, message: string, offset: number): Placed {
  if (code === 'MULTIPLE_DOCS')
    return { offset, reason: 'a second document begins here', hint: 'keep one, without a second "---"' }
  if (/keys must be unique/i.test(message))
    return { offset, reason: 'this key is given twice', hint: 'keep one of the two' }
  if (/tab/i.test(message)) return { offset, reason: message, hint: 'indent with spaces' }
  return { offset, reason: message }
}

/**
 * Numbers that not every reader of YAML takes for the same: `022` is 22 in YAML 1.2 and 18 in 1.1, `1_000` a text in the one
 * and a number in the other.
 */
const ambiguous = /^[-+]?(?:0[0-9_]+(?:\.[0-9_]*)?(?:e[-+]?[0-9]+)?|0[xob][0-9a-f_]+|[0-9]+_[0-9_]*)$/i

function numberFaults(document: Document): readonly Placed[] {
  const faults: Placed[] = []
  visit(document, {
    Scalar: (_key, { source, type, range }) => {
      if (type !== 'PLAIN' || source === undefined || !ambiguous.test(source)) return
      faults.push({
        offset: range?.[0] ?? 0,
        reason: `expected a decimal number without leading zeros and underscores, found ${quoted(source)}`,
        hint: `write ${readingsOf(source).join(' or ')}, or "${source}" in quotes if it is a text`,
      })
    },
  })
  return faults
}

/** What it may be meant to be. */
function readingsOf(source: string): readonly string[] {
  const [, sign = '', digits = ''] = /^([-+]?)(.*)$/.exec(source.replaceAll('_', '').toLowerCase()) ?? []
  const readings = [Number(digits)]
  if (/^0[0-7]+$/.test(digits)) readings.push(Number(`0o${digits}`))
  return [...new Set(readings)].map((value) => `${sign === '-' && value !== 0 ? '-' : ''}${value}`)
}

function hasAlias(document: Document): boolean {
  let found = false
  const look = (node: unknown): void => {
    if (isPair(node)) {
      look(node.key)
      look(node.value)
    } else if (isNode(node)) {
      if ('source' in node && !isScalar(node)) found = true
      if ('items' in node && Array.isArray(node.items)) node.items.forEach(look)
    }
  }
  look(document.contents)
  return found
}
