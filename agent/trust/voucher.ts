/**
 * Vouchers: certificates for whoever comes first. The authority signs what a gateway will be granted and the public half of a
 * key that is used once; the gateway boots with the other half, makes its identity and signs it with that. Voucher and claim
 * together are a certificate, with the voucher's serial, dates and grants and the claim's identity.
 *
 * The key travels through places where others may read it. So a claim counts only where it is first seen before the voucher
 * ends; who came first keeps it; and where two come at once, with nobody before them, neither counts. Whatever the authority
 * certifies itself outranks all of this, for good.
 *
 * A claim carries the word of the identity, too: else who has the key of a voucher could name another gateway's identity, and
 * two that claim one identity take each other out.
 */
import type { KeyObject } from 'node:crypto'
import type { Claim, Signed, Voucher } from '../model/document.ts'
import type { Certificate } from '../model/fabric.ts'
import { graceMs } from './moment.ts'
import type { Moment } from './moment.ts'
import { isProofOf, proofBy } from './proof.ts'
import type { Refusal } from './refusal.ts'
import { refuseStale } from './rule.ts'
import type { RuleId } from './rulebook.ts'
import { others } from './others.ts'
import type { Mark } from './subject.ts'

/** The certificate that a voucher is for this identity. */
export function certificateBy(voucher: Voucher, { identity }: Pick<Claim, 'identity'>): Certificate {
  return { ...grantedBy(voucher), identity }
}

/** The voucher by which whoever has the key gets what the certificate grants. `until`: Unix ms. */
export function voucherBy(certificate: Certificate, key: string, until: number): Voucher {
  return { ...grantedBy(certificate), key, until }
}

function grantedBy(of: Omit<Certificate, 'identity'>): Omit<Certificate, 'identity'> {
  const { fabric, serial, gateway, number, site, plane, notBefore, notAfter, prefixes, networks, grants } = of
  return { fabric, serial, gateway, number, site, plane, notBefore, notAfter, prefixes, networks, grants }
}

/** An identity's word that it claims the voucher with this key: the only thing that a claim needs of the identity. */
export function claimProof(fabric: string, gateway: string, voucher: string, identity: KeyObject): string {
  return proofBy(identity, { fabric, gateway, voucher })
}

/** True where the identity of a claim signed that it claims the voucher with this key. */
export function isProven({ fabric, gateway, identity, proof }: Claim, voucher: string): boolean {
  return isProofOf(proof, identity, { fabric, gateway, voucher })
}

export interface Claimant {
  readonly origin: string
  readonly signed: Signed
}

/** What the claims of one key are judged by. */
export interface Contest {
  /** In force, of the gateway that they name. */
  readonly voucher: Voucher | undefined
  /** Of the claim that counted, in force or not. */
  readonly mark: Mark | undefined
  readonly moment: Moment
  /** While the fabric document is stale. */
  readonly unknownStay: boolean
  /** They counted in an earlier run. */
  readonly isKnown?: boolean
}

export interface Judged<C> {
  readonly standing: readonly C[]
  readonly refused: readonly (readonly [C, Refusal])[]
}

/** Claims judged between two chances for the event loop. */
const step = 64

/**
 * Which of the claims of one key may count, and why the others may not. Once one counted, it is that one for good: what came
 * first is known by its mark, though it be nowhere to be seen.
 */
export function* judgeClaims<C extends Claimant>(
  claims: readonly C[],
  { voucher, mark, moment, unknownStay, isKnown = false }: Contest,
): Generator<void, Judged<C>> {
  const refused: (readonly [C, Refusal])[] = []
  function* pass(
    some: readonly C[],
    why: (claim: Claim, of: C) => Refusal | undefined,
  ): Generator<void, readonly C[]> {
    const passed: C[] = []
    for (const [i, claimant] of some.entries()) {
      if (i % step === step - 1) yield
      const { document } = claimant.signed
      if (document.type !== 'claim') continue
      const refusal = why(document.payload, claimant)
      if (refusal === undefined) passed.push(claimant)
      else refused.push([claimant, refusal])
    }
    return passed
  }
  const timely = yield* pass(claims, (claim, { origin, signed }) => {
    const mismatch = refuseMismatch(origin, claim, signed.kid, voucher)
    if (mismatch !== undefined || isKnown || signed.hash === mark?.hash) return mismatch
    if (voucher !== undefined && voucher.until + graceMs < moment.sureMs)
      return refuseEnded(origin, claim, voucher)
    return unknownStay ? refuseStale(origin, signed) : undefined
  })
  const identities = identitiesOf(timely)
  const standing = yield* pass(timely, (claim, { origin, signed }) => {
    if (mark === undefined ? identities.length === 1 : signed.hash === mark.hash) return undefined
    const rivals = mark === undefined ? others(identities, claim.identity) : undefined
    return refuseConflict(origin, claim, rivals)
  })
  return { standing, refused }
}

/** Runs it at one go, where nothing else is to be done meanwhile. */
export function drained<T>(steps: Generator<void, T>): T {
  for (;;) {
    const { done, value } = steps.next()
    if (done === true) return value
  }
}

/** In order. */
function identitiesOf(claimants: readonly Claimant[]): readonly string[] {
  const all = new Set<string>()
  for (const { document } of claimants.map(({ signed }) => signed))
    if (document.type === 'claim') all.add(document.payload.identity)
  return [...all].sort()
}

function refuseMismatch(
  origin: string,
  claim: Claim,
  kid: string,
  voucher: Voucher | undefined,
): Refusal | undefined {
  const next = `if it should: linkspan ca voucher ${claim.gateway}; else find out who wrote it`
  if (voucher === undefined) return refusal(origin, claim, 'voucher', 'the gateway has no voucher', next)
  if (voucher.key === kid && voucher.serial === claim.voucher) return undefined
  const reason =
    voucher.key === kid
      ? `claims the voucher ${claim.voucher}, in force is ${voucher.serial}`
      : `is signed by the key ${kid}, which is not that of the voucher in force`
  return refusal(origin, claim, 'voucher', reason, next)
}

function refuseEnded(origin: string, claim: Claim, { until }: Voucher): Refusal {
  const reason = `its voucher ended at ${new Date(until).toISOString()}, and the claim was never seen before`
  const next = `is it right? then certify the gateway: linkspan ca issue ${claim.gateway}`
  return refusal(origin, claim, 'voucher-ended', reason, next)
}

/** `rivals`: who claims it at the same time; undefined where another claim counted before. */
function refuseConflict(origin: string, claim: Claim, rivals: string | undefined): Refusal {
  const reason =
    rivals === undefined
      ? 'the voucher was claimed before, and who had it first keeps it'
      : `${rivals} claims the same voucher, so neither counts`
  const next = `somebody else has the voucher's key: find out who, then linkspan ca issue ${claim.gateway}`
  return refusal(origin, claim, 'claim-conflict', reason, next)
}

function refusal(origin: string, { gateway }: Claim, rule: RuleId, reason: string, next: string): Refusal {
  return { origin, gateway, rule, code: 'document-invalid', object: `claim ${gateway}`, reason, next }
}
