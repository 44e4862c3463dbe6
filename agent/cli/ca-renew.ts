/**
 * `ca renew`: certificates with the same grants, a new serial and new dates. Gateways need not be touched: they find the new
 * certificate in the registry. With --all also whatever a change of the authority's key leaves to be signed by the new one.
 */
import { formatReason, LinkspanError } from '../errors.ts'
import type { Bag, Document, Voucher } from '../model/document.ts'
import type { Certificate, Fabric } from '../model/fabric.ts'
import type { Refusal } from '../trust/refusal.ts'
import { formatRefusal } from '../trust/refusal.ts'
import { didYouMean } from '../trust/spelling.ts'
import { vouchersOf } from './authority-book.ts'
import type { Issued, IssuedCertificate } from './authority-book.ts'
import { refusalsOf } from './authority-view.ts'
import { withAuthority } from './authority.ts'
import type { Authority } from './authority.ts'
import { dayMs, integerOf } from './ca-option.ts'
import type { SigningOptions } from './ca-option.ts'
import { claimsOf } from './certificate-request.ts'
import { stands, validDays } from './certify.ts'
import { exitCode } from './exit-code.ts'
import { freshMsOf, renewed } from './fabric-edit.ts'
import { print, say } from './output.ts'
import { describeOverlap, overlapsOf } from './overlap.ts'
import { count } from './table.ts'

export interface RenewOptions extends SigningOptions {
  readonly gateways: readonly string[] | undefined
  readonly all: boolean
  readonly within: string | undefined
  readonly days: string | undefined
}

/** Refusals that are remarked on one by one. */
const listed = 8

interface Skipped {
  readonly gateway: string
  readonly reason: string
}

export async function renewCertificates(options: RenewOptions): Promise<void> {
  const named = options.gateways ?? []
  const refuse = (reason: string): LinkspanError =>
    new LinkspanError({ code: 'usage', object: 'ca renew', reason, next: 'linkspan ca renew --help' })
  if (options.all === named.length > 0) throw refuse('expected gateways, or --all')
  if (options.within !== undefined && !options.all) throw refuse('--within goes with --all')
  const days = options.days === undefined ? undefined : integerOf('--days', options.days, 1, 3650)
  const within = options.within === undefined ? undefined : integerOf('--within', options.within, 0, 3650)
  await withAuthority(options, async (authority) => {
    const nowMs = Date.now()
    const chosen = options.all
      ? dueOf(authority, within, nowMs)
      : named.map((name) => knownOf(authority, name))
    const fabric =
      options.all && isFabricDue(authority, within, nowMs) ? renewed(authority, nowMs) : undefined
    const before: Document[] = fabric === undefined ? [] : [{ type: 'fabric', payload: fabric }]
    const { drafts, skipped } = draftsOf(authority, [...new Set(chosen)], before, { days, nowMs })
    const documents = [
      ...before,
      ...drafts.map(certificateOf),
      ...(options.all ? oldVouchers(authority) : []),
    ]
    if (documents.length > 0) await authority.commit(documents)
    if (options.all) {
      await authority.restore(lostLinks(authority))
      tellVouchers(authority)
    }
    tell(options, drafts, skipped, fabric)
  })
}

/** Those that --all means: what stands, and with --within only what ends soon or is signed by an older key. */
function dueOf({ book, fabric }: Authority, within: number | undefined, nowMs: number): IssuedCertificate[] {
  return book.all('certificate').filter(({ document: { payload }, kid }) => {
    if (!stands(fabric, { ...payload, notAfter: Infinity }, nowMs)) return false
    return within === undefined || kid !== book.signer || payload.notAfter - nowMs <= within * dayMs
  })
}

function knownOf({ book, view }: Authority, gateway: string): IssuedCertificate {
  const issued = book.certificate(gateway)
  if (issued !== undefined) return issued
  const voucher = vouchersOf(book).find((open) => open.gateway === gateway)
  if (voucher !== undefined)
    throw new LinkspanError({ code: 'usage', object: gateway, ...byVoucher(voucher, view.bag) })
  const known = book.all('certificate').map(({ document }) => document.payload.gateway)
  const next = known.length > 0 ? didYouMean(gateway, known.sort()) : 'linkspan ca issue makes the first'
  throw new LinkspanError({ code: 'usage', object: gateway, reason: 'has no certificate to renew', next })
}

/**
 * A gateway that came by a voucher has no certificate of its own. Who claimed it, the registry says, which must not be what
 * gives somebody a lasting one: a person compares.
 */
function byVoucher(voucher: Voucher, { documents }: Bag): { readonly reason: string; readonly next: string } {
  const { gateway } = voucher
  const identities = new Set(claimsOf(documents, [voucher]).map(({ identity }) => identity))
  if (identities.size === 0) {
    const next = `linkspan ca voucher ${gateway} --replace makes one that can be claimed for longer`
    return { reason: 'has a voucher that nobody claimed yet, and no certificate to renew', next }
  }
  const compared = `the same grants as a certificate: compare with \`linkspan keys show\` on ${gateway}, then`
  const next = `${compared} linkspan ca issue ${gateway} --identity ${[...identities].sort().join(' or ')}`
  return { reason: 'was admitted by a voucher, and has no certificate to renew', next }
}

/** Those who were admitted by a voucher, which --all cannot renew. */
function tellVouchers({ book, fabric, view }: Authority): void {
  for (const voucher of vouchersOf(book)) {
    const isGone = fabric.removed.includes(voucher.gateway)
    if (isGone || claimsOf(view.bag.documents, [voucher]).length === 0) continue
    const { reason, next } = byVoucher(voucher, view.bag)
    say(`note: ${voucher.gateway} ${reason}: ${next}`)
  }
}

