/**
 * Decoders: plain values in, typed payloads out, with every problem noted under its path. They know nothing of JSON or
 * YAML; who read the text (parse.ts, or the command line for YAML) turns a path into line and column.
 *
 * A decoder answers null exactly when it has noted a problem. On the way through a good document nothing is allocated
 * for messages: a path is only built where one is needed.
 */
import { didYouMean } from './spelling.ts'
import { quoted } from './excerpt.ts'
import { patternSchema, schemaOf, shaped } from './schema.ts'
import type { Schema } from './schema.ts'

export interface Problem {
  readonly path: readonly (string | number)[]
  /** Which part of the last step is wrong. */
  readonly part: 'key' | 'value'
  /** What was expected, and what was found. */
  readonly reason: string
  readonly hint?: string
}

/** A container on the way down. */
export interface At {
  readonly problems: Problem[]
  readonly parent?: At
  readonly key?: string | number
}

/** `at` is the container, `key` the value's name or index in it. */
export type Decoder<T> = (value: unknown, at: At, key: string | number) => T | null

type Decoded<D> = D extends Decoder<infer T> ? T : never
type Fields = Readonly<Record<string, Decoder<unknown>>>
type Shape<R extends Fields> = { readonly [K in keyof R]: Decoded<R[K]> }

/** More than this many problems of one document help nobody. They are counted, since a decoder tells by the count how it went. */
const maxProblems = 20
const oneMore: Problem = { path: [], part: 'value', reason: 'more is wrong' }

/** Decodes a whole document. */
export function decode<T>(decoder: Decoder<T>, value: unknown): { readonly value: T } | readonly Problem[] {
  const problems: Problem[] = []
  const decoded = decoder(value, { problems }, '')
  return decoded === null ? problems.slice(0, maxProblems) : { value: decoded }
}

export function fail(at: At, key: string | number, reason: string, hint?: string, part?: 'key'): null {
  if (at.problems.length >= maxProblems) {
    at.problems.push(oneMore)
    return null
  }
  const path: (string | number)[] = key === '' ? [] : [key]
  for (let here: At | undefined = at; here?.key !== undefined; here = here.parent) {
    if (here.key !== '') path.unshift(here.key)
  }
  at.problems.push({ path, part: part ?? 'value', reason, ...(hint === undefined ? {} : { hint }) })
  return null
}

/** `payload.prefixes[3]`: a path as people write it. */
export function formatPath(path: readonly (string | number)[]): string {
  return path
    .map((step, i) => {
      if (typeof step === 'number') return `[${step}]`
      if (!/^[\w-]+$/.test(step)) return `[${quoted(step)}]`
      return i === 0 ? step : `.${step}`
    })
    .join('')
}

/** An object with exactly these fields. */
export function object<R extends Fields>(required: R): Decoder<Shape<R>>
export function object<R extends Fields, O extends Fields>(
  required: R,
  optional: O,
): Decoder<Shape<R> & Partial<Shape<O>>>
export function object(required: Fields, optional: Fields = {}): Decoder<Readonly<Record<string, unknown>>> {
  const decoders = new Map<string, Decoder<unknown>>([
    ...Object.entries(required),
    ...Object.entries(optional),
  ])
  const names = Object.keys(required)
  const schema = (): Schema => ({
    type: 'object',
    properties: Object.fromEntries([...decoders].map(([name, decoder]) => [name, schemaOf(decoder)])),
    required: names,
    additionalProperties: false,
  })
  return shaped(schema, (value, at, key) => {
    if (!isObject(value)) return expected(at, key, 'an object', value)
    const here: At = { problems: at.problems, parent: at, key }
    const before = at.problems.length
    const shape: Record<string, unknown> = {}
    for (const name of Object.keys(value)) {
      const decoder = decoders.get(name)
      if (decoder === undefined) {
        const isTold = at.problems.length < maxProblems
        const hint = isTold ? didYouMean(name, [...decoders.keys()]) : undefined
        fail(here, name, `unknown field ${quoted(name)}`, hint, 'key')
      } else shape[name] = decoder(value[name], here, name)
    }
    for (const name of names) {
      if (!Object.hasOwn(value, name)) fail(at, key, `the field "${name}" is missing`)
    }
    return at.problems.length === before ? shape : null
  })
}

/** Any names, checked by `name`, with values of one kind. `names`: the same rule, for the schema. */
export function dictionary<T>(name: (key: string) => string | undefined, of: Decoder<T>, names?: RegExp) {
  const schema = (): Schema => ({
    type: 'object',
    additionalProperties: schemaOf(of),
    ...(names === undefined ? {} : { propertyNames: { pattern: names.source } }),
  })
  return shaped(schema, ((value, at, key) => {
    if (!isObject(value)) return expected(at, key, 'an object', value)
    const here: At = { problems: at.problems, parent: at, key }
    const before = at.problems.length
    const entries: [string, T][] = []
    for (const [field, member] of Object.entries(value)) {
      const wrong = name(field)
      if (wrong !== undefined) fail(here, field, wrong, undefined, 'key')
      const decoded = of(member, here, field)
      if (decoded !== null) entries.push([field, decoded])
    }
    return at.problems.length === before ? Object.fromEntries(entries) : null
  }) satisfies Decoder<Record<string, T>>)
}

