/**
 * Reading what a metadata service says. Pure. A service may say less than this program knows of, or something new, and no
 * start may fail for that: what is absent is empty, and what cannot be is left out and told, one sentence each.
 */
import {
  familyOf,
  holds,
  isDefaultRoute,
  isMalformed,
  isPrivate,
  networkOf,
  parseAddress,
  prefix,
  prefixOf,
} from '../model/prefix.ts'
import type { Address, Prefix } from '../model/prefix.ts'
import { quoted } from '../trust/excerpt.ts'
import { isUnreachable } from '../trust/payload.ts'
import { reservedRange } from '../trust/space.ts'

/** Longest list that is read, of interfaces, addresses or prefixes. A VPC has 50 blocks at most, a VM 64 interfaces. */
const longest = 256
/** No more sentences than that: whoever sends garbage sends much of it. */
const mostSentences = 16

const globalSix = prefix('2000::/3')

/** Why a value is not what it should be. */
interface Refused {
  readonly refused: string
}

export class Reading {
  readonly #unusable: string[] = []

  get unusable(): readonly string[] {
    return this.#unusable
  }

  /** What of the list is read. */
  list(value: unknown, what: string): readonly unknown[] {
    const list = this.#take<readonly unknown[]>(what, value, (found) =>
      Array.isArray(found) ? found : { refused: 'is no list' },
    )
    if (list === undefined) return []
    if (list.length > longest) this.note(what, list.length, `entries, of which ${longest} are read`)
    return list.slice(0, longest)
  }

  /** The lines of a text, as AWS writes lists. */
  lines(text: string | undefined, what: string): readonly string[] {
    const lines = (text ?? '').split('\n').map((line) => line.trim())
    const filled = lines.filter((line) => line !== '')
    return this.list(filled, what).map(String)
  }

  /** Words that fit a site's provider, region and labels; empty where there are none. */
  words(value: unknown, what: string): string {
    const fits = (found: unknown): found is string =>
      typeof found === 'string' && /^[\w./:@+-]{1,63}$/.test(found)
    const words = this.#take<string>(what, value, (found) =>
      fits(found) ? found : { refused: 'is no name' },
    )
    return words ?? ''
  }

  /** Lower case with colons, which Azure does not write; empty where there is none. */
  mac(value: unknown, what: string): string {
    const mac = this.#take<string>(what, value, (found) => {
      const digits = typeof found === 'string' ? found.toLowerCase().replace(/[:-]/g, '') : ''
      if (!/^[0-9a-f]{12}$/.test(digits)) return { refused: 'is no MAC address' }
      return digits.replace(/..(?!$)/g, '$&:')
    })
    return mac ?? ''
  }

  /** An address that a host can have. */
  address(value: unknown, what: string): Address | undefined {
    return this.#take(what, value, addressIn)
  }

  addresses(values: readonly unknown[], what: string): Address[] {
    return distinct(values.map((value) => this.address(value, what)))
  }

  /** An address by which the internet reaches the VM. */
  publicAddress(value: unknown, what: string): Address | undefined {
    return this.#take(what, value, (found) => {
      const parsed = addressIn(found)
      if (typeof parsed !== 'string' || !isPrivate(parsed)) return parsed
      return { refused: 'is a private address' }
    })
  }

  /** A prefix from its two halves. Host bits, default routes and reserved ranges are refused, other spellings are not. */
  prefix(network: unknown, length: unknown, what: string): Prefix | undefined {
    if (isAbsent(network)) return undefined
    return this.#take(what, `${textOf(network)}/${textOf(length)}`, prefixIn)
  }

  prefixes(texts: readonly unknown[], what: string): Prefix[] {
    return distinct(texts.map((text) => this.#take(what, text, prefixIn)))
  }

  /** Bytes; absent where it is none that IPv6 could live with. */
  mtu(value: unknown, what: string): number | undefined {
    const fits = (found: unknown): found is number =>
      Number.isInteger(found) && Number(found) >= 1280 && Number(found) <= 65_535
    return this.#take<number>(what, value, (found) => (fits(found) ? found : { refused: 'is no MTU' }))
  }

  note(what: string, value: unknown, why: string): void {
    if (this.#unusable.length < mostSentences) this.#unusable.push(`${what} ${quoted(value)} ${why}`)
  }

  /** What `read` makes of the value; nothing where it is absent, nor, with a note, where it cannot be. */
  #take<T>(what: string, value: unknown, read: (value: unknown) => T | Refused): T | undefined {
    if (isAbsent(value)) return undefined
    const found = read(value)
    if (!isRefused(found)) return found
    this.note(what, value, found.refused)
    return undefined
  }
}

function isRefused(found: unknown): found is Refused {
  return typeof found === 'object' && found !== null && 'refused' in found
}

/** Azure writes IPv6 in brackets here and there. */
function addressIn(value: unknown): Address | Refused {
  const parsed = parseAddress(typeof value === 'string' ? value.replace(/^\[(.*)\]$/, '$1') : '')
  if (isMalformed(parsed)) return { refused: 'is no address' }
  return isUnreachable(parsed) ? { refused: 'is no address of a host' } : parsed
}

function prefixIn(value: unknown): Prefix | Refused {
  const [, network = '', length = ''] = /^([^/]+)\/([0-9]{1,3})$/.exec(textOf(value)) ?? []
  const parsed = parseAddress(network)
  if (isMalformed(parsed) || Number(length) > (familyOf(parsed) === 4 ? 32 : 128)) {
    return { refused: 'is no prefix' }
  }
  const found = prefixOf(parsed, Number(length))
  if (networkOf(found) !== parsed) return { refused: 'has host bits set' }
  if (isDefaultRoute(found)) return { refused: 'is everything, not a network' }
  const reserved = reservedRange(found)
  return reserved === undefined ? found : { refused: `shares addresses with ${reserved}` }
}

/** The value of a JSON text, or undefined: what follows says that it is no object. */
export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined // the caller says what was expected and what was found
  }
}

/** An own field of an object; undefined of anything else. */
export function fieldOf(value: unknown, ...path: readonly string[]): unknown {
  let found = value
  for (const key of path) {
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, key)) return undefined
    found = (found as Record<string, unknown>)[key]
  }
  return found
}

export function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** In order, without what is missing or there twice. */
export function distinct<T extends string>(values: readonly (T | undefined)[]): T[] {
  return [...new Set(values.filter((value) => value !== undefined))]
}

/** True of an IPv6 address that the internet can route. */
export function isGlobalSix(address: Address): boolean {
  return familyOf(address) === 6 && holds(globalSix, address)
}

/** The services write "", null or nothing for what is not there. */
function isAbsent(value: unknown): boolean {
  return value === undefined || value === null || value === ''
}

function textOf(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : ''
}
