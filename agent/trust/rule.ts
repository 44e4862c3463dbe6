/**
 * The rules: what a document must satisfy to count, beyond its form. Each is judged from the documents alone, never from
 * the order in which they came, so that every gateway of a fabric reaches the same snapshot.
 *
 * A gateway passes them in this order: its certificate by itself, against other certificates, its record by itself,
 * against other records, and last its prefixes. What an earlier rule refused does not count in a later one.
 */
import type { Document, Request, Signed } from '../model/document.ts'
import { networkByName } from '../model/gateway.ts'
import type {
  Attachment,
  Certificate,
  Endpoint,
  Fabric,
  GatewayRecord,
  Grant,
  Name,
} from '../model/fabric.ts'
import { contains, familyOf, holds, isDefaultRoute, lengthOf, widen } from '../model/prefix.ts'
import type { Family, Prefix } from '../model/prefix.ts'
import type { Validity } from './moment.ts'
import { isUnreachable } from './payload.ts'
import type { Refusal } from './refusal.ts'
import type { RuleId } from './rulebook.ts'
import { gatewayOf, nameOf } from './subject.ts'
import { reservedRange, sharesSpace, sortedPrefixes } from './space.ts'

/** At most this many refusals of one rule for one document are listed, and how many more there are. */
const maxListed = 8

/** Collects the refusals of one document. */
export class Objections {
  readonly list: Refusal[] = []
  readonly #counts = new Map<RuleId, number>()
  readonly #origin: string
  readonly #gateway: Name

  constructor(origin: string, gateway: Name) {
    this.#origin = origin
    this.#gateway = gateway
  }

