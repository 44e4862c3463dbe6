/**
 * IPv4 and IPv6 prefixes and addresses, as canonical text.
 *
 * A fabric holds 100,000 prefixes, and each one appears in a record, a route, an AllowedIPs entry and an nft set. So a
 * prefix is one interned string in its canonical form (RFC 4632 for IPv4, RFC 5952 for IPv6), which is at once the map
 * key, the text people see and the text the tools take. Numbers are read from it only where a message is encoded or
 * containment is asked. Parsing is strict: no host bits, no octal, no leading zeros, no embedded spaces.
 */

declare const prefixBrand: unique symbol
declare const addressBrand: unique symbol

/** Canonical prefix such as `10.1.0.0/16` or `fd00:1::/48`. */
export type Prefix = string & { readonly [prefixBrand]: true }
/** Canonical address such as `10.1.0.1` or `fd00:1::1`, without a zone. */
export type Address = string & { readonly [addressBrand]: true }

export type Family = 4 | 6

/** Numbers of an address: 4 or 16 bytes, network order. */
export type Bytes = Uint8Array

/** Why a text is not a prefix or an address; `hint` is the canonical text that was probably meant. */
export interface Malformed {
  readonly malformed: string
  readonly hint?: string
}

export function familyOf(text: Prefix | Address): Family {
  return text.includes(':') ? 6 : 4
}

/** Length in bits: 0-32 or 0-128. */
export function lengthOf(prefix: Prefix): number {
  let length = 0
  let worth = 1
  // From the end, digit by digit: it is asked millions of times, and makes no text of its own.
  for (let i = prefix.length - 1; i >= 0; i--) {
    const c = prefix.charCodeAt(i)
    if (c === 47) break
    length += (c - 48) * worth
    worth *= 10
  }
  return length
}

/** The network address of a prefix. */
export function networkOf(prefix: Prefix): Address {
  return prefix.slice(0, prefix.lastIndexOf('/')) as Address
}

export function prefixOf(address: Address, length: number = familyOf(address) === 4 ? 32 : 128): Prefix {
  return formatPrefix(maskBytes(addressBytes(address), length), length)
}

/** Parses a canonical prefix. Host bits, `/33`, octal and non-canonical IPv6 are refused with a hint. */
export function parsePrefix(text: string): Prefix | Malformed {
  if (isCanonicalFour(text)) return text as Prefix
  const slash = text.lastIndexOf('/')
  if (slash < 0) return { malformed: `"${text}" has no prefix length`, ...hintFor(text) }
  const lengthText = text.slice(slash + 1)
  const bytes = parseBytes(text.slice(0, slash))
  if (typeof bytes === 'string') return { malformed: `"${text}" ${bytes}` }
  if (!/^(0|[1-9][0-9]{0,2})$/.test(lengthText) || Number(lengthText) > bytes.length * 8) {
    return { malformed: `"${text}": the length must be 0 to ${bytes.length * 8}` }
  }
  const length = Number(lengthText)
  const canonical = formatPrefix(maskBytes(bytes, length), length)
  if (canonical === text) return canonical
  const reason = sameBytes(bytes, maskBytes(bytes, length)) ? 'is not in canonical form' : 'has host bits set'
  return { malformed: `"${text}" ${reason}`, hint: canonical }
}

/** Parses an address; IPv6 in any RFC 4291 form without zone, canonical on output. */
export function parseAddress(text: string): Address | Malformed {
  const bytes = parseBytes(text)
  return typeof bytes === 'string' ? { malformed: `"${text}" ${bytes}` } : formatAddress(bytes)
}

export function isMalformed(value: string | Malformed): value is Malformed {
  return typeof value !== 'string'
}

/** For constants and tests: throws on what parsePrefix refuses. */
export function prefix(text: string): Prefix {
  const parsed = parsePrefix(text)
  if (isMalformed(parsed)) throw new TypeError(parsed.malformed)
  return parsed
}

/** For constants and tests: throws on what parseAddress refuses. */
export function address(text: string): Address {
  const parsed = parseAddress(text)
  if (isMalformed(parsed)) throw new TypeError(parsed.malformed)
  return parsed
}

/** Bytes of a canonical address, network order. */
export function addressBytes(address: Address): Bytes {
  const bytes = parseBytes(address)
  if (typeof bytes === 'string') throw new TypeError(`"${address}" ${bytes}`)
  return bytes
}

/** True where `outer` holds every address of `inner` (equal counts). */
export function contains(outer: Prefix, inner: Prefix): boolean {
  const length = lengthOf(outer)
  if (familyOf(outer) !== familyOf(inner) || lengthOf(inner) < length) return false
  return sameBytes(maskBytes(addressBytes(networkOf(inner)), length), addressBytes(networkOf(outer)))
}

/** True where the prefix holds the address. */
export function holds(outer: Prefix, address: Address): boolean {
  return contains(outer, prefixOf(address))
}

/** True where the two share an address. */
export function overlaps(a: Prefix, b: Prefix): boolean {
  return contains(a, b) || contains(b, a)
}

/** RFC 1918, RFC 6598, RFC 4193. */
const privateRanges = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7'].map(
  prefix,
)

/** True of an address that the internet does not route. */
export function isPrivate(address: Address): boolean {
  return privateRanges.some((range) => holds(range, address))
}

/** The prefix one bit count shorter or more: `widen(10.1.2.0/24, 16)` is 10.1.0.0/16. */
export function widen(prefix: Prefix, length: number): Prefix {
  return formatPrefix(maskBytes(addressBytes(networkOf(prefix)), length), length)
}

