/**
 * From a gateway's request to its certificate: numbers and planes are allocated here, and what would conflict with another
 * certificate is refused before it is written, where the operator sees it, rather than at every gateway.
 */
import { LinkspanError } from '../errors.ts'
import type { Request } from '../model/document.ts'
import { planes } from '../model/fabric.ts'
import type { Certificate, Fabric, Grant, Name } from '../model/fabric.ts'
import { familyOf, isMalformed, lengthOf, overlaps, parsePrefix } from '../model/prefix.ts'
import { prefixHint } from '../trust/cidr.ts'
import { didYouMean } from '../trust/spelling.ts'

const validMs = 398 * 24 * 3600 * 1000
const highestNumber = 65_534

export interface CertifyOptions {
  readonly plane?: number
  readonly number?: number
  /** In place of the request's prefixes. */
  readonly prefixes?: readonly Grant[]
  /** In place of the request's networks. */
  readonly networks?: readonly Name[]
  /** The gateway has a certificate and gets another; number and plane stay unless given. */
  readonly replace: boolean
}

export interface Certified {
  readonly certificate: Certificate
  /** Overlaps that are allowed and may be meant otherwise. */
  readonly warnings: readonly string[]
}

/** `numbers`: every number ever given out, by gateway. Throws `usage` with what stands against it. */
export function certify(
  fabric: Fabric,
  request: Request,
  certificates: readonly Certificate[],
  numbers: ReadonlyMap<Name, number>,
  options: CertifyOptions,
  nowMs: number,
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
    throw refuse('the fabric document lists it under removed', 'take it from the list, or use another name')
  }
  const before = certificates.find((certificate) => certificate.gateway === gateway)
  if (before !== undefined && !options.replace) {
    throw refuse(
      `has a certificate already (number ${before.number}, plane ${before.plane})`,
      'give --replace',
    )
  }
  const others = certificates.filter((certificate) => certificate.gateway !== gateway)
  const twin = others.find((certificate) => certificate.identity === identity)
  if (twin !== undefined) {
    throw refuse(
      `its identity key is certified for ${twin.gateway}`,
      'a copied state directory? remove its keys and start it',
    )
  }

  const taken = new Map([...numbers].map(([name, number]) => [number, name]))
  for (const certificate of others) taken.set(certificate.number, certificate.gateway)
  const number =
    options.number ?? before?.number ?? numbers.get(gateway) ?? lowestFree(1, highestNumber, taken)
  if (number === undefined) throw refuse('all numbers are taken')
  const holder = taken.get(number)
  if (holder !== undefined && holder !== gateway) {
    throw refuse(`number ${number} belongs to ${holder}`, 'numbers are never reused: leave --number out')
  }

  const neighbours = others.filter((certificate) => certificate.site.name === site.name)
  const used = new Map(neighbours.map((certificate) => [certificate.plane, certificate.gateway]))
  const kept = before?.site.name === site.name ? before.plane : undefined
  const plane = options.plane ?? kept ?? lowestFree(0, planes - 1, used)
  if (plane === undefined)
    throw refuse(`site ${site.name} has ${planes} gateways already: ${[...used.values()].join(', ')}`)
  const onPlane = used.get(plane)
  if (onPlane !== undefined) {
    throw refuse(`plane ${plane} of site ${site.name} belongs to ${onPlane}`, 'leave --plane out')
  }

  const prefixes = options.prefixes ?? request.prefixes.map((prefix): Grant => ({ prefix }))
  const networks = options.networks?.map((name) => ({ name })) ?? request.networks
  for (const { name } of networks) {
    const known = fabric.networks.map((network) => network.name)
    if (!known.includes(name))
      throw refuse(`the fabric document has no network "${name}"`, didYouMean(name, known))
  }
  const warnings: string[] = []
  for (const { prefix } of prefixes) {
    for (const other of others) {
      if (other.site.name === site.name) continue
      for (const { prefix: held } of other.prefixes) {
        if (held === prefix) {
          throw refuse(
            `${prefix} is certified to ${other.gateway} of site ${other.site.name}`,
            'a prefix belongs to one site',
          )
        }
        if (overlaps(held, prefix)) {
          warnings.push(
            `${prefix} overlaps ${held} of ${other.gateway} (site ${other.site.name}): the longer one wins`,
          )
        }
      }
    }
  }
  const certificate = {
    fabric: fabric.fabric,
    serial: Math.max((before?.serial ?? 0) + 1, nowMs),
    gateway,
    number,
    site,
    plane,
    identity,
    notBefore: nowMs,
    notAfter: nowMs + validMs,
    prefixes,
    networks,
    grants: before?.grants ?? [],
  }
  return { certificate, warnings }
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
