/**
 * Diagnosis of refused prefixes: what was probably meant. model/prefix.ts is strict and fast and reads every prefix;
 * here, where one was refused, ip-cidr tells whether a small repair makes it a prefix, and which network it is in.
 */
import IPCIDR from 'ip-cidr'
import { isMalformed, parsePrefix } from '../model/prefix.ts'
import type { Malformed } from '../model/prefix.ts'

/** A sentence that names the prefix probably meant, or undefined. */
export function prefixHint(text: string, malformed: Malformed): string | undefined {
  if (malformed.hint !== undefined) return `did you mean "${malformed.hint}"?`
  for (const candidate of repairs(text)) {
    if (!IPCIDR.isValidCIDR(candidate)) continue
    const length = candidate.slice(candidate.lastIndexOf('/') + 1)
    const network = parsePrefix(`${String(new IPCIDR(candidate).start())}/${length}`)
    const meant = isMalformed(network) ? network.hint : network
    if (meant !== undefined) return `did you mean "${meant}"?`
  }
  return undefined
}

function repairs(text: string): string[] {
  if (text.length > 64) return []
  const trimmed = text.trim().replace(/%[^/]*/, '')
  const slash = trimmed.indexOf('/')
  const address = slash < 0 ? trimmed : trimmed.slice(0, slash)
  const length = slash < 0 ? (address.includes(':') ? '128' : '32') : trimmed.slice(slash + 1)
  const decimal = address.includes(':') ? address : padded(address.replace(/\b0+(?=[0-9])/g, ''))
  const plain = /^[0-9]+$/.test(length) ? String(Number(length)) : maskLength(length)
  return plain === undefined ? [] : [`${decimal}/${plain}`]
}

/** "10.1" as in "10.1/16": missing octets are 0. */
function padded(address: string): string {
  const octets = address.split('.').filter((octet) => octet !== '')
  return [...octets, '0', '0', '0'].slice(0, Math.max(4, octets.length)).join('.')
}

/** Prefix length of a dotted netmask. */
function maskLength(mask: string): string | undefined {
  if (!IPCIDR.isValidAddress(mask) || mask.includes(':')) return undefined
  const bits = mask
    .split('.')
    .map((octet) => Number(octet).toString(2).padStart(8, '0'))
    .join('')
  return /^1*0*$/.test(bits) ? String(bits.indexOf('0') < 0 ? 32 : bits.indexOf('0')) : undefined
}
