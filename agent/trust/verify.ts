/**
 * The specification of what a set of documents means: all of them in, the snapshot and the refusals out. Plain passes over
 * everything, one rule after another. The running agent uses ledger.ts, which does the same work for what changed only;
 * a property test holds the two together.
 */
import type { Delivered, DocumentType, Signed } from '../model/document.ts'
import type { Certificate, Fabric, GatewayRecord, Name } from '../model/fabric.ts'
import type { Snapshot } from '../model/gateway.ts'
import { familyOf, lengthOf } from '../model/prefix.ts'
import type { Family, Prefix } from '../model/prefix.ts'
import { authoritiesOf } from './authorities.ts'
import type { Authorities } from './authorities.ts'
import * as conflict from './conflict.ts'
import { elsewhere, lowest, rivalsOf } from './conflict.ts'
import type { Ground } from './ground.ts'
import { isStale, validityOf } from './moment.ts'
import type { Moment } from './moment.ts'
import { isRefusal, parseDocument } from './parse.ts'
import { predecessorsOf } from './predecessors.ts'
import { compareRefusals } from './refusal.ts'
import type { Refusal } from './refusal.ts'
import {
  foreign,
  judgeCertificate,
  judgePrefixes,
  judgeRecord,
  Objections,
  refuseForgedRequest,
  refuseSigner,
  refuseStale,
  refuseStranger,
  succession,
} from './rule.ts'
import type { CertificateVerdict } from './rule.ts'
import { claimOf } from './sharing.ts'
import type { Claimant } from './sharing.ts'
import { gatewayOf, group, groups, mapsOf } from './snapshot.ts'
import { behind, gatewayOf as nameOfGateway, markOf, outranks, subjectOf } from './subject.ts'
import { holderOf, noMarks } from './tenure.ts'
import type { Holders, Marks, Tenures } from './tenure.ts'
import { certificateBy, drained, judgeClaims } from './voucher.ts'

export interface Verdict {
  /** Undefined without a fabric document. */
  readonly snapshot: Snapshot | undefined
  /** In order of origin and rule. */
  readonly refusals: readonly Refusal[]
  /** Who holds what now, and what counted: in for the next judgement. */
  readonly marks: Marks
  readonly authorities: Authorities
  /** The documents that count, whether or not they stand by the rules that follow. */
  readonly inForce: readonly Held[]
}

/** For whom it is judged, when, and what was judged before. */
export interface Context extends Ground {
  readonly moment: Moment
  /** Of the verdict before, where there was one. */
  readonly marks?: Marks
  /** The fabric document in force before. */
  readonly incumbent?: Fabric
  /** Keys of the authority before. */
  readonly authorities?: Authorities
}

type Candidate = CertificateVerdict & {
  readonly origin: string
  readonly certificate: Certificate
  readonly party: Claimant
}

/** A document, and where it came from. */
export interface Held extends Signed {
  readonly origin: string
}

