/**
 * The texts of conflicts between gateways. Who loses is decided by the callers (verify.ts and ledger.ts); the words are
 * here once, and name the others in order, so that every gateway says the same.
 */
import type { Name } from '../model/fabric.ts'
import type { Prefix } from '../model/prefix.ts'
import { others } from './others.ts'
import type { Objections } from './rule.ts'

/** A gateway as the other side of a conflict. */
export interface Party {
  readonly name: Name
  readonly number: number
  readonly site: Name
}

/** Who else claims what only one can have, and who of them had it before. */
export interface Rivals {
  readonly others: string
  readonly holder: Name | undefined
}

/** The rivals of a gateway for a key, where it does not hold it. `claimants`: each once, in order. */
export function rivalsOf(
  own: Name,
  claimants: readonly Name[],
  holder: Name | undefined,
): Rivals | undefined {
  if (holder === own || !claimants.some((name) => name !== own)) return undefined
  return { others: others(claimants, own), holder }
}

export function refuseIdentity(to: Objections, own: Name, rivals: Rivals): void {
  const reason = `${rivals.others} has the same identity key${outcome(rivals)}`
  to.add('identity', `certificate ${own}`, reason, 'issue one of them anew from its own request')
}

export function refuseNumber(to: Objections, own: Name, number: number, rivals: Rivals): void {
  const reason = `${rivals.others} has the number ${number} too${outcome(rivals)}`
  to.add('number', `certificate ${own}`, reason, 'issue one of them anew with a number of its own')
}

export function refusePlane(to: Objections, own: Party, plane: number, holder: Party): void {
  const reason = `${holder.name} (number ${holder.number}) has plane ${plane} of site ${own.site}`
  to.add('plane', `certificate ${own.name}`, reason, 'issue it anew with a free plane, 0 to 3')
}

export function refuseTunnelKey(to: Objections, own: Name, index: string, rivals: Rivals): void {
  const reason = `${rivals.others} has the same tunnel key${outcome(rivals)}`
  to.add(
    'tunnel-key',
    `record ${own} device ${index}`,
    reason,
    'a copied state directory? make new keys on one of them',
  )
}

/** `lacking`: who has not the grant that would let both sites stand. */
export function refuseTwoSites(
  to: Objections,
  own: Name,
  prefix: Prefix,
  { holder, lacking }: { readonly holder: Party; readonly lacking: readonly Party[] },
): void {
  const reason = `site ${holder.site} advertises it by ${holder.name}, number ${holder.number}, the lower one`
  const names = others(
    lacking.map(({ name }) => name),
    '',
  )
  const next = `give the prefix to one site, or have it shared: ${names} without the grant \`shared\``
  to.add('two-sites', `record ${own} prefix ${prefix}`, reason, next)
}

/** The first other site that holds a grant, by name. */
export function elsewhere(sites: Iterable<Name>, own: Name): Name | undefined {
  return [...sites].filter((site) => site !== own).sort()[0]
}

export function lowest<P extends Party>(parties: Iterable<P>): P | undefined {
  let best: P | undefined
  for (const party of parties) if (best === undefined || party.number < best.number) best = party
  return best
}

function outcome({ holder }: Rivals): string {
  return holder === undefined ? ', so neither counts' : `; ${holder} had it first and keeps it`
}
