/**
 * From a gateway's request to its certificate: numbers and planes are allocated here, and what would conflict with another
 * certificate is refused before it is written, where the operator sees it, rather than at every gateway.
 */
import { LinkspanError } from '../errors.ts'
import type { Request } from '../model/document.ts'
import { namePattern, planes } from '../model/fabric.ts'
import type { Attachment, Certificate, Fabric, Grant, Name } from '../model/fabric.ts'
import { familyOf, isMalformed, lengthOf, parsePrefix } from '../model/prefix.ts'
import { prefixHint } from '../trust/cidr.ts'
import { didYouMean } from '../trust/spelling.ts'
import { integerOf } from './ca-option.ts'
import type { GrantOptions } from './ca-option.ts'
import { describeOverlap, overlapsOf, unshared } from './overlap.ts'

/** Days that a certificate is valid where nobody says otherwise. */
export const validDays = 398
const highestNumber = 65_534
const dayMs = 24 * 3600 * 1000

export type Special = Certificate['grants'][number]
export const specials: readonly Special[] = ['defaultRoute', 'shared']

/** What is there before. */
export interface Issuance {
  readonly fabric: Fabric
  /** The newest of every gateway, whether or not it counts now. */
  readonly certificates: readonly Certificate[]
  /** Every number ever given out, by gateway. */
  readonly numbers: ReadonlyMap<Name, number>
  /** Lower numbers may have been given out, too; nobody remembers. */
  readonly above?: number
}

export interface CertifyOptions {
  readonly plane?: number
  readonly number?: number
  /** In place of the request's prefixes. */
  readonly prefixes?: readonly Grant[]
  /** In place of the request's networks; one without prefixes takes those of the request. */
  readonly networks?: readonly Attachment[]
  /** In place of those of the certificate before. */
  readonly grants?: readonly Special[]
  /** How long it is valid; default 398. */
  readonly days?: number
  /** The gateway has a certificate and gets another; number and plane stay unless given. */
  readonly replace: boolean
}

/** What is wanted of a certificate, as far as it is said. Throws `usage`. */
export function grantsWanted(options: GrantOptions): Partial<CertifyOptions> & { readonly days: number } {
  const { plane, number, prefix, network, grant, days } = options
  return {
    days: integerOf('--days', days, 1, 3650),
    ...(plane === undefined ? {} : { plane: integerOf('--plane', plane, 0, 3) }),
    ...(number === undefined ? {} : { number: integerOf('--number', number, 1, 65_534) }),
    ...(prefix === undefined ? {} : { prefixes: prefix.map(parseGrant) }),
    ...(network === undefined ? {} : { networks: network.map(parseNetwork) }),
    ...(grant === undefined ? {} : { grants: parseSpecial(grant) }),
  }
}

export interface Certified {
  readonly certificate: Certificate
  /** What is allowed and may be meant otherwise. */
  readonly warnings: readonly string[]
}

/** True while gateways let a certificate count: it holds its plane and prefixes. Its number it holds for ever. */
export function stands(
  fabric: Fabric,
  { gateway, serial, identity, notAfter }: Certificate,
  nowMs: number,
): boolean {
  const { removed, revoked } = fabric
  return (
    notAfter > nowMs &&
    !removed.includes(gateway) &&
    !revoked.serials.includes(serial) &&
    !revoked.identities.includes(identity)
  )
}

