/**
 * One nft rule, twice: as text for people and as the JSON statements of libnftables-json(5) for the kernel. Terms build
 * both at once, so what `linkspan plan` prints is what is loaded. Tried against nft 1.0.6.
 */
import type { NftRule } from '../model/kernel-object.ts'
import { formatAddress, maskBytes } from '../model/prefix.ts'
import type { Family, Prefix } from '../model/prefix.ts'

/** A match or a statement. */
export interface Term {
  readonly text: string
  readonly expr: unknown
}

export function rule(...terms: readonly Term[]): NftRule {
  return { text: terms.map(({ text }) => text).join(' '), expr: terms.map(({ expr }) => expr) }
}

export const accept: Term = { text: 'accept', expr: { accept: null } }
export const drop: Term = { text: 'drop', expr: { drop: null } }
export const reject: Term = {
  text: 'reject with icmpx no-route',
  expr: { reject: { type: 'icmpx', expr: 'no-route' } },
}

/** Counts and goes on. By name, so that a count is no part of the rule. */
export function count(counter: string): Term {
  return { text: `counter name "${counter}"`, expr: { counter } }
}

type Way = 'iifname' | 'oifname'

/** `name` may end in `*`. */
export function link(way: Way, name: string): Term {
  return { text: `${way} "${name}"`, expr: match('==', { meta: { key: way } }, name) }
}

export function notLink(way: Way, name: string): Term {
  return { text: `${way} != "${name}"`, expr: match('!=', { meta: { key: way } }, name) }
}

/** Only forwarded packets have an input interface when they leave. */
export const forwarded: Term = { text: 'iif != 0', expr: match('!=', { meta: { key: 'iif' } }, 0) }

export function port(protocol: 'tcp' | 'udp', number: number): Term {
  return {
    text: `${protocol} dport ${number}`,
    expr: match('==', { payload: { protocol, field: 'dport' } }, number),
  }
}

/** The VNI of a VXLAN header: behind 8 bytes of UDP and 4 of flags (RFC 7348). */
export function vni(number: number): Term {
  return {
    text: `@th,96,24 ${number}`,
    expr: match('==', { payload: { base: 'th', offset: 96, len: 24 } }, number),
  }
}

type Side = 'saddr' | 'daddr'

function header(family: Family, side: Side): { readonly text: string; readonly expr: unknown } {
  const protocol = family === 4 ? 'ip' : 'ip6'
  return { text: `${protocol} ${side}`, expr: { payload: { protocol, field: side } } }
}

export function inSet(family: Family, side: Side, set: string): Term {
  const field = header(family, side)
  return { text: `${field.text} @${set}`, expr: match('==', field.expr, `@${set}`) }
}

/** The first `length` bits of the address are an element of the set. */
export function networkInSet(family: Family, side: Side, length: number, set: string): Term {
  if (length === (family === 4 ? 32 : 128)) return inSet(family, side, set)
  const field = header(family, side)
  const mask = formatAddress(maskBytes(new Uint8Array(family === 4 ? 4 : 16).fill(255), length))
  return {
    text: `${field.text} & ${mask} @${set}`,
    expr: match('==', { '&': [field.expr, mask] }, `@${set}`),
  }
}

/** The address is inside the prefix, or one of the addresses. */
export function oneOf(family: Family, side: Side, values: readonly string[]): Term {
  const field = header(family, side)
  return {
    text: `${field.text} { ${values.join(', ')} }`,
    expr: match('==', field.expr, { set: values }),
  }
}

export function inside(family: Family, side: Side, prefix: Prefix): Term {
  const field = header(family, side)
  const [addr, len] = prefix.split('/')
  return {
    text: `${field.text} ${prefix}`,
    expr: match('==', field.expr, { prefix: { addr, len: Number(len) } }),
  }
}

export const icmp: Term = {
  text: 'meta l4proto { icmp, ipv6-icmp }',
  // By number (IPPROTO_ICMP, IPPROTO_ICMPV6): names are looked up in /etc/protocols, which a minimal Debian has not.
  expr: match('==', { meta: { key: 'l4proto' } }, { set: [1, 58] }),
}

/** ICMP types by number (RFC 792, RFC 4443). */
export function icmpType(protocol: 'icmp' | 'icmpv6', types: readonly number[]): Term {
  return {
    text: `${protocol} type { ${types.join(', ')} }`,
    expr: match('==', { payload: { protocol, field: 'type' } }, { set: types }),
  }
}

export const reply: Term = {
  text: 'ct state established,related',
  expr: match('in', { ct: { key: 'state' } }, ['established', 'related']),
}

export const translated: Term = {
  text: 'ct status dnat',
  expr: match('in', { ct: { key: 'status' } }, 'dnat'),
}

export function mark(value: number, mask: number): Term {
  const hex = (number: number): string => `0x${number.toString(16)}`
  return {
    text: `meta mark & ${hex(mask)} == ${hex(value)}`,
    expr: match('==', { '&': [{ meta: { key: 'mark' } }, mask] }, value),
  }
}

/** The segment that opens a connection carries the MSS, in either direction. */
export const syn: Term = {
  text: 'tcp flags & (syn | rst) == syn',
  expr: match('==', { '&': [{ payload: { protocol: 'tcp', field: 'flags' } }, ['syn', 'rst']] }, 'syn'),
}

/** Lowers the MSS to what the packet's route carries; the kernel never raises it (net/netfilter/nft_exthdr.c). */
export const clampToRoute: Term = {
  text: 'tcp option maxseg size set rt mtu',
  expr: {
    mangle: { key: { 'tcp option': { name: 'maxseg', field: 'size' } }, value: { rt: { key: 'mtu' } } },
  },
}

function match(op: '==' | '!=' | 'in', left: unknown, right: unknown): unknown {
  return { match: { op, left, right } }
}
