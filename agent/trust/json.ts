/**
 * A strict JSON parser (RFC 8259) for documents that strangers may have written.
 *
 * JSON.parse keeps the last of duplicate keys, rounds integers beyond 2^53, lets `__proto__` through and often says no
 * place. This one refuses all of that and says where. It makes plain values and no positions, because 100,000 prefixes are
 * read at start; where a decoder later objects to a value, locateJson reads the same text again and finds its place.
 */
import { quoted } from './excerpt.ts'

/** What is wrong with a text, and at which character (UTF-16 offset). */
export interface JsonFault {
  readonly offset: number
  readonly reason: string
  readonly hint?: string
}

export type JsonPath = readonly (string | number)[]

/** Deepest nesting a document may have; the shapes of model/fabric.ts need 6. */
export const maxDepth = 16

export function parseJson(text: string): { readonly value: unknown } | JsonFault {
  try {
    return { value: new Parser(text).document() }
  } catch (thrown) {
    if (thrown instanceof Fault) return thrown.fault
    throw thrown
  }
}

/** Offset of the value at `path`, or of its key; the nearest container where the path does not exist. */
export function locateJson(text: string, path: JsonPath, part: 'key' | 'value'): number {
  const parser = new Parser(text, path)
  try {
    parser.document()
  } catch (thrown) {
    if (!(thrown instanceof Fault)) throw thrown
  }
  return part === 'key' ? (parser.foundKey ?? parser.found) : parser.found
}

class Fault extends Error {
  readonly fault: JsonFault
  constructor(fault: JsonFault) {
    super(fault.reason)
    this.fault = fault
  }
}

const quote = 34
const backslash = 92
const comma = 44
const escapes: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
}

class Parser {
  readonly #text: string
  #at = 0
  #depth = 0
  /** The path wanted, and how many of its steps lead to where the parser is. */
  readonly #path: JsonPath | undefined
  #matched = 0
  found = 0
  foundKey: number | undefined

  constructor(text: string, path?: JsonPath) {
    this.#text = text
    this.#path = path
  }

