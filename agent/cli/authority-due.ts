/** Where the certificates of an authority stand, and what its operator has to do soon. */
import type { Certificate, Fabric } from '../model/fabric.ts'
import { certificateBy } from '../trust/voucher.ts'
import { nameOf, vouchersOf } from './authority-book.ts'
import type { Issued } from './authority-book.ts'
import { alarm } from './authority-view.ts'
import type { AuthorityView } from './authority-view.ts'
import { dayMs } from './ca-option.ts'
import { claimsOf } from './certificate-request.ts'
import { stands } from './certify.ts'
import { freshMsOf } from './fabric-edit.ts'
import { count } from './table.ts'

/** A certificate is due for so long before its end, unless it was made for less than three times that. */
const dueMs = 30 * dayMs

export interface Row {
  readonly gateway: string
  readonly number: number
  readonly site: string
  readonly plane: number
  readonly identity: string
  readonly prefixes: number
  readonly grants: readonly string[]
  readonly serial: number
  readonly notAfter: number
  /** Days begun, zero or less when it is over. */
  readonly daysLeft: number
  readonly state: 'valid' | 'expired' | 'removed' | 'revoked'
}

export interface Due {
  readonly object: string
  readonly reason: string
  readonly next: string
}

export function rowOf(fabric: Fabric | undefined, certificate: Certificate, nowMs: number): Row {
  const { gateway, number, site, plane, identity, prefixes, grants, serial, notAfter } = certificate
  const state = ((): Row['state'] => {
    if (fabric?.removed.includes(gateway) === true) return 'removed'
    if (fabric !== undefined && !stands(fabric, { ...certificate, notAfter: Infinity }, nowMs))
      return 'revoked'
    return notAfter > nowMs ? 'valid' : 'expired'
  })()
  const daysLeft = Math.ceil((notAfter - nowMs) / dayMs)
  return {
    gateway,
    number,
    site: site.name,
    plane,
    identity,
    prefixes: prefixes.length,
    grants,
    serial,
    notAfter,
    daysLeft,
    state,
  }
}

export function dueOf(
  view: AuthorityView,
  fabric: Fabric | undefined,
  rows: readonly Row[],
  nowMs: number,
): Due[] {
  const { book, state, bag } = view
  const due: Due[] = []
  const add = (object: string, reason: string, next: string): void => {
    due.push({ object, reason, next })
  }
  if (fabric === undefined) add('fabric document', 'there is none', 'linkspan ca fabric FILE.yml')
  else if (fabric.freshUntil - nowMs <= freshMsOf(fabric) / 3) {
    const reason =
      fabric.freshUntil > nowMs
        ? `fresh ${inDays(fabric.freshUntil, nowMs)}`
        : 'stale: no new gateway is let in'
    add('fabric document', reason, 'linkspan ca fabric')
  }
  for (const { gateway, notAfter, state: is } of rows) {
    const certificate = book.certificate(gateway)?.document.payload
    const early = certificate === undefined ? dueMs : Math.min(dueMs, (notAfter - certificate.notBefore) / 3)
    if (is === 'expired')
      add(`certificate ${gateway}`, `expired ${inDays(notAfter, nowMs)}`, `linkspan ca renew ${gateway}`)
    else if (is === 'valid' && notAfter - nowMs <= early)
      add(`certificate ${gateway}`, `expires ${inDays(notAfter, nowMs)}`, `linkspan ca renew ${gateway}`)
  }
  due.push(...vouchersDue(view, fabric, nowMs))
  const live = rows
    .filter(({ state: is }) => is === 'valid')
    .flatMap(({ gateway }) => book.certificate(gateway) ?? [])
  const documents: Issued[] = [...(book.fabric === undefined ? [] : [book.fabric]), ...live]
  if (book.authorities.trusted.size > 1) {
    const old = documents.filter(({ kid }) => kid !== book.signer).length
    if (old > 0) add('rollover', `${count(old, 'document')} signed by the old key`, 'linkspan ca renew --all')
    else
      add(
        'rollover',
        'the old key is still trusted',
        'linkspan ca rollover --finish, when all gateways have read the new documents',
      )
  }
  for (const issued of book.contradictions) {
    add(nameOf(issued), alarm(issued), 'find out who; linkspan ca rollover changes the key')
  }
  if (bag.complete) due.push(...notThere(view, [...documents, ...book.all('authority')], state.pending))
  return due
}

/** Who came by a voucher is known to those gateways only that were there in time. */
function vouchersDue({ book, bag }: AuthorityView, fabric: Fabric | undefined, nowMs: number): Due[] {
  const open = vouchersOf(book).filter((voucher) => {
    const granted = certificateBy(voucher, { identity: voucher.key })
    return fabric !== undefined && stands(fabric, granted, nowMs)
  })
  const claims = new Map(claimsOf(bag.documents, open).map(({ gateway, identity }) => [gateway, identity]))
  return open.flatMap(({ gateway, until }): Due[] => {
    const object = `voucher ${gateway}`
    const identity = claims.get(gateway)
    if (identity !== undefined) {
      const reason = `claimed by ${identity}; gateways that join after it ended do not know it`
      return [{ object, reason, next: `linkspan ca issue ${gateway}` }]
    }
    if (until > nowMs) return []
    const next = `linkspan ca voucher ${gateway} --replace, or ca remove ${gateway}`
    return [{ object, reason: `ended ${new Date(until).toISOString()}, and nobody claimed it`, next }]
  })
}

/** What is in force and not in the registry as it was signed last. */
function notThere({ there }: AuthorityView, documents: readonly Issued[], pending: readonly string[]): Due[] {
  const held = new Set(there.map(({ hash, kid }) => `${kid} ${hash}`))
  return documents
    .filter(({ hash, kid }) => !held.has(`${kid} ${hash}`))
    .map((issued) => {
      const { type, payload } = issued.document
      const next = ((): string => {
        if (pending.includes(nameOf(issued))) return 'any command that signs puts it there'
        if (type === 'certificate')
          return `linkspan ca renew ${payload.gateway}, or ca remove ${payload.gateway} if it is gone`
        return type === 'fabric' ? 'linkspan ca fabric' : 'linkspan ca renew --all'
      })()
      return { object: nameOf(issued), reason: 'not in the registry as it was signed', next }
    })
}

export function inDays(unixMs: number, nowMs: number): string {
  const days = Math.ceil(Math.abs(unixMs - nowMs) / dayMs)
  const date = new Date(unixMs).toISOString().slice(0, 10)
  return unixMs > nowMs
    ? `until ${date}, ${count(days, 'day')} left`
    : `since ${date}, ${count(days, 'day')} ago`
}