export function verify(documents: readonly Delivered[], context: Context): Verdict {
  const { fabric: wanted, authority, moment, incumbent, marks = noMarks } = context
  const refusals: Refusal[] = []

  // Form and signature, each by itself.
  const all: Held[] = []
  for (const delivered of documents) {
    const { origin } = delivered
    const parsed = parseDocument(delivered)
    if (isRefusal(parsed)) refusals.push(parsed)
    else if (parsed.document.payload.fabric !== wanted)
      refusals.push(foreign(origin, parsed.document, wanted))
    else all.push({ ...parsed, origin })
  }
  const of = (type: DocumentType): Held[] => all.filter(({ document }) => document.type === type)
  const counting = new Map(marks.documents)
  /** The documents of each subject that count, out of those that may. */
  const elect = (held: readonly Held[]): Held[] =>
    [...groups(held, subjectOf)].flatMap(([subject, some]) => {
      const mark = counting.get(subject)
      const standing = some.filter((one) => mark === undefined || behind(one.origin, one, mark) === undefined)
      const winner = standing.reduce<Held | undefined>(
        (best, one) =>
          best === undefined ||
          outranks(markOf(one), markOf(best)) ||
          (one.hash === best.hash && one.origin < best.origin)
            ? one
            : best,
        undefined,
      )
      const now = winner === undefined ? mark : markOf(winner)
      if (now === undefined) return []
      counting.set(subject, now)
      for (const one of some) {
        const late = behind(one.origin, one, now)
        if (late !== undefined) refusals.push(late)
      }
      return winner === undefined ? [] : [winner]
    })

  // Who signs what.
  for (const { origin, document, kid } of of('request')) {
    if (document.type === 'request' && document.payload.identity !== kid)
      refusals.push(refuseForgedRequest(origin, document.payload))
  }
  const isMarked = (held: Held): boolean => marks.documents.get(subjectOf(held))?.hash === held.hash
  const chained = of('authority')
  // Of the keys that are trusted the latest first: one that it retires speaks no more.
  let authorities = context.authorities ?? authoritiesOf(authority, [])
  const spoken = new Map(chained.filter(isMarked).map((held) => [held.kid, held]))
  const heard = new Set<string>()
  for (;;) {
    const kid = [...authorities.trusted].findLast((trusted) => !heard.has(trusted))
    if (kid === undefined) break
    heard.add(kid)
    const [newest] = newestOf(
      chained.filter((held) => held.kid === kid),
      marks,
    )
    if (newest === undefined) continue
    spoken.set(kid, newest)
    authorities = authoritiesOf(authority, spoken.values(), context.authorities)
  }
  const { trusted, retired } = authorities
  const signedByAuthority = (held: Held): boolean => {
    const wasTrusted = retired.has(held.kid)
    if (trusted.has(held.kid) || (wasTrusted && isMarked(held))) return true
    refusals.push(refuseStranger(held.origin, held, authority, wasTrusted))
    return false
  }
  const earlier = predecessorsOf(authorities, chained)
  const speaks = (held: Held): boolean =>
    heard.has(held.kid) || (!earlier.has(held.kid) && signedByAuthority(held))
  const elected = elect(chained.filter(speaks))
  const follows = (held: Held): boolean => {
    const { origin, document } = held
    const mark = marks.documents.get('fabric')
    if (mark !== undefined && behind(origin, held, mark) !== undefined) return true
    const refusal =
      incumbent && document.type === 'fabric' ? succession(origin, incumbent, document.payload) : undefined
    if (refusal !== undefined) refusals.push(refusal)
    return refusal === undefined
  }
  const [fabricHeld] = elect(of('fabric').filter((held) => signedByAuthority(held) && follows(held)))
  const fabric = fabricHeld?.document.type === 'fabric' ? fabricHeld.document.payload : undefined
  const stale = fabric !== undefined && isStale(fabric, moment)
  const certificates = elect(
    of('certificate').filter((held) => {
      if (!signedByAuthority(held)) return false
      if (!stale || marks.documents.has(subjectOf(held))) return true
      refusals.push(refuseStale(held.origin, held))
      return false
    }),
  )
  // What the authority certified itself outranks vouchers and claims.
  const isVouched = ({ document }: Held): boolean =>
    !counting.has(`certificate ${nameOfGateway(document) ?? ''}`)
  const vouchers = elect(of('voucher').filter(signedByAuthority))
  const voucherOf = new Map(
    vouchers.flatMap(({ document }) =>
      document.type === 'voucher' ? [[document.payload.gateway, document.payload]] : [],
    ),
  )
  const standing = [...groups(of('claim').filter(isVouched), subjectOf)].flatMap(([subject, some]) => {
    const [, gateway = ''] = subject.split(' ')
    const claims = some.map((signed) => ({ origin: signed.origin, signed }))
    const voucher = voucherOf.get(gateway)
    const mark = marks.documents.get(subject)
    const judged = drained(judgeClaims(claims, { voucher, mark, moment, unknownStay: stale }))
    for (const [, refusal] of judged.refused) refusals.push(refusal)
    return judged.standing.map(({ signed }) => signed)
  })
  const claims = elect(standing)
  const claimed = claims.flatMap((held): Held[] => {
    const { document } = held
    const voucher = document.type === 'claim' ? voucherOf.get(document.payload.gateway) : undefined
    if (document.type !== 'claim' || voucher === undefined) return []
    return [{ ...held, document: { type: 'certificate', payload: certificateBy(voucher, document.payload) } }]
  })
  const certified = [...certificates, ...claimed]
  const identities = new Map(
    certified.flatMap(({ document }) =>
      document.type === 'certificate' ? [[document.payload.gateway, document.payload.identity]] : [],
    ),
  )
  const records = elect(
    of('record').filter(({ origin, document, kid }) => {
      const gateway = nameOfGateway(document) ?? ''
      const identity = identities.get(gateway)
      if (identity === kid) return true
      refusals.push(refuseSigner(origin, gateway, identity !== undefined))
      return false
    }),
  )
  const { snapshot, tenures } = judge(fabric, [...certified, ...records], context, refusals)
  return {
    snapshot,
    refusals: refusals.sort(compareRefusals),
    marks: { ...(tenures ?? marks), documents: counting },
    authorities,
    inForce: [
      ...elected,
      ...(fabricHeld === undefined ? [] : [fabricHeld]),
      ...certificates,
      ...vouchers,
      ...claims,
      ...records,
    ],
  }
}