/** Throws `usage` with what stands against it. */
export function certify(
  { fabric, certificates, numbers, above = 0 }: Issuance,
  request: Request,
  options: CertifyOptions,
  { serial, nowMs }: { readonly serial: number; readonly nowMs: number },
): Certified {
  const { gateway, identity, site } = request
  const refuse = (reason: string, next?: string): LinkspanError =>
    new LinkspanError({
      code: 'usage',
      object: `gateway ${gateway}`,
      reason,
      ...(next === undefined ? {} : { next }),
    })

  if (request.fabric !== fabric.fabric) {
    throw refuse(
      `asks for the fabric ${request.fabric}, this is ${fabric.fabric}`,
      'correct fabric: in its config.yml',
    )
  }
  if (fabric.removed.includes(gateway)) {
    const next = `linkspan ca remove ${gateway} --undo, or use another name`
    throw refuse('the fabric document lists it under removed', next)
  }
  if (fabric.revoked.identities.includes(identity)) {
    throw refuse(
      'its identity key is revoked',
      'remove the keys of the gateway and start it: it makes new ones',
    )
  }
  const before = certificates.find((certificate) => certificate.gateway === gateway)
  if (before !== undefined && !options.replace) {
    const held = `has a certificate already (number ${before.number}, plane ${before.plane})`
    throw before.identity === identity
      ? refuse(held, `give --replace for another one; linkspan ca renew ${gateway} for a longer one`)
      : refuse(`${held} with another identity key`, 'after a reinstall give --replace')
  }
  const others = certificates.filter((certificate) => certificate.gateway !== gateway)
  const standing = others.filter((certificate) => stands(fabric, certificate, nowMs))
  const twin = standing.find((certificate) => certificate.identity === identity)
  if (twin !== undefined) {
    throw refuse(
      `its identity key is certified for ${twin.gateway}`,
      'a copied state directory? remove its keys and start it',
    )
  }

  const taken = new Map([...numbers].map(([name, number]) => [number, name]))
  for (const certificate of others) taken.set(certificate.number, certificate.gateway)
  const number =
    options.number ??
    before?.number ??
    numbers.get(gateway) ??
    lowestFree(above + 1, highestNumber, taken) ??
    lowestFree(1, highestNumber, taken)
  if (number === undefined) throw refuse('all numbers are taken')
  const holder = taken.get(number)
  if (holder !== undefined && holder !== gateway) {
    throw refuse(`number ${number} belongs to ${holder}`, 'numbers are never reused: leave --number out')
  }

  const neighbours = standing.filter((certificate) => certificate.site.name === site.name)
  const used = new Map(neighbours.map((certificate) => [certificate.plane, certificate.gateway]))
  const kept = before?.site.name === site.name && !used.has(before.plane) ? before.plane : undefined
  const plane = options.plane ?? kept ?? lowestFree(0, planes - 1, used)
  if (plane === undefined)
    throw refuse(`site ${site.name} has ${planes} gateways already: ${[...used.values()].join(', ')}`)
  const onPlane = used.get(plane)
  if (onPlane !== undefined) {
    throw refuse(`plane ${plane} of site ${site.name} belongs to ${onPlane}`, 'leave --plane out')
  }

  const prefixes = options.prefixes ?? request.prefixes.map((prefix): Grant => ({ prefix }))
  const networks = options.networks?.map((wanted) => withRequested(wanted, request)) ?? request.networks
  for (const { name } of networks) {
    const known = fabric.networks.map((network) => network.name)
    if (!known.includes(name))
      throw refuse(`the fabric document has no network "${name}"`, didYouMean(name, known))
  }
  const certificate: Certificate = {
    fabric: fabric.fabric,
    serial,
    gateway,
    number,
    site,
    plane,
    identity,
    notBefore: nowMs,
    notAfter: nowMs + (options.days ?? validDays) * dayMs,
    prefixes,
    networks,
    grants: options.grants ?? before?.grants ?? [],
  }
  const found = overlapsOf(certificate, standing)
  const elsewhere = found.find(({ kind }) => kind === 'taken')
  if (elsewhere !== undefined) throw refuse(describeOverlap(elsewhere), unshared(certificate, elsewhere))
  return { certificate, warnings: found.map(describeOverlap) }
}

function withRequested(wanted: Attachment, { networks }: Request): Attachment {
  if (wanted.prefixes !== undefined) return wanted
  return networks.find(({ name }) => name === wanted.name) ?? wanted
}

/** `NAME`, or `NAME=PREFIX,PREFIX` for a network with prefixes. Throws `usage`. */
export function parseNetwork(text: string): Attachment {
  const [name = '', list, ...rest] = text.split('=')
  const refuse = (reason: string, next?: string): LinkspanError =>
    new LinkspanError({ code: 'usage', object: '--network', reason, ...(next === undefined ? {} : { next }) })
  if (!namePattern.test(name) || rest.length > 0)
    throw refuse(`"${text}": expected NAME or NAME=PREFIX,PREFIX`)
  if (list === undefined) return { name }
  const prefixes = list.split(',').map((written) => {
    const prefix = parsePrefix(written)
    if (isMalformed(prefix)) throw refuse(prefix.malformed, prefixHint(written, prefix))
    return prefix
  })
  return { name, prefixes }
}

/** `--grant`, each time it is given; `none` takes all back. Throws `usage`. */
export function parseSpecial(given: readonly string[]): readonly Special[] {
  if (given.length === 1 && given[0] === 'none') return []
  const grants = given.map((text) => {
    const grant = specials.find((known) => known === text)
    if (grant !== undefined) return grant
    const reason = `"${text}" is no grant`
    throw new LinkspanError({
      code: 'usage',
      object: '--grant',
      reason,
      next: didYouMean(text, [...specials, 'none']),
    })
  })
  return [...new Set(grants)]
}

/** `10.1.0.0/16` or `10.1.0.0/16:24`: a prefix, and how long the prefixes inside it may be. Throws `usage`. */
export function parseGrant(text: string): Grant {
  const refuse = (reason: string, next?: string): LinkspanError =>
    new LinkspanError({ code: 'usage', object: '--prefix', reason, ...(next === undefined ? {} : { next }) })
  const colon = text.indexOf(':', text.lastIndexOf('/') + 1)
  const hasLength = text.includes('/') && colon >= 0
  const written = hasLength ? text.slice(0, colon) : text
  const prefix = parsePrefix(written)
  if (isMalformed(prefix)) throw refuse(prefix.malformed, prefixHint(written, prefix))
  if (!hasLength) return { prefix }
  const longest = familyOf(prefix) === 4 ? 32 : 128
  const length = text.slice(colon + 1)
  const maxLength = /^(0|[1-9][0-9]{0,2})$/.test(length) ? Number(length) : NaN
  if (!(maxLength >= lengthOf(prefix) && maxLength <= longest)) {
    throw refuse(`"${text}": the longest allowed length must be ${lengthOf(prefix)} to ${longest}`)
  }
  return { prefix, maxLength }
}

function lowestFree(from: number, to: number, taken: ReadonlyMap<number, unknown>): number | undefined {
  for (let number = from; number <= to; number++) if (!taken.has(number)) return number
  return undefined
}
