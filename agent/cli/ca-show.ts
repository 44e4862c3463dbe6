/** `ca show`: the authority, what it gave out, and what is due. Signs nothing, so it asks for no passphrase. */
import { formatReason } from '../errors.ts'
import type { Certificate, Fabric } from '../model/fabric.ts'
import { nameOf } from './authority-book.ts'
import type { Issued } from './authority-book.ts'
import { isEncrypted } from './authority-key.ts'
import { readAuthority } from './authority.ts'
import type { AuthorityView } from './authority.ts'
import { dayMs } from './ca-option.ts'
import type { CaOptions } from './ca-option.ts'
import { stands } from './certify.ts'
import { exitCode } from './exit-code.ts'
import { freshMsOf } from './fabric-edit.ts'
import { print, say } from './output.ts'
import { count, table } from './table.ts'

/** A certificate is due for so long before its end, unless it was made for less than three times that. */
const dueMs = 30 * dayMs

interface Row {
  readonly gateway: string
  readonly number: number
  readonly site: string
  readonly plane: number
  readonly identity: string
  readonly prefixes: number
  readonly grants: readonly string[]
  readonly serial: number
  readonly notAfter: number
  /** Whole days, negative when it is over. */
  readonly daysLeft: number
  readonly state: 'valid' | 'expired' | 'removed' | 'revoked'
}

interface Due {
  readonly object: string
  readonly reason: string
  readonly next: string
}

export async function showAuthority(options: CaOptions): Promise<void> {
  const view = await readAuthority(options, { lenient: true })
  const { state, book, registry, keys } = view
  for (const remark of view.remarks) say(remark)
  const nowMs = Date.now()
  const fabric = book.fabric?.document.payload
  const rows = book
    .all('certificate')
    .map(({ document }) => rowOf(fabric, document.payload, nowMs))
    .sort((a, b) => a.number - b.number)
  const due = dueOf(view, fabric, rows, nowMs)
  const held = await Promise.all(keys.map(async (file) => ({ key: file.kid, path: file.path, encrypted: await isEncrypted(file) })))
  const { trusted, retired } = book.authorities
  const { unreadable } = view.bag
  const json = {
    fabric: state.fabric,
    directory: view.directory,
    registry: registry.place,
    authority: state.root,
    signer: book.signer,
    trusted: [...trusted],
    retired: [...retired],
    keys: held,
    serial: state.serial,
    numbers: Object.fromEntries([...state.numbers].sort(([, a], [, b]) => a - b)),
    fabricDocument: fabric === undefined ? null : { serial: fabric.serial, freshUntil: fabric.freshUntil },
    certificates: rows,
    due,
    unreadable,
  }
  print(options, json, textOf(view, fabric, rows, due, held.find(({ key }) => key === book.signer)?.encrypted, nowMs))
  if (!options.json) for (const reason of unreadable) say(`unreadable: ${formatReason(reason)}`)
  if (unreadable.length > 0) process.exitCode = exitCode.failed
  else if (due.length > 0) process.exitCode = exitCode.degraded
}

function textOf(
  { directory, state, book, registry }: AuthorityView,
  fabric: Fabric | undefined,
  rows: readonly Row[],
  due: readonly Due[],
  encrypted: boolean | undefined,
  nowMs: number,
): string {
  const how = encrypted === undefined ? 'which is not here' : encrypted ? 'encrypted' : 'not encrypted'
  const { trusted, retired } = book.authorities
  const older = [...trusted].filter((kid) => kid !== book.signer)
  const lines = [
    `authority of the fabric ${state.fabric}`,
    `  key        ${book.signer} (${how})`,
    ...(older.length > 0 ? [`  beside it  ${older.join(', ')}: a rollover is under way`] : []),
    ...(retired.size > 0 ? [`  retired    ${[...retired].join(', ')}`] : []),
    `  config.yml authority: ${state.root}`,
    `  directory  ${directory}`,
    `  registry   ${registry.place}`,
    `  fabric     ${fabric === undefined ? 'no document yet' : `serial ${fabric.serial}, fresh ${inDays(fabric.freshUntil, nowMs)}`}`,
    `  numbers    ${count(state.numbers.size, 'number')} given out${highestOf(state.numbers)}; last serial ${state.serial}`,
  ]
  if (rows.length > 0) {
    const head = ['GATEWAY', 'NUMBER', 'SITE', 'PLANE', 'PREFIXES', 'SERIAL', 'EXPIRES', 'DAYS', 'STATE']
    const body = rows.map((row) => [
      row.gateway,
      String(row.number),
      row.site,
      String(row.plane),
      String(row.prefixes),
      String(row.serial),
      new Date(row.notAfter).toISOString().slice(0, 10),
      String(row.daysLeft),
      row.grants.length === 0 ? row.state : `${row.state}, ${row.grants.join(', ')}`,
    ])
    lines.push('', ...table([head, ...body]))
  }
  if (due.length > 0) lines.push('', 'Due', ...due.flatMap(({ object, reason, next }) => [`  ${object}: ${reason}`, `    next: ${next}`]))
  return lines.join('\n')
}