/** Of each signer the document that counts. */
function newestOf(held: readonly Held[], marks: Marks): Held[] {
  return [...groups(held, subjectOf)].flatMap(([subject, some]) => {
    const mark = marks.documents.get(subject)
    const standing = some.filter((one) => mark === undefined || behind(one.origin, one, mark) === undefined)
    return standing.sort((a, b) => (outranks(markOf(a), markOf(b)) ? -1 : 1)).slice(0, 1)
  })
}

function judge(
  fabric: Fabric | undefined,
  winners: readonly Held[],
  { moment, self, marks = noMarks }: Context,
  refusals: Refusal[],
): { readonly snapshot: Snapshot | undefined; readonly tenures?: Tenures } {
  if (fabric === undefined) return { snapshot: undefined }

  // Certificates, each by itself.
  let candidates: Candidate[] = []
  for (const { origin, document } of winners) {
    if (document.type !== 'certificate') continue
    const certificate = document.payload
    const verdict = judgeCertificate(origin, fabric, certificate, {
      validity: validityOf(certificate, moment),
      isSelf: certificate.gateway === self,
    })
    refusals.push(...verdict.refusals)
    const { gateway: name, number, site, grants } = certificate
    const party = { name, number, site: site.name, shares: grants.includes('shared') }
    if (verdict.accepted) candidates.push({ ...verdict, origin, certificate, party })
  }

  // Certificates against each other: identity and number, then planes.
  const parties = candidates.map(({ party, certificate }) => ({ ...party, identity: certificate.identity }))
  const identities = groups(parties, ({ identity }) => identity)
  const identityHolders = holders(identities, marks.identities)
  const numbers = groups(parties, ({ number }) => number)
  const numberHolders = holders(numbers, marks.numbers)
  candidates = candidates.filter(({ origin, certificate, party: { name } }) => {
    const { identity, number } = certificate
    const objections = new Objections(origin, name)
    const identical = rivalsOf(name, namesOf(identities.get(identity)), identityHolders.get(identity))
    if (identical !== undefined) conflict.refuseIdentity(objections, name, identical)
    const numbered = rivalsOf(name, namesOf(numbers.get(number)), numberHolders.get(number))
    if (numbered !== undefined) conflict.refuseNumber(objections, name, number, numbered)
    refusals.push(...objections.list)
    return objections.list.length === 0
  })
  const planes = groups(candidates, ({ certificate }) => `${certificate.plane} ${certificate.site.name}`)
  candidates = candidates.filter(({ origin, certificate, party }) => {
    const holder = lowest(
      (planes.get(`${certificate.plane} ${certificate.site.name}`) ?? []).map(({ party: p }) => p),
    )
    if (holder === undefined || holder.name === party.name) return true
    const objections = new Objections(origin, party.name)
    conflict.refusePlane(objections, party, certificate.plane, holder)
    refusals.push(...objections.list)
    return false
  })
  const certified = new Map(candidates.map((candidate) => [candidate.party.name, candidate]))

  // Records: each by itself, then their keys.
  let speakers: { origin: string; candidate: Candidate; record: GatewayRecord }[] = []
  for (const { origin, document } of winners) {
    if (document.type !== 'record') continue
    const record = document.payload
    const candidate = certified.get(record.gateway)
    if (candidate === undefined || record.state === 'withdrawn') continue
    speakers.push({ origin, candidate, record })
  }
  const keys = new Map<string, { readonly name: Name }[]>()
  for (const { record } of speakers) {
    for (const key of Object.values(record.tunnelKeys)) group(keys, key, { name: record.gateway })
  }
  const tunnelKeys = holders(keys, marks.tunnelKeys)
  speakers = speakers.filter(({ origin, record }) => {
    const objections = new Objections(origin, record.gateway)
    for (const [index, key] of Object.entries(record.tunnelKeys)) {
      const same = rivalsOf(record.gateway, namesOf(keys.get(key)), tunnelKeys.get(key))
      if (same !== undefined) conflict.refuseTunnelKey(objections, record.gateway, index, same)
    }
    refusals.push(...objections.list)
    return objections.list.length === 0
  })

  // Prefixes: certified, then one site each.
  const granted = new Map<Prefix, Name[]>()
  const lengths: Record<Family, Set<number>> = { 4: new Set(), 6: new Set() }
  for (const { grants, party } of candidates) {
    for (const { prefix } of grants) {
      group(granted, prefix, party.site)
      lengths[familyOf(prefix)].add(lengthOf(prefix))
    }
  }
  const advertised = new Map<Prefix, Claimant[]>()
  const drafts = speakers.map(({ origin, candidate, record }) => {
    const { certificate, grants, party } = candidate
    const own = judgeRecord(origin, fabric, certificate, record)
    const prefixes = judgePrefixes(origin, fabric, certificate, grants, record, {
      granted: (prefix) => elsewhere(granted.get(prefix) ?? [], party.site),
      lengths: (family) => [...lengths[family]].sort((a, b) => a - b),
    })
    refusals.push(...own.refusals, ...prefixes.refusals)
    for (const prefix of prefixes.prefixes) group(advertised, prefix, party)
    return { origin, candidate, record, own, prefixes: prefixes.prefixes }
  })
  const gateways = drafts.map(({ origin, candidate, record, own, prefixes }) => {
    const { party } = candidate
    const objections = new Objections(origin, party.name)
    const shared: Prefix[] = []
    const effective = prefixes.filter((prefix) => {
      const claim = claimOf(party, advertised.get(prefix) ?? [])
      if (!claim.stands) conflict.refuseTwoSites(objections, party.name, prefix, claim)
      else if (claim.isShared) shared.push(prefix)
      return claim.stands
    })
    refusals.push(...objections.list)
    return gatewayOf(candidate, record, own, { prefixes: effective, shared })
  })
  const tenures = { identities: identityHolders, numbers: numberHolders, tunnelKeys }
  return { snapshot: { fabric, ...mapsOf(gateways) }, tenures }
}

/** Who holds each key; a key that nobody holds is not in there. */
/** Each once, in order. */
function namesOf(parties: readonly { readonly name: Name }[] = []): readonly Name[] {
  return [...new Set(parties.map(({ name }) => name))].sort()
}

function holders<K>(
  claims: ReadonlyMap<K, readonly { readonly name: Name }[]>,
  before: Holders<K>,
): Holders<K> {
  const after = new Map<K, Name>()
  for (const [key, claimants] of claims) {
    const names = claimants.map(({ name }) => name)
    const holder = holderOf(before.get(key), names)
    if (holder !== undefined) after.set(key, holder)
  }
  return after
}