export function array<T>(of: Decoder<T>): Decoder<readonly T[]> {
  const schema = (): Schema => ({ type: 'array', items: schemaOf(of) })
  return shaped(schema, (value, at, key) => {
    if (!Array.isArray(value)) return expected(at, key, 'a list', value)
    const here: At = { problems: at.problems, parent: at, key }
    const before = at.problems.length
    const list: T[] = []
    for (let i = 0; i < value.length; i++) {
      const decoded = of(value[i], here, i)
      if (decoded !== null) list.push(decoded)
    }
    return at.problems.length === before ? list : null
  })
}

/** A list in which no two elements have the same `by`; `what` names it: "the VNI". */
export function unique<T>(
  of: Decoder<readonly T[]>,
  what: string,
  by: (element: T) => unknown,
): Decoder<readonly T[]> {
  const schema = (): Schema => {
    const plain = schemaOf(of)
    const isText = (plain['items'] as Schema | undefined)?.['type'] === 'string'
    // An object's mark may be one of its fields, which no schema can compare.
    const rule = isText ? { uniqueItems: true } : commented(plain, `no two elements have the same: ${what}`)
    return { ...plain, ...rule }
  }
  return shaped(schema, (value, at, key) => {
    const list = of(value, at, key)
    if (list === null) return null
    const seen = new Map<unknown, number>()
    const here: At = { problems: at.problems, parent: at, key }
    const before = at.problems.length
    for (const [i, element] of list.entries()) {
      const mark = by(element)
      if (mark === undefined) continue
      const first = seen.get(mark)
      if (first === undefined) seen.set(mark, i)
      else fail(here, i, `${what} ${quoted(mark)} is used twice: elements ${first} and ${i}`)
    }
    return at.problems.length === before ? list : null
  })
}

/**
 * A further condition: `check` answers undefined, or the wrong part and why. `said`: as much of it as a schema can say; a
 * `$comment` for the rest.
 */
export function where<T>(
  of: Decoder<T>,
  check: (
    value: T,
  ) =>
    | { readonly path?: readonly (string | number)[]; readonly reason: string; readonly hint?: string }
    | undefined,
  said: Schema = {},
): Decoder<T> {
  const schema = (): Schema => {
    const plain = schemaOf(of)
    const rest = typeof said['$comment'] === 'string' ? commented(plain, said['$comment']) : {}
    return { ...plain, ...said, ...rest }
  }
  return shaped(schema, (value, at, key) => {
    const decoded = of(value, at, key)
    if (decoded === null) return null
    const wrong = check(decoded)
    if (wrong === undefined) return decoded
    let here = at
    let last = key
    for (const step of wrong.path ?? []) {
      here = { problems: at.problems, parent: here, key: last }
      last = step
    }
    return fail(here, last, wrong.reason, wrong.hint)
  })
}

function commented(plain: Schema, text: string): Schema {
  const before = plain['$comment']
  return { $comment: typeof before === 'string' ? `${before}; ${text}` : text }
}

export function integer(least: number, most: number): Decoder<number> {
  const range = most === Number.MAX_SAFE_INTEGER ? `${least} or more` : `${least} to ${most}`
  const schema = (): Schema => ({ type: 'integer', minimum: least, maximum: most })
  return shaped(schema, (value, at, key) =>
    typeof value === 'number' && Number.isSafeInteger(value) && value >= least && value <= most
      ? value
      : expected(at, key, `an integer, ${range}`, value),
  )
}

/** Text that matches; `what` says which texts do. */
export function text(
  pattern: RegExp,
  what: string,
  hint?: (text: string) => string | undefined,
): Decoder<string> {
  return shaped(
    () => patternSchema(pattern),
    (value, at, key) =>
      typeof value === 'string' && pattern.test(value)
        ? value
        : expected(at, key, what, value, typeof value === 'string' ? hint?.(value) : undefined),
  )
}

export function oneOf<T extends string>(...words: readonly T[]): Decoder<T> {
  return shaped(
    () => ({ enum: words }),
    (value, at, key) => {
      const word = words.find((candidate) => candidate === value)
      if (word !== undefined) return word
      const hint = typeof value === 'string' ? didYouMean(value, words) : undefined
      return expected(at, key, words.map((candidate) => `"${candidate}"`).join(' or '), value, hint)
    },
  )
}

export function expected(at: At, key: string | number, what: string, value: unknown, hint?: string): null {
  return fail(at, key, `expected ${what}, found ${quoted(value)}`, hint)
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
