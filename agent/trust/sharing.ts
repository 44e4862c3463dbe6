/**
 * Who may originate a prefix that several advertise. Gateways of one site may. Of several sites it is that of the lowest
 * number, and with it every gateway elsewhere that is granted `shared`, if all the holding site's gateways that advertise
 * the prefix are: one that was never granted it says that the prefix is the site's own. Then the prefix is used at one site
 * at a time (plan/shared.ts); here it only stands at all of them.
 *
 * A gateway without the grant loses its claim alone: what others were granted does not hang on it, wherever it is.
 */
import { lowest } from './conflict.ts'
import type { Party } from './conflict.ts'

/** A gateway that advertises a prefix. */
export interface Claimant extends Party {
  /** Its certificate has the grant `shared`. */
  readonly shares: boolean
}

export type Claim<C extends Claimant> =
  /** Its site alone has the prefix, or its site and others that may. */
  | { readonly stands: true; readonly isShared: boolean }
  /** `holder`: whose claim goes before; `lacking`: who has not the grant that would let both stand. */
  | { readonly stands: false; readonly holder: C; readonly lacking: readonly C[] }

const alone = { stands: true, isShared: false } as const
const together = { stands: true, isShared: true } as const

/** `claimants`: all who advertise the prefix, `own` among them. */
export function claimOf<C extends Claimant>(own: C, claimants: Iterable<C>): Claim<C> {
  const holder = lowest(claimants)
  if (holder === undefined) return alone
  let isOpen = true
  let isMet = false
  for (const { site, shares } of claimants) {
    if (site === holder.site) isOpen &&= shares
    else isMet ||= shares
  }
  if (isOpen && isMet && own.shares) return together
  if (own.site === holder.site) return alone
  const lacking = [...claimants].filter(({ site, shares }) => site === holder.site && !shares)
  if (!own.shares) lacking.push(own)
  return { stands: false, holder, lacking: lacking.sort((a, b) => a.number - b.number) }
}
