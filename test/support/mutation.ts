/** Seeded nonsense: bytes, texts and JSON that differ from good ones in ways that parsers get wrong. */

/** A source of numbers that is a function of its seed. */
export class Chance {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** 0 to `below` - 1 (mulberry32). */
  below(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below)
  }

  /** True once in so many times. */
  once(times: number): boolean {
    return this.below(times) === 0
  }

  pick<T>(from: readonly T[]): T {
    const picked = from[this.below(from.length)]
    if (picked === undefined) throw new TypeError('nothing to pick from')
    return picked
  }
}

/** Text that stands in JSON as it is. */
class Raw {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

const raw = (...texts: readonly string[]): Raw[] => texts.map((text) => new Raw(text))
/** Small and good in some place or other, so that documents get past their form. */
const plausible: readonly unknown[] = [
  ...[0, 1, 2, 3, 9, 51820, 65_534, 1_763_700_000_000, [], {}, 'all', 'allow', 'l2', 'l3', 'lan', 'internet'],
  ...['g1', 'g2', 'g3', 's1', 's2', 'prod', 'active', 'withdrawn', 'draining', 'shared', 'defaultRoute'],
  ...[
    '10.1.0.0/16',
    '10.1.5.0/24',
    '10.2.0.0/16',
    '0.0.0.0/0',
    '::/0',
    '127.0.0.0/8',
    '192.0.2.7',
    'fd00::1',
  ],
]
const odd: readonly unknown[] = [
  ...[
    null,
    true,
    false,
    -1,
    2 ** 31,
    2 ** 53 - 1,
    8.64e15 + 1,
    '',
    ' ',
    'a'.repeat(300),
    'constructor',
    '__proto__',
  ],
  ...[
    '\u0000',
    '\u001b[2J',
    '\u202eabc',
    '\ufeff',
    '\u2028',
    'é',
    '😀',
    '10.1.0.0/33',
    '010.1.0.0/16',
    '10.1/16',
  ],
  ...[
    '::ffff:10.1.0.1/128',
    'fe80::1%eth0',
    '1::2::3/64',
    '/',
    '/0',
    '10.0.0.0/-1',
    '10.0.0.0/1e1',
    ':'.repeat(99),
  ],
  ...raw(
    '1.5',
    '1e400',
    '-0',
    '01',
    '9007199254740993',
    '-',
    'nul',
    '"\\ud800"',
    '"\\u0000"',
    '"\\x"',
    "'a'",
    '"a',
  ),
  ...raw(
    '{"__proto__":{"state":"active"}}',
    '{"a":1,"a":2}',
    '{"constructor":{"prototype":1}}',
    '[1,]',
    '{"a":1,}',
  ),
  ...raw('['.repeat(9999), '{"a":'.repeat(9999), '/**/1', '1e', '\u00a01', 'undefined', 'NaN'),
]

type Json = Record<string, unknown>

/** JSON text of a good value with so many pieces of it replaced, removed, repeated or added. */
export function mutatedJson(chance: Chance, value: unknown, times: number): string {
  const copy: unknown = structuredClone(value)
  for (let i = 0; i < times; i++) {
    const places = placesOf(copy)
    if (places.length > 0) mutate(chance, chance.pick(places), places)
  }
  const text = write(copy)
  return chance.once(8) ? mutatedText(chance, text) : text
}

interface Place {
  readonly container: Json | unknown[]
  readonly key: string
}

function placesOf(value: unknown): Place[] {
  if (typeof value !== 'object' || value === null || value instanceof Raw) return []
  const container = value as Json
  return Object.keys(container).flatMap((key) => [{ container, key }, ...placesOf(container[key])])
}

function mutate(chance: Chance, { container, key }: Place, places: readonly Place[]): void {
  const at = container as Json
  const other = chance.pick(places)
  switch (chance.below(8)) {
    case 0:
    case 1:
    case 2:
      at[key] = structuredCloneOf(chance.pick(plausible))
      break
    case 3:
    case 4:
      at[key] = chance.pick(odd)
      break
    case 5:
      at[key] = structuredCloneOf((other.container as Json)[other.key])
      break
    case 6:
      if (Array.isArray(container))
        container.push(...Array.from({ length: chance.below(200) }, () => at[key]))
      else Reflect.deleteProperty(at, key)
      break
    default:
      if (!Array.isArray(container)) at[String(chance.pick(odd))] = chance.pick(odd)
      else container.splice(Number(key), 1)
  }
}

/** A copy that no later change of the original reaches; Raw stays what it is. */
function structuredCloneOf(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Raw) return value
  if (Array.isArray(value)) return value.map(structuredCloneOf)
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, structuredCloneOf(member)]))
}

function write(value: unknown): string {
  if (value instanceof Raw) return value.text
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(write).join(',')}]`
  return `{${Object.entries(value)
    .map(([key, member]) => `${JSON.stringify(key)}:${write(member)}`)
    .join(',')}}`
}

function mutatedText(chance: Chance, text: string): string {
  const at = chance.below(text.length + 1)
  const to = chance.once(2) ? at : at + chance.below(40)
  const between = chance.once(3)
    ? text.slice(chance.below(text.length + 1)).slice(0, 60)
    : String(chance.pick(odd))
  return text.slice(0, at) + between + text.slice(to)
}

/** Bytes with some of them flipped, cut out, doubled or put in. */
export function mutatedBytes(chance: Chance, bytes: Uint8Array, times: number): Buffer {
  let copy = Buffer.from(bytes)
  for (let i = 0; i < times; i++) {
    const at = chance.below(copy.length + 1)
    const to = at + chance.below(chance.once(4) ? copy.length : 12)
    switch (chance.below(5)) {
      case 0:
        if (at < copy.length) copy.writeUInt8(copy.readUInt8(at) ^ (1 << chance.below(8)), at)
        break
      case 1:
        copy = Buffer.concat([copy.subarray(0, at), copy.subarray(to)])
        break
      case 2:
        copy = Buffer.concat([copy.subarray(0, to), copy.subarray(at)])
        break
      case 3:
        copy = copy.subarray(0, at)
        break
      default:
        copy = Buffer.concat([copy.subarray(0, at), noise(chance, chance.below(20)), copy.subarray(at)])
    }
    if (copy.length > 1 << 20) copy = copy.subarray(0, 1 << 20)
  }
  return copy
}

export function noise(chance: Chance, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => chance.below(256)))
}
