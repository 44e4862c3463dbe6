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
import { elsewhere, lowest } from './conflict.ts'
import type { Party } from './conflict.ts'
import { isRefusal, parseDocument } from './parse.ts'
import { compareRefusals } from './refusal.ts'
import type { Refusal } from './refusal.ts'
import { foreign, judgeCertificate, judgePrefixes, judgeRecord, Objections } from './rule.ts'
import type { CertificateVerdict } from './rule.ts'
import { gatewayOf, group, groups, mapsOf } from './snapshot.ts'
import { digestOf, newest, subjectOf } from './subject.ts'
import type { Held } from './subject.ts'

export interface Verdict {
  /** Undefined without a fabric document. */
  readonly snapshot: Snapshot | undefined
  /** In order of origin and rule. */
  readonly refusals: readonly Refusal[]
  /** The moment it was judged for, Unix ms. */
  readonly nowMs: number
}

type Candidate = CertificateVerdict & {
  readonly origin: string
  readonly certificate: Certificate
  readonly party: Party
}

/** `nowMs` (Unix) is only noted: dates are written and not judged before documents are signed. */
export function verify(documents: readonly Delivered[], nowMs: number): Verdict {
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
  const snapshot = snapshotOf(winners, refusals)
  return { snapshot, refusals: refusals.sort(compareRefusals), nowMs }
}

function snapshotOf(winners: readonly Held[], refusals: Refusal[]): Snapshot | undefined {
  const fabric = winners.flatMap(({ document }) => (document.type === 'fabric' ? [document.payload] : []))[0]
  if (fabric === undefined) return undefined

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
  const identities = groups(candidates, ({ certificate }) => certificate.identity)
  const numbers = groups(candidates, ({ certificate }) => certificate.number)
  candidates = candidates.filter(({ origin, certificate, party: { name } }) => {
    const objections = new Objections(origin, name)
    const identical = othersOf(identities.get(certificate.identity), name)
    if (identical.length > 0) conflict.refuseIdentity(objections, name, identical)
    const numbered = othersOf(numbers.get(certificate.number), name)
    if (numbered.length > 0) conflict.refuseNumber(objections, name, certificate.number, numbered)
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
  const keys = new Map<string, Name[]>()
  for (const { record } of speakers) {
    for (const key of Object.values(record.tunnelKeys)) group(keys, key, record.gateway)
  }
  speakers = speakers.filter(({ origin, record }) => {
    const objections = new Objections(origin, record.gateway)
    for (const [index, key] of Object.entries(record.tunnelKeys)) {
      const others = (keys.get(key) ?? []).filter((name) => name !== record.gateway)
      if (others.length > 0) conflict.refuseTunnelKey(objections, record.gateway, index, others)
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
  return { fabric, ...mapsOf(gateways) }
}

function othersOf(candidates: readonly Candidate[] | undefined, name: Name): Name[] {
  return (candidates ?? []).map(({ party }) => party.name).filter((other) => other !== name)
}
