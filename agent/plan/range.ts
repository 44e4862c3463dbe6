/**
 * Ranges that keep a remote prefix out, as numbers. A fabric holds 100,000 prefixes and a host a handful of such ranges,
 * so one pass over the ranges is the quick way to ask.
 */
import { addressBytes, familyOf, lengthOf, networkOf } from '../model/prefix.ts'
import type { Bytes, Prefix } from '../model/prefix.ts'

interface Range {
  readonly bytes: Bytes
  readonly length: number
  readonly reason: string
}

export class Ranges {
  readonly #four: Range[] = []
  readonly #six: Range[] = []

  add(prefix: Prefix, reason: string): void {
    const range = { bytes: addressBytes(networkOf(prefix)), length: lengthOf(prefix), reason }
    if (familyOf(prefix) === 4) this.#four.push(range)
    else this.#six.push(range)
  }

  /** The reason of the first range that equals the prefix or holds it. */
  holding(prefix: Prefix): string | undefined {
    const ranges = familyOf(prefix) === 4 ? this.#four : this.#six
    if (ranges.length === 0) return undefined
    const bytes = addressBytes(networkOf(prefix))
    const length = lengthOf(prefix)
    return ranges.find((range) => range.length <= length && startsWith(bytes, range))?.reason
  }
}

/** The first `length` bits are the range's. */
function startsWith(bytes: Bytes, range: Range): boolean {
  const whole = range.length >> 3
  for (let i = 0; i < whole; i++) if (bytes[i] !== range.bytes[i]) return false
  const mask = (0xff00 >> (range.length & 7)) & 0xff
  return mask === 0 || ((bytes[whole] ?? 0) & mask) === range.bytes[whole]
}