/** Certificates as they will be, without those that gateways would refuse. `others`: what is signed along with them. */
function draftsOf(
  authority: Authority,
  chosen: readonly IssuedCertificate[],
  others: readonly Document[],
  { days, nowMs }: { readonly days: number | undefined; readonly nowMs: number },
): { drafts: Certificate[]; skipped: Skipped[] } {
  const { fabric, state, book } = authority
  const skipped: Skipped[] = []
  const certificates = book.all('certificate').map(({ document }) => document.payload)
  const standing = certificates.filter((certificate) => stands(fabric, certificate, nowMs))
  const wanted = chosen.flatMap(({ document: { payload } }): Certificate[] => {
    const reason = hindrance(payload, fabric, standing, nowMs)
    if (reason !== undefined) {
      skipped.push({ gateway: payload.gateway, reason })
      return []
    }
    const validMs = days === undefined ? spanOf(payload) : days * dayMs
    return [{ ...payload, serial: authority.serial(nowMs), notBefore: nowMs, notAfter: nowMs + validMs }]
  })
  // What gateways refuse already is no worse afterwards; what they would refuse newly is not signed.
  const name = ({ rule, object }: Refusal): string => `${rule} ${object}`
  const before = new Set(refusalsOf(book, state.fabric, nowMs).map(name))
  const after = authority.refusals([...others, ...wanted.map(certificateOf)], nowMs)
  const worse = new Map(after.filter((one) => !before.has(name(one))).map((one) => [one.gateway, one]))
  const drafts = wanted.filter(({ gateway }) => {
    const refusal = worse.get(gateway)
    if (refusal !== undefined) skipped.push({ gateway, reason: formatReason(refusal) })
    return refusal === undefined
  })
  const known = after.filter((one) => before.has(name(one)))
  for (const refusal of known.slice(0, listed)) say(`note: ${formatRefusal(refusal)}`)
  if (known.length > listed) say(`note: and ${known.length - listed} more that are refused`)
  return { drafts, skipped }
}

function certificateOf(payload: Certificate): Document {
  return { type: 'certificate', payload }
}

/** The same words signed by the new key: what is claimed by them stays. */
function oldVouchers({ book, fabric }: Authority): Document[] {
  const open = new Set(vouchersOf(book))
  return book
    .all('voucher')
    .filter(({ kid, document: { payload } }) => kid !== book.signer && open.has(payload))
    .filter(({ document: { payload } }) => !fabric.removed.includes(payload.gateway))
    .map(({ document }) => document)
}

/** Why a certificate is not renewed. */
function hindrance(
  certificate: Certificate,
  fabric: Fabric,
  standing: readonly Certificate[],
  nowMs: number,
): string | undefined {
  const { gateway } = certificate
  if (fabric.removed.includes(gateway)) return `is removed: linkspan ca remove ${gateway} --undo`
  if (!stands(fabric, { ...certificate, notAfter: Infinity }, nowMs))
    return `is revoked: linkspan ca issue ${gateway} --replace`
  if (certificate.notAfter > nowMs) return undefined
  const taken = overlapsOf(certificate, standing).find(({ kind }) => kind === 'taken')
  return taken && `has expired, and ${describeOverlap(taken)} meanwhile`
}

/** As long as it was made for. */
function spanOf({ notBefore, notAfter }: Certificate): number {
  return notAfter > notBefore ? notAfter - notBefore : validDays * dayMs
}

function isFabricDue({ book, fabric }: Authority, within: number | undefined, nowMs: number): boolean {
  const left = fabric.freshUntil - nowMs
  return (
    book.fabric?.kid !== book.signer ||
    left <= freshMsOf(fabric) / 3 ||
    (within !== undefined && left <= within * dayMs)
  )
}

/** Links of the chain of keys that are not in the registry: without them nobody finds from the first key to the last. */
function lostLinks({ book, view }: Authority): Issued[] {
  const there = new Set(view.there.map(({ hash }) => hash))
  return book.all('authority').filter(({ hash }) => !there.has(hash))
}

function tell(
  options: RenewOptions,
  drafts: readonly Certificate[],
  skipped: readonly Skipped[],
  fabric: Fabric | undefined,
): void {
  for (const { gateway, reason } of skipped) say(`not renewed: ${gateway}: ${reason}`)
  const lines = drafts.map(
    ({ gateway, notAfter, serial }) => `renewed ${gateway}: until ${dateOf(notAfter)}, serial ${serial}`,
  )
  if (fabric !== undefined)
    lines.push(
      `renewed the fabric document: fresh until ${dateOf(fabric.freshUntil)}, serial ${fabric.serial}`,
    )
  if (lines.length === 0) lines.push('nothing to renew')
  else lines.push(`${count(drafts.length, 'certificate')} renewed`)
  const json = {
    renewed: drafts.map(({ gateway, serial, notAfter }) => ({ gateway, serial, notAfter })),
    skipped: skipped.map(({ gateway, reason }) => ({ gateway, reason })),
    fabric: fabric === undefined ? null : { serial: fabric.serial, freshUntil: fabric.freshUntil },
  }
  print(options, json, lines.join('\n'))
  if (skipped.length > 0) process.exitCode = exitCode.failed
}

function dateOf(unixMs: number): string {
  return new Date(unixMs).toISOString().slice(0, 10)
}
