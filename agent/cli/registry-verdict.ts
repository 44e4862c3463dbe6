/**
 * What gateways make of each single document: verify() and the ledger say what follows from all of them together, and this
 * says it of one. Documents of the same words count alike, wherever they lie.
 */
import type { Document, DocumentType, Signed } from '../model/document.ts'
import type { Name } from '../model/fabric.ts'
import type { Snapshot } from '../model/gateway.ts'
import { isRefusal } from '../trust/parse.ts'
import type { Refusal } from '../trust/refusal.ts'
import type { RuleId } from '../trust/rulebook.ts'
import { groups } from '../trust/snapshot.ts'
import { gatewayOf, nameOf, serialOf, subjectOf } from '../trust/subject.ts'

/**
 * `in part`: something in it is refused, and the rest counts. `waits`: it is good, and what it belongs to is not in force.
 * `asks`: a request, which is for the authority alone. `outranked`: a claim whose gateway the authority certified itself.
 */
export type Standing = 'in force' | 'in part' | 'waits' | 'asks' | 'outranked' | 'refused'

export interface Judged {
  /** As people name it: `records/aws-a`. */
  readonly place: string
  readonly origin: string
  /** These are absent where the document cannot be read, or is not signed by whom it names. */
  readonly type?: DocumentType
  /** `record aws-a`. */
  readonly name?: string
  readonly gateway?: Name
  readonly serial?: number
  /** SHA-256 of the payload, base64. */
  readonly hash?: string
  readonly standing: Standing
  /** What it waits for. */
  readonly waitsFor?: string
  readonly refusals: readonly Refusal[]
}

/** One document of the registry, after its form and signature were checked. */
export interface Entry {
  readonly place: string
  readonly origin: string
  readonly signed: Signed | Refusal
}

/** What follows from all of them. */
export interface Outcome {
  readonly snapshot: Snapshot | undefined
  readonly refusals: readonly Refusal[]
  /** True where a document of these words counts. */
  readonly isInForce: (signed: Signed) => boolean
}

/** Rules by which a document never comes in: they are about this one, and not about others of the same words. */
const atTheDoor: ReadonlySet<RuleId> = new Set<RuleId>([
  'document',
  'signature',
  'fabric',
  'authority',
  'signer',
  'certificate',
  'rollback',
  'equivocation',
  'stale',
  'succession',
  'voucher',
  'voucher-ended',
  'claim-conflict',
])
/** Rules that take a certificate or a record out whole. */
const whole: ReadonlySet<RuleId> = new Set<RuleId>([
  'early',
  'expired',
  'removed',
  'revoked',
  'identity',
  'number',
  'plane',
  'tunnel-key',
])

/** In the order of the entries. */
export function judgeEach(entries: readonly Entry[], outcome: Outcome): Judged[] {
  const byOrigin = groups(outcome.refusals, ({ origin }) => origin)
  // The rules name one origin of those that hold the same words.
  const byWords = new Map<string, Refusal[]>()
  for (const { origin, signed } of entries) {
    const late = (byOrigin.get(origin) ?? []).filter(({ rule }) => !atTheDoor.has(rule))
    if (late.length === 0 || isRefusal(signed)) continue
    byWords.set(wordsOf(signed), [...(byWords.get(wordsOf(signed)) ?? []), ...late])
  }
  return entries.map(({ place, origin, signed }): Judged => {
    const own = byOrigin.get(origin) ?? []
    if (isRefusal(signed)) return { place, origin, standing: 'refused', refusals: [signed] }
    const { document } = signed
    const gateway = gatewayOf(document)
    const about = {
      place,
      origin,
      type: document.type,
      name: nameOf(document),
      hash: signed.hash,
      ...(gateway === undefined ? {} : { gateway }),
      ...(document.type === 'request' ? {} : { serial: serialOf(document) }),
    }
    const refusals = own.some(({ rule }) => atTheDoor.has(rule)) ? own : (byWords.get(wordsOf(signed)) ?? own)
    return { ...about, ...standingOf(signed, refusals, outcome), refusals }
  })
}

function standingOf(
  signed: Signed,
  refusals: readonly Refusal[],
  { snapshot, isInForce }: Outcome,
): { readonly standing: Standing; readonly waitsFor?: string } {
  const { document } = signed
  if (refusals.some(({ rule }) => atTheDoor.has(rule) || whole.has(rule))) return { standing: 'refused' }
  if (document.type === 'request') return { standing: 'asks' }
  if (!isInForce(signed))
    return document.type === 'claim'
      ? { standing: 'outranked' }
      : { standing: 'waits', waitsFor: 'what it belongs to' }
  const gateway = gatewayOf(document)
  if (gateway !== undefined && snapshot === undefined)
    return { standing: 'waits', waitsFor: 'a fabric document' }
  const silent = isSilent(document)
  if (document.type === 'record' && !silent && snapshot?.gateways.has(document.payload.gateway) !== true)
    return { standing: 'waits', waitsFor: 'a certificate that counts' }
  return { standing: refusals.length > 0 ? 'in part' : 'in force' }
}

/** A gateway that withdrew is in no snapshot, by its own word. */
function isSilent(document: Document): boolean {
  return document.type === 'record' && document.payload.state === 'withdrawn'
}

function wordsOf(signed: Signed): string {
  return `${subjectOf(signed)} ${signed.hash}`
}

/** How many of each standing; `in force` first. */
export function tally(judged: readonly Judged[]): string {
  const order: readonly Standing[] = ['in force', 'in part', 'asks', 'outranked', 'waits', 'refused']
  return order
    .map((standing) => ({ standing, many: judged.filter((one) => one.standing === standing).length }))
    .filter(({ standing, many }) => many > 0 || standing === 'in force')
    .map(({ standing, many }) => `${many} ${standing}`)
    .join(', ')
}

/** True where nothing is wrong with it. */
export function isWell({ standing }: Judged): boolean {
  return standing === 'in force' || standing === 'asks' || standing === 'outranked'
}
