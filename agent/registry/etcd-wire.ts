/**
 * Protocol Buffers, as much of them as etcd's messages need: a shape is a table of fields, and both directions follow it.
 * Written by hand because a dozen messages need no code generator, no .proto file beside the program, and no library that
 * compiles functions at run time. A server that is not ours writes what is read here: lengths are checked before they are
 * used, repeated fields have a ceiling, and unknown fields are skipped, since later versions of etcd add some.
 *
 * Numbers are JavaScript's: an int64 beyond 2^53 is an error, except where it is an id. See
 * https://protobuf.dev/programming-guides/encoding/.
 */

interface ValueOf {
  readonly bytes: Uint8Array
  readonly text: string
  /** int64 and uint64: revisions, counts. */
  readonly int: number
  /** uint64 that may use all its bits: of clusters and members. */
  readonly id: bigint
  readonly flag: boolean
}

type Scalar = keyof ValueOf

interface Field {
  readonly number: number
  readonly kind: Scalar | 'message' | 'list'
  readonly shape?: Shape
}

export type Shape = Readonly<Record<string, Field>>

type FieldValue<F> = F extends { kind: 'list'; shape: infer S extends Shape }
  ? readonly Message<S>[]
  : F extends { kind: 'message'; shape: infer S extends Shape }
    ? Message<S> | undefined
    : F extends { kind: infer K extends Scalar }
      ? ValueOf[K]
      : never

/** What decode() answers: absent scalars are zero, absent messages undefined. */
export type Message<S extends Shape> = { readonly [K in keyof S]: FieldValue<S[K]> }

/** What encode() takes. */
export type Partially<S extends Shape> = {
  readonly [K in keyof S]?: S[K] extends { kind: 'message'; shape: infer T extends Shape }
    ? Partially<T>
    : S[K] extends { kind: 'list'; shape: infer T extends Shape }
      ? readonly Partially<T>[]
      : FieldValue<S[K]>
}

function scalar<K extends Scalar>(
  kind: K,
): (number: number) => { readonly number: number; readonly kind: K } {
  return (number) => ({ number, kind })
}

export const bytes = scalar('bytes')
export const text = scalar('text')
export const int = scalar('int')
export const id = scalar('id')
export const flag = scalar('flag')

export function message<S extends Shape>(
  number: number,
  shape: S,
): { readonly number: number; readonly kind: 'message'; readonly shape: S } {
  return { number, kind: 'message', shape }
}

export function list<S extends Shape>(
  number: number,
  shape: S,
): { readonly number: number; readonly kind: 'list'; readonly shape: S } {
  return { number, kind: 'list', shape }
}

/** Elements of one repeated field: a message of 16 MiB could hold eight million empty ones. */
const mostElements = 1 << 18

const [varint, fixed64, delimited, fixed32] = [0, 1, 2, 5]

export function encode<S extends Shape>(shape: S, value: Partially<S>): Buffer {
  const parts: Uint8Array[] = []
  write(shape, value, parts)
  return Buffer.concat(parts)
}

/** Throws where the bytes are no such message. Fields of kind `bytes` are views of `buffer`. */
export function decode<S extends Shape>(shape: S, buffer: Uint8Array): Message<S> {
  return new Reader(buffer, 0, buffer.length).message(shape) as Message<S>
}

function write(shape: Shape, value: Readonly<Record<string, unknown>>, parts: Uint8Array[]): void {
  for (const [name, { number, kind, shape: inner = {} }] of Object.entries(shape)) {
    const given = value[name]
    // Zero values are not written, as proto3 has it; a message that is there is, even when empty.
    if (given === undefined || given === 0 || given === 0n || given === '' || given === false) continue
    if (kind === 'int' || kind === 'id' || kind === 'flag') {
      parts.push(varintOf(number * 8 + varint), varintOf(given as number | bigint | boolean))
      continue
    }
    for (const one of kind === 'list' ? (given as readonly object[]) : [given]) {
      const body =
        kind === 'bytes'
          ? (one as Uint8Array)
          : kind === 'text'
            ? Buffer.from(one as string)
            : encode(inner, one as object)
      if (kind === 'bytes' && body.length === 0) continue
      parts.push(varintOf(number * 8 + delimited), varintOf(body.length), body)
    }
  }
}

function varintOf(value: number | bigint | boolean): Uint8Array {
  let rest = BigInt.asUintN(64, BigInt(value))
  const out: number[] = []
  for (; rest > 0x7fn; rest >>= 7n) out.push(Number(rest & 0x7fn) | 0x80)
  out.push(Number(rest))
  return Uint8Array.from(out)
}

