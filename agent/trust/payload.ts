/**
 * The payloads of the documents (model/fabric.ts), field by field. What one document can get wrong by itself is
 * judged here, with a place: forms, ranges, names, duplicates, a VNI used twice. What documents say against each other is
 * rule.ts.
 */
import { maxUnderlays, namePattern, planes } from '../model/fabric.ts'
import type {
  Attachment,
  Certificate,
  Endpoint,
  Fabric,
  GatewayRecord,
  Grant,
  MeshRule,
  Selector,
  Site,
} from '../model/fabric.ts'
import { devices } from '../model/device.ts'
import type { Authority, Claim, Request, Voucher } from '../model/document.ts'
import { parsePublicKey, publicKeyPattern } from '../model/key.ts'
import type { PublicKey } from '../model/key.ts'
import { addressBytes, familyOf, isMalformed, lengthOf, parseAddress, parsePrefix } from '../model/prefix.ts'
import type { Address, Family, Prefix } from '../model/prefix.ts'
import { prefixHint } from './cidr.ts'
import { array, dictionary, expected, fail, integer, object, oneOf, text, unique, where } from './decode.ts'
import type { Decoder } from './decode.ts'
import { addressSchema, patternSchema, prefixSchema, schemaOf, shaped } from './schema.ts'

const most = Number.MAX_SAFE_INTEGER
/** Unix ms, up to the last that a Date can name: messages say when something ended. */
const time = integer(0, 8_640_000_000_000_000)

export const nameRule = 'a name of 1 to 63 lower-case letters, digits, "-" and "."'

/** What a refused name was probably meant to be. */
export function nameHint(wrong: string): string | undefined {
  const repaired = wrong.trim().toLowerCase().replaceAll('_', '-')
  return namePattern.test(repaired) ? `did you mean "${repaired}"?` : undefined
}

export const name: Decoder<string> = text(namePattern, nameRule, nameHint)

const words = text(/^[\w ./:@+-]{0,63}$/, 'at most 63 letters, digits, spaces and ./:@+-_')
const labelPattern = /^[A-Za-z0-9][\w./-]{0,62}$/
const labels = dictionary(
  (key) => (labelPattern.test(key) ? undefined : 'expected a label of letters, digits and ./-_'),
  words,
  labelPattern,
)

/** What may be repeated in a message: a stranger's text can be long, and move the cursor of a terminal. */
const speakable = /^[\x20-\x7e]{0,64}$/

export const prefix: Decoder<Prefix> = shaped(
  () => prefixSchema,
  (value, at, key) => {
    if (typeof value !== 'string' || !speakable.test(value))
      return expected(at, key, 'a prefix such as "10.1.0.0/16"', value)
    const parsed = parsePrefix(value)
    return isMalformed(parsed) ? fail(at, key, parsed.malformed, prefixHint(value, parsed)) : parsed
  },
)

const address: Decoder<Address> = shaped(
  () => addressSchema,
  (value, at, key) => {
    if (typeof value !== 'string' || !speakable.test(value))
      return expected(at, key, 'an address such as "192.0.2.1"', value)
    const parsed = parseAddress(value)
    if (isMalformed(parsed)) return fail(at, key, parsed.malformed)
    return parsed === value
      ? parsed
      : fail(at, key, `"${value}" is not in canonical form`, `did you mean "${parsed}"?`)
  },
)

/** Raw 32 bytes as base64url: the last character carries 4 significant bits. */
export const identityPattern = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/
export const identity = text(identityPattern, 'an Ed25519 public key: 43 characters of base64url')

const tunnelKey: Decoder<PublicKey> = shaped(
  () => patternSchema(publicKeyPattern),
  (value, at, key) =>
    (typeof value === 'string' ? parsePublicKey(value) : undefined) ??
    expected(at, key, 'a WireGuard public key: 44 characters of base64', value),
)

const prefixes = unique(array(prefix), 'the prefix', (element: Prefix) => element)
const names = unique(array(name), 'the name', (element: string) => element)

const site: Decoder<Site> = object({ name, provider: words, region: words, labels })

const attachments: Decoder<readonly Attachment[]> = unique(
  array(object({ name }, { prefixes })),
  'the network',
  (attachment: Attachment) => attachment.name,
)