/** Text order that is stable and groups families; for deterministic output. */
export function comparePrefixes(a: Prefix, b: Prefix): number {
  const family = familyOf(a) - familyOf(b)
  if (family !== 0) return family
  const left = addressBytes(networkOf(a))
  const right = addressBytes(networkOf(b))
  for (let i = 0; i < left.length; i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0)
    if (difference !== 0) return difference
  }
  return lengthOf(a) - lengthOf(b)
}

export function formatPrefix(bytes: Bytes, length: number): Prefix {
  return `${formatAddress(bytes)}/${length}` as Prefix
}

/** RFC 5952 text for 16 bytes, dotted quad for 4. */
export function formatAddress(bytes: Bytes): Address {
  if (bytes.length === 4)
    return `${bytes[0] ?? 0}.${bytes[1] ?? 0}.${bytes[2] ?? 0}.${bytes[3] ?? 0}` as Address
  const words: number[] = []
  for (let i = 0; i < 16; i += 2) words.push(((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0))
  let best = -1
  let bestLength = 1 // a single zero word is not shortened (RFC 5952 4.2.2)
  for (let i = 0; i < 8; i++) {
    let j = i
    while (j < 8 && words[j] === 0) j++
    if (j - i > bestLength) {
      best = i
      bestLength = j - i
    }
    if (j > i) i = j
  }
  if (best < 0) return words.map(hex).join(':') as Address
  return `${words.slice(0, best).map(hex).join(':')}::${words
    .slice(best + bestLength)
    .map(hex)
    .join(':')}` as Address
}

function hex(word: number): string {
  return word.toString(16)
}

export function maskBytes(bytes: Bytes, length: number): Bytes {
  const masked = new Uint8Array(bytes)
  for (let i = length >> 3; i < masked.length; i++) {
    masked[i] = i === length >> 3 ? (masked[i] ?? 0) & (0xff00 >> (length & 7)) : 0
  }
  return masked
}

function sameBytes(a: Bytes, b: Bytes): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

/** Bytes, or why not. */
function parseBytes(text: string): Bytes | string {
  return text.includes(':') ? parseSix(text) : parseFour(text)
}

/** True of a canonical IPv4 prefix, which nearly every prefix is: nothing is allocated to see that. */
function isCanonicalFour(text: string): boolean {
  let bits = 0
  let value = -1
  let parts = 0
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c >= 48 && c <= 57) {
      if (value === 0 || value > 99) return false
      value = (value < 0 ? 0 : value * 10) + c - 48
      continue
    }
    if (value < 0 || value > 255 || c !== (parts < 3 ? 46 : 47)) return false
    bits = (bits << 8) | value
    value = -1
    parts++
  }
  return parts === 4 && value >= 0 && value <= 32 && (value === 32 || bits << value === 0)
}

function parseFour(text: string): Bytes | string {
  const bytes = new Uint8Array(4)
  let octet = -1
  let at = 0
  for (let i = 0; i <= text.length; i++) {
    const c = i < text.length ? text.charCodeAt(i) : 46
    if (c === 46) {
      if (octet < 0 || at > 3) return 'is not an IPv4 or IPv6 address'
      bytes[at++] = octet
      octet = -1
    } else if (c >= 48 && c <= 57) {
      if (octet === 0) return 'has a leading zero, which some programs read as octal'
      octet = (octet < 0 ? 0 : octet * 10) + c - 48
      if (octet > 255) return 'has an octet above 255'
    } else return 'is not an IPv4 or IPv6 address'
  }
  return at === 4 ? bytes : 'is not an IPv4 or IPv6 address'
}

function parseSix(text: string): Bytes | string {
  const wrong = 'is not an IPv6 address'
  const halves = text.split('::')
  if (halves.length > 2) return wrong
  const head = parseWords(halves[0] ?? '', halves.length === 1)
  const tail = halves.length === 2 ? parseWords(halves[1] ?? '', true) : []
  if (head === undefined || tail === undefined) return wrong
  const missing = 8 - head.length - tail.length
  if (halves.length === 2 ? missing < 1 : missing !== 0) return wrong
  const words = [...head, ...new Array<number>(missing).fill(0), ...tail]
  const bytes = new Uint8Array(16)
  for (let i = 0; i < 8; i++) {
    bytes[2 * i] = (words[i] ?? 0) >> 8
    bytes[2 * i + 1] = (words[i] ?? 0) & 255
  }
  return bytes
}

function parseWords(text: string, quadAllowed: boolean): number[] | undefined {
  if (text === '') return []
  const words: number[] = []
  const parts = text.split(':')
  for (const [i, part] of parts.entries()) {
    if (part.includes('.')) {
      const quad = parseFour(part)
      if (!quadAllowed || i !== parts.length - 1 || typeof quad === 'string') return undefined
      words.push(((quad[0] ?? 0) << 8) | (quad[1] ?? 0), ((quad[2] ?? 0) << 8) | (quad[3] ?? 0))
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined
      words.push(parseInt(part, 16))
    }
  }
  return words
}

function hintFor(text: string): { hint?: string } {
  const bytes = parseBytes(text)
  return typeof bytes === 'string' ? {} : { hint: formatPrefix(bytes, bytes.length * 8) }
}

/**
 * Default routes and what amounts to one: the whole of IPv4 or IPv6, their halves, and 2000::/3, which is all of the
 * IPv6 internet.
 */
export function isDefaultRoute(wanted: Prefix): boolean {
  return lengthOf(wanted) <= 1 || (familyOf(wanted) === 6 && lengthOf(wanted) <= 3)
}