  document(): unknown {
    this.#space()
    if (this.#at === this.#text.length) this.#fail('is empty: expected a JSON object')
    const value = this.#value()
    this.#space()
    if (this.#at < this.#text.length) {
      this.#fail(`unexpected ${this.#seen()} after the end of the document`, 'a file holds one document')
    }
    return value
  }

  #value(): unknown {
    const text = this.#text
    const c = text.charCodeAt(this.#at)
    if (c === quote) return this.#string()
    if (c === 123) return this.#nested(() => this.#object())
    if (c === 91) return this.#nested(() => this.#array())
    if (c === 45 || (c >= 48 && c <= 57)) return this.#number()
    for (const [word, value] of [
      ['true', true],
      ['false', false],
      ['null', null],
    ] as const) {
      if (text.startsWith(word, this.#at)) {
        this.#at += word.length
        return value
      }
    }
    if (c === 39) return this.#fail('expected a value', 'strings stand in double quotes')
    return this.#fail(`expected a value, found ${this.#seen()}`)
  }

  #nested(read: () => unknown): unknown {
    if (++this.#depth > maxDepth) this.#fail(`nested deeper than ${maxDepth} levels`)
    this.#at++
    const value = read()
    this.#depth--
    return value
  }

  #object(): Record<string, unknown> {
    const object: Record<string, unknown> = {}
    this.#space()
    if (this.#take(125)) return object
    for (;;) {
      const start = this.#at
      if (this.#text.charCodeAt(start) !== quote) {
        this.#fail(
          `expected a field name in double quotes, found ${this.#seen()}`,
          this.#text.charCodeAt(start) === 125 ? 'no comma after the last field' : undefined,
        )
      }
      const key = this.#string()
      if (key === '__proto__') this.#fail('the field name "__proto__" is not allowed', undefined, start)
      if (Object.hasOwn(object, key)) {
        this.#fail(`the field ${quoted(key)} is given twice`, 'keep one of the two', start)
      }
      this.#space()
      if (!this.#take(58)) this.#fail(`expected ":" after the field name, found ${this.#seen()}`)
      this.#space()
      object[key] = this.#path === undefined ? this.#value() : this.#watched(key, start)
      this.#space()
      if (this.#take(125)) return object
      if (!this.#take(comma)) this.#fail(`expected "," or "}", found ${this.#seen()}`)
      this.#space()
    }
  }

  #array(): unknown[] {
    const array: unknown[] = []
    this.#space()
    if (this.#take(93)) return array
    for (;;) {
      array.push(this.#path === undefined ? this.#value() : this.#watched(array.length))
      this.#space()
      if (this.#take(93)) return array
      if (!this.#take(comma)) this.#fail(`expected "," or "]", found ${this.#seen()}`)
      this.#space()
      if (this.#text.charCodeAt(this.#at) === 93) {
        this.#fail('expected a value, found "]"', 'no comma after the last element')
      }
    }
  }

  /** Reads the value of one step and remembers its place when the step continues the wanted path. */
  #watched(step: string | number, keyAt?: number): unknown {
    const path = this.#path ?? []
    // Every open container counts one step; on the wanted path all of them matched.
    if (this.#matched !== this.#depth - 1 || path[this.#matched] !== step) return this.#value()
    this.#matched++
    this.found = this.#at
    this.foundKey = keyAt
    const value = this.#value()
    if (this.#matched === path.length) throw new Fault({ offset: this.found, reason: 'found' })
    this.#matched--
    return value
  }

  #string(): string {
    const text = this.#text
    const start = ++this.#at
    for (let at = start; at < text.length; at++) {
      const c = text.charCodeAt(at)
      if (c === quote) {
        this.#at = at + 1
        return text.slice(start, at)
      }
      if (c === backslash) return this.#escaped(start, at)
      if (c < 32) this.#fail('control character in a string', 'write it as an escape such as \\n', at)
    }
    return this.#fail('this string has no closing quote', undefined, start - 1)
  }

  #escaped(start: number, first: number): string {
    const text = this.#text
    let value = text.slice(start, first)
    let at = first
    while (at < text.length) {
      const c = text.charCodeAt(at)
      if (c === quote) {
        this.#at = at + 1
        // A lone half of a surrogate pair has no UTF-8 form
        if (/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/.test(value)) {
          this.#fail('half of a surrogate pair in a string', undefined, start - 1)
        }
        return value
      }
      if (c < 32) this.#fail('control character in a string', 'write it as an escape such as \\n', at)
      if (c !== backslash) {
        value += text.charAt(at++)
        continue
      }
      const letter = text.charAt(at + 1)
      const hex = /^u([0-9a-fA-F]{4})/.exec(text.slice(at + 1, at + 6))?.[1]
      const simple = escapes[letter]
      if (hex !== undefined) value += String.fromCharCode(parseInt(hex, 16))
      else if (simple !== undefined) value += simple
      else this.#fail('not an escape sequence of JSON', 'a backslash is written \\\\', at)
      at += hex === undefined ? 2 : 6
    }
    return this.#fail('this string has no closing quote', undefined, start - 1)
  }

  #number(): number {
    const text = this.#text
    const start = this.#at
    let at = start
    if (text.charCodeAt(at) === 45) at++
    const digits = at
    while (at < text.length && text.charCodeAt(at) >= 48 && text.charCodeAt(at) <= 57) at++
    if (at === digits) this.#fail('expected a digit after "-"', undefined, at)
    if (at - digits > 1 && text.charCodeAt(digits) === 48) {
      this.#fail('a number has no leading zero', 'some programs read it as octal', start)
    }
    const next = text.charAt(at)
    if (next === '.' || next === 'e' || next === 'E') {
      this.#fail('expected an integer', 'numbers of documents have no fraction and no exponent', start)
    }
    const value = Number(text.slice(start, at))
    if (!Number.isSafeInteger(value)) {
      this.#fail('this integer is beyond 2^53 - 1 and would be rounded', undefined, start)
    }
    this.#at = at
    return value
  }

  #space(): void {
    for (;;) {
      const c = this.#text.charCodeAt(this.#at)
      if (c !== 32 && c !== 10 && c !== 13 && c !== 9) return
      this.#at++
    }
  }

  #take(code: number): boolean {
    if (this.#text.charCodeAt(this.#at) !== code) return false
    this.#at++
    return true
  }

  #seen(): string {
    const code = this.#text.codePointAt(this.#at)
    if (code === undefined) return 'the end of the file'
    const shown = quoted(String.fromCodePoint(code))
    return code < 32 || shown.includes('\ufffd') ? `U+${code.toString(16).padStart(4, '0')}` : shown
  }

  #fail(reason: string, hint?: string, offset: number = this.#at): never {
    throw new Fault({ offset, reason, ...(hint === undefined ? {} : { hint }) })
  }
}