class Reader {
  readonly #buffer: Uint8Array
  readonly #end: number
  #at: number

  constructor(buffer: Uint8Array, start: number, end: number) {
    this.#buffer = buffer
    this.#at = start
    this.#end = end
  }

  message(shape: Shape): Record<string, unknown> {
    const { fields, zero, lists } = layoutOf(shape)
    const value: Record<string, unknown> = { ...zero }
    for (const name of lists) value[name] = []
    while (this.#at < this.#end) {
      const tag = this.#number()
      const field = fields.get(Math.floor(tag / 8))
      if (field === undefined) this.#skip(tag & 7)
      else this.#field(value, field, tag & 7)
    }
    return value
  }

  #field(value: Record<string, unknown>, { name, kind, shape = {} }: Named, wire: number): void {
    const wanted = kind === 'int' || kind === 'id' || kind === 'flag' ? varint : delimited
    if (wire !== wanted) throw new Error(`field ${name} is of wire type ${wire}, expected ${wanted}`)
    switch (kind) {
      case 'int':
        value[name] = this.#number()
        return
      case 'id':
        value[name] = BigInt.asUintN(64, BigInt(this.#varint()))
        return
      case 'flag':
        value[name] = Number(this.#varint()) !== 0
        return
      case 'bytes':
        value[name] = this.#bytes()
        return
      case 'text':
        value[name] = Buffer.from(this.#bytes()).toString('utf8')
        return
      case 'message':
        value[name] = this.#inner().message(shape)
        return
      case 'list': {
        const elements = value[name] as unknown[]
        if (elements.length === mostElements) throw new Error(`field ${name} has too many elements`)
        elements.push(this.#inner().message(shape))
      }
    }
  }

  /** A varint that fits a number; -1 is one, etcd uses it as "none". */
  #number(): number {
    const value = this.#varint()
    if (typeof value === 'number') return value
    const number = Number(BigInt.asIntN(64, value))
    if (!Number.isSafeInteger(number)) throw new Error('a number is out of range')
    return number
  }

  /** A bigint only where it is longer than 28 bits: nearly none is. */
  #varint(): number | bigint {
    let low = 0
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.#byte()
      low |= (byte & 0x7f) << shift
      if (byte < 0x80) return low
    }
    let value = BigInt(low)
    for (let shift = 28n; shift < 70n; shift += 7n) {
      const byte = this.#byte()
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
    throw new Error('a varint is longer than 10 bytes')
  }

  #byte(): number {
    const byte = this.#at < this.#end ? this.#buffer[this.#at++] : undefined
    if (byte === undefined) throw new Error('the message is cut off')
    return byte
  }

  #bytes(): Uint8Array {
    const start = this.#advance(this.#number())
    return this.#buffer.subarray(start, this.#at)
  }

  #inner(): Reader {
    const start = this.#advance(this.#number())
    return new Reader(this.#buffer, start, this.#at)
  }

  #advance(length: number): number {
    const start = this.#at
    if (length < 0 || length > this.#end - start) throw new Error('the message is cut off')
    this.#at += length
    return start
  }

  #skip(wire: number): void {
    if (wire === varint) this.#varint()
    else if (wire === delimited) this.#bytes()
    else if (wire === fixed64) this.#advance(8)
    else if (wire === fixed32) this.#advance(4)
    else throw new Error(`wire type ${wire} is unknown`)
  }
}

interface Named extends Field {
  readonly name: string
}

interface Layout {
  readonly fields: ReadonlyMap<number, Named>
  /** What absent fields are, lists aside: each message needs lists of its own. */
  readonly zero: Readonly<Record<string, unknown>>
  readonly lists: readonly string[]
}

const zeros = { bytes: new Uint8Array(), text: '', int: 0, id: 0n, flag: false, message: undefined }
const layouts = new WeakMap<Shape, Layout>()

function layoutOf(shape: Shape): Layout {
  const known = layouts.get(shape)
  if (known !== undefined) return known
  const named = Object.entries(shape).map(([name, field]): Named => ({ ...field, name }))
  const layout = {
    fields: new Map(named.map((field) => [field.number, field])),
    zero: Object.fromEntries(
      named.flatMap(({ name, kind }) => (kind === 'list' ? [] : [[name, zeros[kind]]])),
    ),
    lists: named.flatMap(({ name, kind }) => (kind === 'list' ? [name] : [])),
  }
  layouts.set(shape, layout)
  return layout
}