const selector: Decoder<Selector> = object({}, { site: name, provider: words, region: words, labels })
const meshRules: Decoder<readonly MeshRule[]> = array(object({ between: selector, and: selector }))
const mesh: Decoder<Fabric['mesh']> = shaped(
  () => ({ anyOf: [{ const: 'all' }, schemaOf(meshRules)] }),
  (value, at, key) => (Array.isArray(value) ? meshRules(value, at, key) : oneOf('all')(value, at, key)),
)

/** Overlay addresses are the range plus a 16-bit number. */
function overlayRange(family: Family, longest: number): Decoder<Prefix> {
  return where(
    prefix,
    (range) =>
      familyOf(range) === family && lengthOf(range) <= longest && lengthOf(range) >= 8
        ? undefined
        : { reason: `expected an IPv${family} range of length 8 to ${longest}, found "${range}"` },
    { $comment: `IPv${family}, of length 8 to ${longest}` },
  )
}

const timings = {
  intervalMs: integer(10, 60_000),
  retryMs: integer(10, 60_000),
  downAfter: integer(2, 100),
}
const demands = {
  mtuMs: where(integer(0, 3_600_000), (ms) =>
    ms > 0 && ms < 100 ? { reason: `expected 0 or at least 100, found ${ms}` } : undefined,
  ),
  returnAfter: integer(1, 1000),
  holdMs: integer(1, 3_600_000),
  lossPercent: integer(1, 100),
  latencyMs: integer(1, 60_000),
}

export const fabric: Decoder<Fabric> = where(
  object({
    fabric: name,
    serial: integer(0, most),
    freshUntil: time,
    overlay: where(
      object({}, { ipv4: overlayRange(4, 16), ipv6: overlayRange(6, 112) }),
      ({ ipv4, ipv6 }) =>
        (ipv4 ?? ipv6) === undefined ? { reason: 'expected a range: ipv4, ipv6 or both' } : undefined,
      { minProperties: 1 },
    ),
    underlays: where(
      unique(
        array(object({ name }, { mtu: integer(1280, 65_535) })),
        'the underlay',
        (underlay) => underlay.name,
      ),
      ({ length }) =>
        length < 1 || length > maxUnderlays
          ? { reason: `expected 1 to ${maxUnderlays} underlays` }
          : undefined,
      { minItems: 1, maxItems: maxUnderlays },
    ),
    prefer: names,
    mesh,
    networks: unique(
      unique(
        array(object({ name, vni: integer(1, 0xff_ffff), kind: oneOf('l2', 'l3') })),
        'the VNI',
        (network) => network.vni,
      ),
      'the network',
      (network) => network.name,
    ),
    policy: object({
      // What would not be enforced is not accepted.
      default: oneOf('allow'),
      rules: where(
        array<unknown>(
          shaped(
            () => ({}),
            (rule: unknown) => rule ?? null,
          ),
        ),
        ({ length }) =>
          length === 0
            ? undefined
            : { reason: 'policy rules are not supported yet', hint: 'write rules: []' },
        { maxItems: 0 },
      ),
    }),
    probe: object(
      {
        port: integer(1, 65_535),
        ...timings,
        underlays: dictionary(() => undefined, object({}, { ...timings, ...demands })),
      },
      demands,
    ),
    rotation: object({ days: integer(0, 3650) }),
    removed: names,
    revoked: object({ serials: array(integer(0, most)), identities: array(identity) }),
  }),
  (document) => {
    const known = document.underlays.map((underlay) => underlay.name)
    const stray = document.prefer.findIndex((underlay) => !known.includes(underlay))
    if (stray >= 0) {
      const reason = `"${document.prefer[stray] ?? ''}" is none of the underlays: ${known.join(', ')}`
      return { path: ['prefer', stray], reason }
    }
    const setting = Object.keys(document.probe.underlays).find((underlay) => !known.includes(underlay))
    if (setting === undefined) return undefined
    return {
      path: ['probe', 'underlays', setting],
      reason: `no such underlay; known are: ${known.join(', ')}`,
    }
  },
  { $comment: 'prefer and probe.underlays name underlays of this document' },
)

