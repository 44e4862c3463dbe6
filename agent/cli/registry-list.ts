/** `linkspan registry list`: every gateway that a document speaks of, and where it stands. */
import { formatReason } from '../errors.ts'
import type { Reason } from '../errors.ts'
import type { Delivered, Document, Voucher } from '../model/document.ts'
import type { Name } from '../model/fabric.ts'
import type { Ground } from '../trust/ground.ts'
import { momentOf } from '../trust/moment.ts'
import { documentsOf } from '../trust/parse.ts'
import { formatRefusal } from '../trust/refusal.ts'
import { gatewayOf } from '../trust/subject.ts'
import { verify } from '../trust/verify.ts'
import type { Verdict } from '../trust/verify.ts'
import { exitCode } from './exit-code.ts'
import { print, say } from './output.ts'
import { configuredGround, groundOf, signedOf, sourceOf } from './registry-command.ts'
import type { JudgingOptions } from './registry-command.ts'
import { readAll, registryText } from './registry-driver.ts'
import { table } from './table.ts'

interface Row {
  gateway: Name
  number?: number
  site?: Name
  plane?: number
  /** `in force`, or what it waits for. */
  state: string
  prefixes: number
  /** Of one that has no certificate of its own. */
  voucher?: VoucherState
}

type VoucherState = 'waiting' | 'claimed' | 'ended'

/** What somebody who reads the list is told of a gateway that is not in force. */
const voucherStates: Readonly<Record<VoucherState, string>> = {
  waiting: 'voucher waits for a claim',
  claimed: 'voucher claimed, no record yet',
  ended: 'voucher ended, nobody claimed it',
}

export async function listRegistry(options: JudgingOptions): Promise<void> {
  const of = await sourceOf(options)
  const directory = registryText(of)
  const { documents, unreadable } = await readAll(of)
  const ground = await likelyGround(options, documents)
  const verdict = verify(documents, { ...ground, moment: momentOf(Date.now()) })
  const shown = listing(directory, documents, verdict, unreadable)
  print(options, { ...shown.json, authority: ground.authority }, shown.text)
  for (const refusal of verdict.refusals) if (!options.json) say(formatRefusal(refusal))
  for (const reason of unreadable) if (!options.json) say(`unreadable: ${formatReason(reason)}`)
  // Documents that cannot be read are unknown, so all that was said above may be wrong.
  if (unreadable.length > 0) process.exitCode = exitCode.failed
  else if (verdict.refusals.length > 0) process.exitCode = exitCode.degraded
}

/**
 * Whose documents count. Where neither an option nor config.yml says it, those of the key that signed the fabric document
 * there, which whoever can write to the registry may have put there: good enough to look at it.
 */
async function likelyGround(options: JudgingOptions, documents: readonly Delivered[]): Promise<Ground> {
  if (options.authority !== undefined || options.registry === undefined) return groundOf(options, documents)
  const configured = await configuredGround(options.config)
  if (configured !== undefined) return groundOf(options, documents)
  const [signed] = signedOf(documents, ['fabric'])
  const kid = signed?.kid ?? ''
  if (kid !== '')
    say(`note: judged by the key that signed its fabric document, ${kid}: is that the authority?`)
  return { fabric: options.fabric ?? signed?.document.payload.fabric ?? '', authority: kid }
}

function listing(
  directory: string,
  documents: readonly Delivered[],
  verdict: Verdict,
  unreadable: readonly Reason[],
): { json: object; text: string } {
  const { snapshot, refusals } = verdict
  const parsed = documentsOf(documents)
  const gateways = new Set(
    parsed.flatMap(({ type, payload }) =>
      type === 'fabric' || type === 'authority' ? [] : [payload.gateway],
    ),
  )
  const rows = [...gateways].sort().map((gateway) => rowOf(gateway, parsed, verdict))
  const { fabric } = snapshot ?? {}
  const head =
    fabric === undefined
      ? `${directory}: no fabric document in force`
      : `fabric ${fabric.fabric}, serial ${fabric.serial}, ${snapshot?.gateways.size ?? 0} gateways in force`
  const lines = rows.map((row) => [
    row.gateway,
    String(row.number ?? '-'),
    row.site ?? '-',
    String(row.plane ?? '-'),
    String(row.prefixes),
    row.state,
  ])
  const text = [head, ...table([['GATEWAY', 'NUMBER', 'SITE', 'PLANE', 'PREFIXES', 'STATE'], ...lines])]
  return {
    json: { directory, fabric: fabric ?? null, gateways: rows, refusals, unreadable },
    text: rows.length === 0 ? head : text.join('\n'),
  }
}

function rowOf(gateway: Name, documents: readonly Document[], verdict: Verdict): Row {
  const { snapshot, refusals } = verdict
  const of = (type: Document['type']): Document | undefined =>
    documents.find((document) => document.type === type && gatewayOf(document) === gateway)
  const [certificate, record, request] = [of('certificate'), of('record'), of('request')]
  const inForce = snapshot?.gateways.get(gateway)
  const by = certificate === undefined ? voucherOf(gateway, verdict) : undefined
  const placed = certificate?.type === 'certificate' ? certificate.payload : by?.voucher
  const refused = refusals.some(
    (refusal) => refusal.gateway === gateway || refusal.origin.endsWith(`s/${gateway}.jws`),
  )
  const state = ((): string => {
    if (inForce !== undefined)
      return refused ? 'in force, in part' : inForce.state === 'active' ? 'in force' : inForce.state
    if (refused) return 'refused'
    if (by !== undefined && (by.state !== 'ended' || request === undefined)) return voucherStates[by.state]
    if (certificate === undefined) return request === undefined ? 'no certificate' : 'asks for a certificate'
    return record?.type === 'record' ? record.payload.state : 'no record yet'
  })()
  return {
    gateway,
    ...(placed === undefined ? {} : { number: placed.number, site: placed.site.name, plane: placed.plane }),
    state,
    prefixes: inForce?.prefixes.length ?? 0,
    ...(by === undefined ? {} : { voucher: by.state }),
  }
}

/** The voucher in force of a gateway that has no certificate, and what became of it. */
function voucherOf(
  gateway: Name,
  { inForce }: Verdict,
): { readonly voucher: Voucher; readonly state: VoucherState } | undefined {
  let voucher: Voucher | undefined
  let isClaimed = false
  for (const { document } of inForce) {
    if (document.type === 'voucher' && document.payload.gateway === gateway) voucher = document.payload
    if (document.type === 'claim' && document.payload.gateway === gateway) isClaimed = true
  }
  if (voucher === undefined) return undefined
  return { voucher, state: isClaimed ? 'claimed' : voucher.until < Date.now() ? 'ended' : 'waiting' }
}
