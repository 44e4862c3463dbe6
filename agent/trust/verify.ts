/**
 * The specification of what a set of documents means: all of them in, the snapshot and the refusals out. Plain passes over
 * everything, one rule after another. The running agent uses ledger.ts, which does the same work for what changed only;
 * a property test holds the two together.
 */
import type { Delivered } from '../model/document.ts'
import type { Certificate, GatewayRecord, Name } from '../model/fabric.ts'
import type { Snapshot } from '../model/gateway.ts'
import { familyOf, lengthOf } from '../model/prefix.ts'
import type { Family, Prefix } from '../model/prefix.ts'
import * as conflict from './conflict.ts'
import { elsewhere, lowest, rivalsOf } from './conflict.ts'
import type { Party } from './conflict.ts'
import { isRefusal, parseDocument } from './parse.ts'
import { compareRefusals } from './refusal.ts'
import type { Refusal } from './refusal.ts'
import { foreign, judgeCertificate, judgePrefixes, judgeRecord, Objections } from './rule.ts'
import type { CertificateVerdict } from './rule.ts'
import { gatewayOf, group, groups, mapsOf } from './snapshot.ts'
import { digestOf, newest, subjectOf } from './subject.ts'
import type { Held } from './subject.ts'
import { holderOf, noMarks } from './tenure.ts'
import type { Holders, Marks } from './tenure.ts'

export interface Verdict {
  /** Undefined without a fabric document. */
  readonly snapshot: Snapshot | undefined
  /** In order of origin and rule. */
  readonly refusals: readonly Refusal[]
  /** Who holds what now: in for the next judgement. */
  readonly marks: Marks
  /** The moment it was judged for, Unix ms. */
  readonly nowMs: number
}

type Candidate = CertificateVerdict & {
  readonly origin: string
  readonly certificate: Certificate
  readonly party: Party
}

/**
 * `nowMs` (Unix) is only noted: dates are written and not judged before documents are signed. `marks`: those of the verdict
 * before, where there was one.
 */
export function verify(documents: readonly Delivered[], nowMs: number, marks = noMarks): Verdict {
  const refusals: Refusal[] = []
  const subjects = new Map<string, Held[]>()
  for (const delivered of documents) {
    const document = parseDocument(delivered)
    if (isRefusal(document)) refusals.push(document)
    else group(subjects, subjectOf(document), { ...delivered, document, digest: digestOf(delivered.bytes) })
  }
  const winners: Held[] = []
  for (const held of subjects.values()) {
    const result = newest(held)
    if (result.winner !== undefined) winners.push(result.winner)
    if (result.winner?.document.type !== 'request') refusals.push(...result.refusals)
  }
  const { snapshot, marks: after } = judge(winners, marks, refusals)
  return { snapshot, refusals: refusals.sort(compareRefusals), marks: after, nowMs }
}

function judge(
  winners: readonly Held[],
  marks: Marks,
  refusals: Refusal[],
): Pick<Verdict, 'snapshot' | 'marks'> {
  const fabric = winners.flatMap(({ document }) => (document.type === 'fabric' ? [document.payload] : []))[0]
  if (fabric === undefined) return { snapshot: undefined, marks }

  // Certificates, each by itself.
  let candidates: Candidate[] = []
  const certificates = new Set<Name>()
  for (const { origin, document } of winners) {
    if (document.type !== 'certificate') continue
    const certificate = document.payload
    if (certificate.fabric !== fabric.fabric) {
      refusals.push(foreign(origin, 'certificate', certificate.gateway, certificate.fabric, fabric.fabric))
      continue
    }
    certificates.add(certificate.gateway)
    const verdict = judgeCertificate(origin, fabric, certificate)
    refusals.push(...verdict.refusals)
    const party = { name: certificate.gateway, number: certificate.number, site: certificate.site.name }
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
    const identical = rivalsOf(name, identities.get(identity) ?? [], identityHolders.get(identity))
    if (identical !== undefined) conflict.refuseIdentity(objections, name, identical)
    const numbered = rivalsOf(name, numbers.get(number) ?? [], numberHolders.get(number))
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
    if (record.fabric !== fabric.fabric) {
      refusals.push(foreign(origin, 'record', record.gateway, record.fabric, fabric.fabric))
      continue
    }
    const objections = new Objections(origin, record.gateway)
    if (!certificates.has(record.gateway)) conflict.refuseUncertified(objections, record.gateway)
    refusals.push(...objections.list)
    const candidate = certified.get(record.gateway)
    if (objections.list.length > 0 || candidate === undefined || record.state === 'withdrawn') continue
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
      const same = rivalsOf(record.gateway, keys.get(key) ?? [], tunnelKeys.get(key))
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
  const advertised = new Map<Prefix, Party[]>()
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
    const effective = prefixes.filter((prefix) => {
      const holder = lowest(advertised.get(prefix) ?? [])
      if (holder === undefined || holder.site === party.site) return true
      conflict.refuseTwoSites(objections, party.name, prefix, holder)
      return false
    })
    refusals.push(...objections.list)
    return gatewayOf(candidate, record, own, effective)
  })
  const after = { identities: identityHolders, numbers: numberHolders, tunnelKeys }
  return { snapshot: { fabric, ...mapsOf(gateways) }, marks: after }
}

/** Who holds each key; a key that nobody holds is not in there. */
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