const grant: Decoder<Grant> = where(
  object({ prefix }, { maxLength: integer(0, 128) }),
  (granted) => {
    const longest = familyOf(granted.prefix) === 4 ? 32 : 128
    const { maxLength } = granted
    if (maxLength === undefined || (maxLength >= lengthOf(granted.prefix) && maxLength <= longest))
      return undefined
    const range = `${lengthOf(granted.prefix)} to ${longest}`
    return { path: ['maxLength'], reason: `expected ${range} for ${granted.prefix}, found ${maxLength}` }
  },
  { $comment: 'maxLength is no less than the length of the prefix, and at most 32 for IPv4' },
)

/** What a certificate and a voucher grant. */
const granting = {
  fabric: name,
  serial: integer(0, most),
  gateway: name,
  number: integer(1, 65_534),
  site,
  plane: integer(0, planes - 1),
  notBefore: time,
  notAfter: time,
  prefixes: unique(array(grant), 'the prefix', (granted: Grant) => granted.prefix),
  networks: attachments,
  grants: array(oneOf('defaultRoute', 'shared')),
}

export const certificate: Decoder<Certificate> = object({ ...granting, identity })

/** Its key lies about in what a cloud hands to a machine at boot, for anybody there to read. */
export const maxVoucherMs = 24 * 3_600_000

export const voucher: Decoder<Voucher> = where(
  object({ ...granting, key: identity, until: time }),
  ({ notBefore, until }) =>
    until >= notBefore && until - notBefore <= maxVoucherMs
      ? undefined
      : { path: ['until'], reason: 'expected at most 24 hours after notBefore, and not before it' },
  { $comment: 'until is at most 24 hours after notBefore, and not before it' },
)

/** The base port: the highest device listens on port + 63. */
export const basePort = integer(1, 65_536 - devices)

const endpoint: Decoder<Endpoint> = object(
  { underlay: name, port: basePort },
  { address, mtu: integer(1280, 65_535) },
)

const devicePattern = /^([0-9]|[1-5][0-9]|6[0-3])$/
const tunnelKeys = where(
  dictionary(
    (index) => (devicePattern.test(index) ? undefined : 'expected a device index, "0" to "63"'),
    tunnelKey,
    devicePattern,
  ),
  (keys) => {
    // One key on two devices lets a replayed handshake of one move the other's endpoint (DESIGN "Planes").
    const seen = new Map<string, string>()
    for (const [index, key] of Object.entries(keys)) {
      const first = seen.get(key)
      if (first !== undefined) return { path: [index], reason: `devices ${first} and ${index} have one key` }
      seen.set(key, index)
    }
    return undefined
  },
  { $comment: 'no two devices have one key' },
)

export const record: Decoder<GatewayRecord> = object({
  fabric: name,
  serial: integer(0, most),
  gateway: name,
  generation: integer(0, most),
  tunnelKeys,
  endpoints: unique(array(endpoint), 'underlay and family', ({ underlay, address: at }: Endpoint) =>
    at === undefined ? underlay : `${underlay} IPv${familyOf(at)}`,
  ),
  prefixes,
  networks: attachments,
  weight: integer(1, 256),
  state: oneOf('active', 'draining', 'withdrawn'),
})

export const request: Decoder<Request> = object({
  fabric: name,
  gateway: name,
  identity,
  site,
  prefixes,
  networks: attachments,
})

const proof = text(/^[\w.-]{1,1024}$/, 'a signed text')

export const authority: Decoder<Authority> = object(
  {
    fabric: name,
    serial: integer(0, most),
    retired: unique(array(identity), 'the key', (element: string) => element),
  },
  { next: identity, proof },
)

export const claim: Decoder<Claim> = object({
  fabric: name,
  serial: integer(0, most),
  gateway: name,
  voucher: integer(0, most),
  identity,
  proof,
})

/** True for an address no other host can send to: unspecified, loopback, link-local, multicast, IPv4 written as IPv6. */
export function isUnreachable(at: Address): boolean {
  const bytes = addressBytes(at)
  const [first = 0, second = 0] = bytes
  if (bytes.length === 4)
    return first === 0 || first === 127 || first >= 224 || (first === 169 && second === 254)
  const low = bytes.subarray(0, 10).every((byte) => byte === 0)
  return low || first === 0xff || (first === 0xfe && (second & 0xc0) === 0x80)
}