function rowOf(fabric: Fabric | undefined, certificate: Certificate, nowMs: number): Row {
  const { gateway, number, site, plane, identity, prefixes, grants, serial, notAfter } = certificate
  const state = ((): Row['state'] => {
    if (fabric?.removed.includes(gateway) === true) return 'removed'
    if (fabric !== undefined && !stands(fabric, { ...certificate, notAfter: Infinity }, nowMs)) return 'revoked'
    return notAfter > nowMs ? 'valid' : 'expired'
  })()
  const daysLeft = Math.floor((notAfter - nowMs) / dayMs)
  return { gateway, number, site: site.name, plane, identity, prefixes: prefixes.length, grants, serial, notAfter, daysLeft, state }
}

function dueOf(view: AuthorityView, fabric: Fabric | undefined, rows: readonly Row[], nowMs: number): Due[] {
  const { book, state, bag } = view
  const due: Due[] = []
  const add = (object: string, reason: string, next: string): void => {
    due.push({ object, reason, next })
  }
  if (fabric === undefined) add('fabric document', 'there is none', 'linkspan ca fabric FILE.yml')
  else if (fabric.freshUntil - nowMs <= freshMsOf(fabric) / 3) {
    const reason = fabric.freshUntil > nowMs ? `fresh ${inDays(fabric.freshUntil, nowMs)}` : 'stale: no new gateway is let in'
    add('fabric document', reason, 'linkspan ca fabric')
  }
  for (const { gateway, notAfter, state: is } of rows) {
    const certificate = book.certificate(gateway)?.document.payload
    const early = certificate === undefined ? dueMs : Math.min(dueMs, (notAfter - certificate.notBefore) / 3)
    if (is === 'expired') add(`certificate ${gateway}`, `expired ${inDays(notAfter, nowMs)}`, `linkspan ca renew ${gateway}`)
    else if (is === 'valid' && notAfter - nowMs <= early)
      add(`certificate ${gateway}`, `expires ${inDays(notAfter, nowMs)}`, `linkspan ca renew ${gateway}`)
  }
  const live = rows.filter(({ state: is }) => is === 'valid').flatMap(({ gateway }) => book.certificate(gateway) ?? [])
  const documents: Issued[] = [...(book.fabric === undefined ? [] : [book.fabric]), ...live]
  if (book.authorities.trusted.size > 1) {
    const old = documents.filter(({ kid }) => kid !== book.signer).length
    if (old > 0) add('rollover', `${count(old, 'document')} signed by the old key`, 'linkspan ca renew --all')
    else add('rollover', 'the old key is still trusted', 'linkspan ca rollover --finish, when all gateways have read the new documents')
  }
  if (bag.complete) due.push(...notThere(view, [...documents, ...book.all('authority')], state.pending))
  return due
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
        if (type === 'certificate') return `linkspan ca renew ${payload.gateway}, or ca remove ${payload.gateway} if it is gone`
        return type === 'fabric' ? 'linkspan ca fabric' : 'linkspan ca renew --all'
      })()
      return { object: nameOf(issued), reason: 'not in the registry as it was signed', next }
    })
}

function inDays(unixMs: number, nowMs: number): string {
  const days = Math.floor(Math.abs(unixMs - nowMs) / dayMs)
  const date = new Date(unixMs).toISOString().slice(0, 10)
  return unixMs > nowMs ? `until ${date}, ${count(days, 'day')} left` : `since ${date}, ${count(days, 'day')} ago`
}

function highestOf(numbers: ReadonlyMap<string, number>): string {
  const highest = [...numbers.values()].reduce((a, b) => Math.max(a, b), 0)
  return highest === 0 ? '' : `, up to ${highest}`
}

