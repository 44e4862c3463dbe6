/** `linkspan registry verify`: every document of a registry, and whether gateways let it count, now. */
import { formatReason } from '../errors.ts'
import type { Delivered } from '../model/document.ts'
import { isStale, momentOf } from '../trust/moment.ts'
import { parseDocument } from '../trust/parse.ts'
import { compareText, formatRefusal } from '../trust/refusal.ts'
import type { Refusal } from '../trust/refusal.ts'
import { subjectOf } from '../trust/subject.ts'
import { verify } from '../trust/verify.ts'
import type { Context, Verdict } from '../trust/verify.ts'
import { exitCode } from './exit-code.ts'
import { print } from './output.ts'
import { groundOf, sourceOf } from './registry-command.ts'
import type { JudgingOptions } from './registry-command.ts'
import { readAll, registryText } from './registry-driver.ts'
import { placeOf, shown } from './registry-place.ts'
import { isWell, judgeEach, tally } from './registry-verdict.ts'
import type { Entry, Judged } from './registry-verdict.ts'
import { count, table } from './table.ts'

export async function verifyRegistry(options: JudgingOptions): Promise<void> {
  const of = await sourceOf(options)
  const { documents, unreadable } = await readAll(of)
  const ground = await groundOf(options, documents)
  const moment = momentOf(Date.now())
  const { judged, verdict } = judge(documents, { ...ground, moment }, (origin) => placeOf(of, origin))
  judged.sort((a, b) => compareText(a.place, b.place) || compareText(a.origin, b.origin))
  const fabric = verdict.snapshot?.fabric
  const isGood = fabric !== undefined && judged.every(isWell) && unreadable.length === 0
  const registry = registryText(of)
  const summary = [
    `${registry}: ${count(judged.length, 'document')}: ${tally(judged)}`,
    ...(unreadable.length === 0 ? [] : [`${unreadable.length} unreadable`]),
    ...(fabric === undefined ? ['no fabric document in force'] : []),
    ...(fabric !== undefined && isStale(fabric, moment) ? ['the fabric document is stale'] : []),
  ]
  const rows = [['PLACE', 'DOCUMENT', 'SERIAL', 'VERDICT'], ...judged.map(rowOf)]
  const lines = table(rows).flatMap((line, i) => {
    const refusals = i === 0 ? [] : (judged[i - 1]?.refusals ?? [])
    return [line, ...refusals.flatMap(linesOf)]
  })
  print(
    options,
    { registry, ...ground, ok: isGood, documents: judged, unreadable },
    [
      ...(judged.length === 0 ? [] : lines),
      ...unreadable.map((reason) => `unreadable: ${shown(formatReason(reason))}`),
      summary.join('; '),
    ].join('\n'),
  )
  if (!isGood) process.exitCode = exitCode.failed
}

/** Each document, and what follows from all of them. */
export function judge(
  documents: readonly Delivered[],
  context: Context,
  place: (origin: string) => string,
): { readonly judged: Judged[]; readonly verdict: Verdict } {
  const verdict = verify(documents, context)
  const words = new Set(verdict.inForce.map((held) => `${subjectOf(held)} ${held.hash}`))
  const entries = documents.map((delivered): Entry => {
    const { origin } = delivered
    return { place: place(origin), origin, signed: parseDocument(delivered) }
  })
  const isInForce: Parameters<typeof judgeEach>[1]['isInForce'] = (signed) =>
    words.has(`${subjectOf(signed)} ${signed.hash}`)
  return { judged: judgeEach(entries, { ...verdict, isInForce }), verdict }
}

function rowOf({ place, name, serial, standing, waitsFor }: Judged): string[] {
  const verdict = waitsFor === undefined ? standing : `${standing} for ${waitsFor}`
  return [shown(place), name ?? '-', serial === undefined ? '-' : String(serial), verdict]
}

function linesOf(refusal: Refusal): string[] {
  const text = formatRefusal({ ...refusal, object: shown(refusal.object) })
  return `${refusal.rule}: ${text}`.split('\n').map((line) => `    ${line}`)
}
