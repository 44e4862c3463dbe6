/** Prefixes of a certificate that touch those of other sites: what is allowed, and what an operator should know of. */
import type { Certificate } from '../model/fabric.ts'
import type { Prefix } from '../model/prefix.ts'
import { sharesSpace } from '../trust/space.ts'

export interface Overlap {
  readonly prefix: Prefix
  /** The other certificate's. */
  readonly held: Prefix
  readonly other: Certificate
  /** The same prefix, which only `shared` on both sides allows, or one inside the other. */
  readonly kind: 'taken' | 'shared' | 'nested'
}

/** `others`: certificates that stand. Those of its own site may hold the same. */
export function overlapsOf(certificate: Certificate, others: readonly Certificate[]): Overlap[] {
  const foreign = others.filter(
    ({ site, gateway }) => site.name !== certificate.site.name && gateway !== certificate.gateway,
  )
  return certificate.prefixes.flatMap(({ prefix }) =>
    foreign.flatMap((other) =>
      other.prefixes
        .filter(({ prefix: held }) => sharesSpace(held, prefix))
        .map(({ prefix: held }): Overlap => {
          const shared = certificate.grants.includes('shared') && other.grants.includes('shared')
          return { prefix, held, other, kind: held !== prefix ? 'nested' : shared ? 'shared' : 'taken' }
        }),
    ),
  )
}

export function describeOverlap({ prefix, held, other, kind }: Overlap): string {
  const { gateway, site } = other
  switch (kind) {
    case 'taken':
      return `${prefix} is certified to ${gateway} of site ${site.name}`
    case 'shared':
      return `${prefix} is shared with ${gateway} of site ${site.name}: one site at a time is used, that of the lowest number that is not down`
    case 'nested':
      return `${prefix} overlaps ${held} of ${gateway} (site ${site.name}): the longer one wins`
  }
}

/** Who lacks the grant that would allow it. */
export function unshared({ gateway, grants }: Certificate, { other }: Overlap): string {
  const missing = [
    ...(grants.includes('shared') ? [] : [gateway]),
    ...(other.grants.includes('shared') ? [] : [other.gateway]),
  ]
  return `a prefix belongs to one site, unless both have --grant shared: ${missing.join(' and ')} has not`
}
