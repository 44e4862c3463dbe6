/** `ca show`: the authority, what it gave out, and what is due. Signs nothing, so it asks for no passphrase. */
import { formatReason } from '../errors.ts'
import type { Fabric } from '../model/fabric.ts'
import { dueOf, inDays, rowOf } from './authority-due.ts'
import type { Due, Row } from './authority-due.ts'
import { isEncrypted } from './authority-key.ts'
import { readAuthority } from './authority-view.ts'
import type { AuthorityView } from './authority-view.ts'
import type { CaOptions } from './ca-option.ts'
import { exitCode } from './exit-code.ts'
import { print, say } from './output.ts'
import { count, table } from './table.ts'

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
  const held = await Promise.all(
    keys.map(async (file) => ({ key: file.kid, path: file.path, encrypted: await isEncrypted(file) })),
  )
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
  print(
    options,
    json,
    textOf(view, fabric, rows, due, held.find(({ key }) => key === book.signer)?.encrypted, nowMs),
  )
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
  if (due.length > 0)
    lines.push(
      '',
      'Due',
      ...due.flatMap(({ object, reason, next }) => [`  ${object}: ${reason}`, `    next: ${next}`]),
    )
  return lines.join('\n')
}

function highestOf(numbers: ReadonlyMap<string, number>): string {
  const highest = [...numbers.values()].reduce((a, b) => Math.max(a, b), 0)
  return highest === 0 ? '' : `, up to ${highest}`
}