  add(rule: RuleId, object: string, reason: string, next: string): void {
    const count = (this.#counts.get(rule) ?? 0) + 1
    this.#counts.set(rule, count)
    const common = {
      origin: this.#origin,
      gateway: this.#gateway,
      rule,
      code: 'document-invalid' as const,
      next,
    }
    if (count <= maxListed) this.list.push({ ...common, object, reason })
    else {
      const of = `gateway ${this.#gateway}`
      const more = {
        ...common,
        object: of,
        reason: `${count - maxListed} more refused by the rule "${rule}"`,
      }
      const last = this.list.findIndex((refusal) => refusal.rule === rule && refusal.object === of)
      if (last < 0) this.list.push(more)
      else this.list[last] = more
    }
  }
}

/** A document of another fabric than the one this gateway is configured for. */
export function foreign(origin: string, document: Document, fabric: Name): Refusal {
  const of = document.payload.fabric
  return about(document, {
    origin,
    rule: 'fabric',
    reason: `belongs to the fabric ${of}, this is ${fabric}`,
    next: 'move it to its own registry; is registry: in config.yml the right one?',
  })
}

/** A document that only the authority may sign. */
export function refuseStranger(
  origin: string,
  { document, kid }: Signed,
  root: string,
  retired: boolean,
): Refusal {
  const reason = retired
    ? `is signed by the key ${kid}, which the authority retired`
    : `is signed by the key ${kid}, which is not the authority's (${root})`
  const next = retired
    ? 'have it issued anew: linkspan ca renew'
    : 'is authority: in config.yml right? else find out who wrote it'
  return about(document, { origin, rule: 'authority', reason, next })
}

/** A record that its gateway's identity did not sign. */
export function refuseSigner(origin: string, gateway: Name, certified: boolean): Refusal {
  return {
    origin,
    gateway,
    rule: certified ? 'signer' : 'certificate',
    code: 'document-invalid',
    object: `record ${gateway}`,
    reason: certified
      ? "is not signed by the identity in the gateway's certificate"
      : 'the gateway has no certificate',
    next: certified
      ? `after a reinstall: linkspan ca issue --replace ${gateway}; else find out who wrote it`
      : `certify it: linkspan ca issue ${gateway}`,
  }
}

/** A request that somebody else signed. */
export function refuseForgedRequest(origin: string, { gateway }: Request): Refusal {
  return {
    origin,
    gateway,
    rule: 'signer',
    code: 'document-invalid',
    object: `request ${gateway}`,
    reason: 'is not signed by the identity that it is for',
    next: 'find out who wrote it',
  }
}

/** A gateway never seen, while nobody knows whether the fabric document still says what holds. */
export function refuseStale(origin: string, { document }: Signed): Refusal {
  return about(document, {
    origin,
    rule: 'stale',
    reason: 'the fabric document is stale, and the gateway was never seen before',
    next: 'renew the fabric document: linkspan ca fabric',
  })
}

function about(document: Document, refusal: Omit<Refusal, 'code' | 'object'>): Refusal {
  const gateway = gatewayOf(document)
  return {
    ...refusal,
    code: 'document-invalid',
    object: nameOf(document),
    ...(gateway === undefined ? {} : { gateway }),
  }
}

/** May `next` take the place of `incumbent`? Running gateways have addresses and devices that follow from both. */
export function succession(origin: string, incumbent: Fabric, next: Fabric): Refusal | undefined {
  const refuse = (rule: RuleId, object: string, reason: string, hint: string): Refusal => ({
    origin,
    rule,
    code: 'document-invalid',
    object,
    reason,
    next: hint,
  })
  const object = `fabric ${next.fabric}`
  const ranges = ({ overlay }: Fabric): string => [overlay.ipv4 ?? 'none', overlay.ipv6 ?? 'none'].join(', ')
  if (ranges(next) !== ranges(incumbent)) {
    const reason = `the overlay ranges cannot change: they are ${ranges(incumbent)}, the new document has ${ranges(next)}`
    return refuse('succession', object, reason, 'the document before stays in force; put its ranges back')
  }
  const moved = incumbent.underlays.findIndex((underlay, u) => next.underlays[u]?.name !== underlay.name)
  if (moved < 0) return undefined
  const name = incumbent.underlays[moved]?.name ?? ''
  const reason = `underlay ${name} must stay at position ${moved + 1}: device numbers follow from it`
  return refuse(
    'succession',
    object,
    reason,
    'the document before stays in force; append new underlays at the end',
  )
}

/** A certificate by itself. */
export interface CertificateVerdict {
  readonly accepted: boolean
  /** It ended, and is our own: it stands so that all that it led to can be closed. */
  readonly barred: boolean
  /** Grants that stand, in order of prefix. */
  readonly grants: readonly Grant[]
  readonly certified: readonly Prefix[]
  readonly refusals: readonly Refusal[]
}

export function judgeCertificate(
  origin: string,
  fabric: Fabric,
  certificate: Certificate,
  { validity, isSelf }: { readonly validity: Validity; readonly isSelf: boolean },
): CertificateVerdict {
  const { gateway, serial, notBefore, notAfter } = certificate
  const objections = new Objections(origin, gateway)
  const object = `certificate ${gateway}`
  const ended = ((): boolean => {
    if (fabric.removed.includes(gateway)) {
      const reason = 'the fabric document lists the gateway under removed'
      objections.add('removed', object, reason, 'delete its documents')
      return true
    }
    const { serials, identities } = fabric.revoked
    if (serials.includes(serial) || identities.includes(certificate.identity)) {
      const next = `have it replaced: linkspan ca issue --replace ${gateway}`
      objections.add('revoked', object, 'the fabric document revokes it', next)
      return true
    }
    if (validity !== 'expired') return false
    const reason = `expired at ${new Date(notAfter).toISOString()}`
    objections.add('expired', object, reason, `renew it: linkspan ca renew ${gateway}`)
    return true
  })()
  if (validity === 'early') {
    const reason = `begins at ${new Date(notBefore).toISOString()}`
    objections.add('early', object, reason, 'is the clock of this host right? else wait')
  }
  const barred = ended && isSelf
  if ((ended && !barred) || validity === 'early') {
    return { accepted: false, barred, grants: [], certified: [], refusals: objections.list }
  }
  const withDefault = certificate.grants.includes('defaultRoute')
  const standing = new Map<Prefix, Grant>()
  for (const grant of certificate.prefixes) {
    const wrong = wrongSpace(fabric, grant.prefix, withDefault)
    if (wrong === undefined) standing.set(grant.prefix, grant)
    else
      objections.add(
        wrong.rule,
        `${object} prefix ${grant.prefix}`,
        wrong.reason,
        'take it out of the certificate',
      )
  }
  for (const { name } of certificate.networks) {
    if (networkByName(fabric, name) !== undefined) continue
    const reason = 'the fabric document has no such network'
    objections.add(
      'network',
      `${object} network ${name}`,
      reason,
      'add it there or take it out of the certificate',
    )
  }
  const certified = sortedPrefixes([...standing.keys()])
  const grants = certified.flatMap((prefix) => standing.get(prefix) ?? [])
  return { accepted: true, barred, grants, certified, refusals: objections.list }
}

/** A record by itself, prefixes apart. */
export interface RecordVerdict {
  readonly endpoints: readonly Endpoint[]
  readonly networks: readonly Attachment[]
  readonly refusals: readonly Refusal[]
}

export function judgeRecord(
  origin: string,
  fabric: Fabric,
  certificate: Certificate,
  record: GatewayRecord,
): RecordVerdict {
  const objections = new Objections(origin, record.gateway)
  const object = `record ${record.gateway}`
  const endpoints = record.endpoints.filter((endpoint) => {
    const of = `${object} endpoint ${endpoint.address ?? 'without address'} on ${endpoint.underlay}`
    const known = fabric.underlays.map((underlay) => underlay.name)
    if (!known.includes(endpoint.underlay)) {
      objections.add(
        'endpoint',
        of,
        'the fabric document has no such underlay',
        `known are: ${known.join(', ')}`,
      )
      return false
    }
    if (endpoint.address === undefined) return true
    const { ipv4, ipv6 } = fabric.overlay
    const at = endpoint.address
    const inside = [ipv4, ipv6].find((range) => range !== undefined && holds(range, at))
    if (inside === undefined && !isUnreachable(at)) return true
    const reason =
      inside === undefined ? 'no other host can reach this address' : `is inside the overlay ${inside}`
    objections.add('endpoint', of, reason, 'give the address by which peers reach the gateway')
    return false
  })
  const networks = record.networks.flatMap((attachment) => {
    const of = `${object} network ${attachment.name}`
    const network = networkByName(fabric, attachment.name)
    const granted = certificate.networks.find((candidate) => candidate.name === attachment.name)
    if (network === undefined || granted === undefined) {
      const reason = network === undefined ? 'the fabric document has no such network' : 'is not certified'
      objections.add('network', of, reason, 'have it certified, or leave the network')
      return []
    }
    if (network.kind === 'l2') return [{ name: attachment.name }]
    const prefixes = (attachment.prefixes ?? []).filter((prefix) => {
      if (granted.prefixes?.some((outer) => contains(outer, prefix)) === true) return true
      objections.add('network', `${of} prefix ${prefix}`, 'is not certified', 'have it certified')
      return false
    })
    return [{ name: attachment.name, prefixes: sortedPrefixes(prefixes) }]
  })
  return { endpoints, networks, refusals: objections.list }
}

/** The prefixes of a record that its certificate covers; other gateways' claims come later. */
export interface PrefixVerdict {
  /** In order. */
  readonly prefixes: readonly Prefix[]
  readonly refusals: readonly Refusal[]
}

/** Another site's certificate for exactly this prefix: the site's name, or undefined. */
export type GrantedElsewhere = (prefix: Prefix) => Name | undefined

export function judgePrefixes(
  origin: string,
  fabric: Fabric,
  certificate: Certificate,
  grants: readonly Grant[],
  record: GatewayRecord,
  elsewhere: { readonly granted: GrantedElsewhere; readonly lengths: (family: Family) => Iterable<number> },
): PrefixVerdict {
  const objections = new Objections(origin, record.gateway)
  const byPrefix = new Map(grants.map((grant) => [grant.prefix, grant]))
  const withDefault = certificate.grants.includes('defaultRoute')
  const widths = new Set(
    grants.flatMap((grant) => (grant.maxLength === undefined ? [] : [lengthOf(grant.prefix)])),
  )
  const prefixes = record.prefixes.filter((prefix) => {
    if (byPrefix.has(prefix)) return true
    const object = `record ${record.gateway} prefix ${prefix}`
    const wrong = wrongSpace(fabric, prefix, withDefault)
    if (wrong !== undefined) {
      objections.add(wrong.rule, object, wrong.reason, 'stop advertising it')
      return false
    }
    const cover = coveringGrant(byPrefix, widths, prefix)
    if (cover === undefined) {
      const outer = grants.find((grant) => contains(grant.prefix, prefix))
      const reason =
        outer === undefined
          ? 'is not in the certificate'
          : `is longer than the certificate allows: ${outer.prefix} up to length ${outer.maxLength ?? lengthOf(outer.prefix)}`
      objections.add('certified', object, reason, `certify it: linkspan ca issue --replace ${record.gateway}`)
      return false
    }
    for (const length of elsewhere.lengths(familyOf(prefix))) {
      if (length < lengthOf(cover.prefix) || length > lengthOf(prefix)) continue
      const outer = widen(prefix, length)
      const site = elsewhere.granted(outer)
      if (site === undefined) continue
      objections.add(
        'other-site',
        object,
        `is inside ${outer}, which is certified to site ${site}`,
        'stop advertising it',
      )
      return false
    }
    return true
  })
  return { prefixes: sortedPrefixes(prefixes), refusals: objections.list }
}

/** The longest grant whose maxLength lets the prefix in. */
function coveringGrant(
  grants: ReadonlyMap<Prefix, Grant>,
  widths: ReadonlySet<number>,
  prefix: Prefix,
): Grant | undefined {
  let longest: Grant | undefined
  for (const width of widths) {
    if (width > lengthOf(prefix)) continue
    const grant = grants.get(widen(prefix, width))
    if (grant === undefined || (grant.maxLength ?? 0) < lengthOf(prefix)) continue
    if (longest === undefined || width > lengthOf(longest.prefix)) longest = grant
  }
  return longest
}

function wrongSpace(
  fabric: Fabric,
  prefix: Prefix,
  withDefault: boolean,
): { rule: RuleId; reason: string } | undefined {
  if (isDefaultRoute(prefix)) {
    if (withDefault) return undefined
    return { rule: 'default-route', reason: 'a default route, or half of one, needs the grant defaultRoute' }
  }
  const range = reservedRange(prefix)
  if (range !== undefined) return { rule: 'reserved', reason: `shares addresses with ${range}` }
  for (const overlay of [fabric.overlay.ipv4, fabric.overlay.ipv6]) {
    if (overlay !== undefined && sharesSpace(overlay, prefix)) {
      return { rule: 'overlay', reason: `shares addresses with the overlay range ${overlay}` }
    }
  }
  return undefined
}
