/**
 * The gateways of a fabric, kept up to date as their documents change: the rules of rule.ts in the stages of verify.ts, but
 * only for gateways that changed or share a claim (identity, number, plane, tunnel key, prefix) with one that did.
 *
 * Every stage has an index of claims; where only one can have a thing, who had it keeps it (tenure.ts). A stage first moves the claims of the gateways that reach it, then judges those and
 * all who hold a claim that moved. So a changed record costs its own prefixes, whatever the size of the fabric.
 */
import type { Certificate, Fabric, GatewayRecord, Grant, Name } from '../model/fabric.ts'
import type { Gateway } from '../model/gateway.ts'
import { familyOf, lengthOf, widen } from '../model/prefix.ts'
import type { Family, Prefix } from '../model/prefix.ts'
import { Claims } from './claims.ts'
import * as conflict from './conflict.ts'
import { elsewhere, lowest } from './conflict.ts'
import { newEntry } from './roster-entry.ts'
import type { Entry, Sourced, Stage } from './roster-entry.ts'
import { validityOf } from './moment.ts'
import type { Moment } from './moment.ts'
import type { RefusalList } from './refusal-list.ts'
import type { Refusal } from './refusal.ts'
import { judgeCertificate, judgePrefixes, judgeRecord, Objections } from './rule.ts'
import { claimOf } from './sharing.ts'
import { gatewayOf, sameGateway } from './snapshot.ts'
import { Tenure } from './tenure.ts'
import type { Tenures } from './tenure.ts'

/** Gateways judged between two chances for the event loop. */
const step = 8

export class Roster {
  readonly #fabric: Fabric
  readonly #list: RefusalList
  readonly #self: Name | undefined
  #moment: Moment = { sureMs: 0, likelyMs: 0 }
  readonly #entries = new Map<Name, Entry>()
  readonly #refusing = new Set<Entry>()
  readonly #identities: Tenure<string, Entry>
  readonly #numbers: Tenure<number, Entry>
  readonly #planes = new Claims<string, Entry>()
  readonly #grants = new Claims<Prefix, Entry>()
  readonly #keys: Tenure<string, Entry>
  readonly #advertised = new Claims<Prefix, Entry>()
  /** Certified prefixes by length, and those of them with a maxLength. */
  readonly #lengths: Record<Family, Map<number, number>> = { 4: new Map(), 6: new Map() }
  readonly #openLengths = new Map<number, number>()
  #touched = new Set<Entry>()

  /** `before`: whose holders of identities, numbers and keys stay. `self`: the gateway that is barred rather than refused. */
  constructor(fabric: Fabric, list: RefusalList, before: Roster | Tenures, self?: Name) {
    this.#fabric = fabric
    this.#list = list
    this.#self = self
    if (before instanceof Roster) {
      this.#identities = new Tenure((key) => before.#identities.holder(key))
      this.#numbers = new Tenure((key) => before.#numbers.holder(key))
      this.#keys = new Tenure((key) => before.#keys.holder(key))
    } else {
      this.#identities = new Tenure((key) => before.identities.get(key))
      this.#numbers = new Tenure((key) => before.numbers.get(key))
      this.#keys = new Tenure((key) => before.tunnelKeys.get(key))
    }
  }

  /** The documents in force of a gateway. The record is that of the identity that the certificate names. */
  set(
    name: Name,
    certificate: Sourced<Certificate> | undefined,
    record: Sourced<GatewayRecord> | undefined,
  ): void {
    const entry = this.#touch(name)
    delete entry.certificate
    delete entry.record
    if (certificate !== undefined) entry.certificate = certificate
    if (record !== undefined) entry.record = record
  }

  /** Who holds what several claim. */
  holders(): Tenures {
    return {
      identities: this.#identities.holders(),
      numbers: this.#numbers.holders(),
      tunnelKeys: this.#keys.holders(),
    }
  }

  refusalsOf(name: Name): readonly Refusal[] {
    return Object.values(this.#entries.get(name)?.refusals ?? {}).flat()
  }

  /** Another takes its place: nothing is refused by this one any more. */
  dissolve(): void {
    for (const { refusals } of this.#refusing)
      for (const refusal of Object.values(refusals).flat()) this.#list.end(refusal)
    this.#refusing.clear()
  }

  /** Judges what was touched or met its date; answers the gateways that are different now, undefined where one is gone. */
  *settle(moment: Moment): Generator<void, Map<Name, Gateway | undefined>> {
    this.#moment = moment
    for (const entry of this.#entries.values()) {
      const { certificate, validity } = entry
      if (certificate !== undefined && validity !== validityOf(certificate.payload, moment))
        this.#touched.add(entry)
    }
    const touched = this.#touched
    this.#touched = new Set()
    const standing = yield* this.#judgeCertificates(touched)
    const speaking = yield* this.#judgePlanes(standing)
    const alive = yield* this.#judgeRecords(speaking)
    const changed = yield* this.#judgeSites(alive)
    for (const entry of touched) {
      if (entry.certificate === undefined && entry.record === undefined) this.#entries.delete(entry.name)
    }
    return changed
  }

  #touch(name: Name): Entry {
    const found = this.#entries.get(name) ?? newEntry(name)
    this.#entries.set(name, found)
    this.#touched.add(found)
    return found
  }

  /** Certificates by themselves, then identity and number. Answers who goes on to be judged. */
  *#judgeCertificates(touched: ReadonlySet<Entry>): Generator<void, Set<Entry>> {
    const judged = new Set(touched)
    let count = 0
    for (const entry of touched) {
      const { certificate } = entry
      delete entry.verdict
      if (certificate !== undefined) {
        entry.validity = validityOf(certificate.payload, this.#moment)
        const verdict = judgeCertificate(certificate.origin, this.#fabric, certificate.payload, {
          validity: entry.validity,
          isSelf: entry.name === this.#self,
        })
        this.#note(entry, 'certificate', verdict.refusals)
        if (verdict.accepted) entry.verdict = verdict
        entry.number = certificate.payload.number
        entry.site = certificate.payload.site.name
        entry.shares = certificate.payload.grants.includes('shared')
      } else this.#note(entry, 'certificate', [])
      const claims = entry.verdict === undefined ? undefined : certificate?.payload
      const identity = claims === undefined ? [] : [claims.identity]
      for (const key of this.#identities.move(entry, entry.identity, identity))
        addAll(judged, this.#identities.of(key))
      entry.identity = identity
      const numbers = claims === undefined ? [] : [claims.number]
      for (const key of this.#numbers.move(entry, entry.numbers, numbers))
        addAll(judged, this.#numbers.of(key))
      entry.numbers = numbers
      if (++count % step === 0) yield
    }
    yield* this.#identities.settle()
    yield* this.#numbers.settle()
    const next = new Set(touched)
    for (const entry of judged) {
      if (++count % step === 0) yield
      const { certificate, verdict, name, number } = entry
      const objections = new Objections(certificate?.origin ?? '', name)
      if (certificate !== undefined && verdict !== undefined) {
        const identical = rivals(this.#identities, certificate.payload.identity, name)
        if (identical !== undefined) conflict.refuseIdentity(objections, name, identical)
        const numbered = rivals(this.#numbers, number, name)
        if (numbered !== undefined) conflict.refuseNumber(objections, name, number, numbered)
      }
      this.#note(entry, 'distinct', objections.list)
      const distinct = verdict !== undefined && objections.list.length === 0
      if (distinct !== entry.distinct) next.add(entry)
      entry.distinct = distinct
    }
    return next
  }

  /** One gateway a plane; then the certified prefixes. Answers who goes on. */
  *#judgePlanes(standing: ReadonlySet<Entry>): Generator<void, Set<Entry>> {
    const judged = new Set(standing)
    let steps = 0
    for (const entry of standing) {
      if (++steps % step === 0) yield
      const payload = entry.distinct ? entry.certificate?.payload : undefined
      const planes = payload === undefined ? [] : [`${payload.plane} ${payload.site.name}`]
      for (const key of this.#planes.move(entry, entry.planes, planes)) addAll(judged, this.#planes.of(key))
      // The same claim by another number can turn the decision too.
      for (const key of planes) addAll(judged, this.#planes.of(key))
      entry.planes = planes
    }
    const next = new Set(standing)
    for (const entry of judged) {
      if (++steps % step === 0) yield
      const { certificate } = entry
      const objections = new Objections(certificate?.origin ?? '', entry.name)
      const [plane] = entry.planes
      const holder = plane === undefined ? undefined : lowest(this.#planes.of(plane))
      if (certificate !== undefined && holder !== undefined && holder !== entry) {
        conflict.refusePlane(objections, entry, certificate.payload.plane, holder)
      }
      this.#note(entry, 'plane', objections.list)
      const certified = entry.distinct && holder === entry
      if (certified !== entry.certified) next.add(entry)
      entry.certified = certified
    }
    const moved: Prefix[] = []
    for (const entry of next) {
      this.#moveGrants(entry, moved)
      if (++steps % step === 0) yield
    }
    for (const prefix of this.#openLengths.size === 0 ? [] : moved) {
      if (++steps % step === 0) yield
      // Whoever may cut more-specifics out of a wider grant around it is judged anew.
      for (const length of this.#openLengths.keys()) {
        if (length <= lengthOf(prefix)) addAll(next, this.#grants.of(widen(prefix, length)))
      }
    }
    return next
  }

  #moveGrants(entry: Entry, moved: Prefix[]): void {
    const grants = entry.certified ? (entry.verdict?.grants ?? []) : []
    const prefixes = grants.map(({ prefix }) => prefix)
    const changed = this.#grants.move(entry, entry.grants, prefixes)
    const gained = new Set(prefixes)
    for (const prefix of changed)
      count(this.#lengths[familyOf(prefix)], lengthOf(prefix), gained.has(prefix) ? 1 : -1)
    const open = openLengths(grants)
    for (const length of entry.open) count(this.#openLengths, length, -1)
    for (const length of open) count(this.#openLengths, length, 1)
    for (const prefix of entry.grantedTo === entry.site ? changed : new Set([...prefixes, ...changed]))
      moved.push(prefix)
    entry.open = open
    entry.grantedTo = entry.site
    entry.grants = prefixes
  }

  /** Records by themselves, tunnel keys, certified prefixes. Answers who goes on to the last stage. */
  *#judgeRecords(speaking: ReadonlySet<Entry>): Generator<void, Set<Entry>> {
    const judged = new Set(speaking)
    let steps = 0
    for (const entry of speaking) {
      if (++steps % step === 0) yield
      const { record } = entry
      const speaks = entry.certified && record !== undefined && record.payload.state !== 'withdrawn'
      const keys = speaks ? Object.values(record.payload.tunnelKeys) : []
      for (const key of this.#keys.move(entry, entry.keys, keys)) addAll(judged, this.#keys.of(key))
      entry.keys = keys
      entry.alive = speaks && entry.alive
    }
    yield* this.#keys.settle()
    const next = new Set<Entry>()
    const lengths = { 4: inOrder(this.#lengths[4]), 6: inOrder(this.#lengths[6]) }
    for (const entry of judged) {
      const { record, certificate } = entry
      const speaks = entry.certified && record !== undefined && record.payload.state !== 'withdrawn'
      const objections = new Objections(record?.origin ?? '', entry.name)
      for (const [index, key] of speaks ? Object.entries(record.payload.tunnelKeys) : []) {
        const same = rivals(this.#keys, key, entry.name)
        if (same !== undefined) conflict.refuseTunnelKey(objections, entry.name, index, same)
      }
      this.#note(entry, 'keys', objections.list)
      const alive = speaks && objections.list.length === 0
      if (alive === entry.alive && !speaking.has(entry)) continue
      entry.alive = alive
      next.add(entry)
      let advertised: readonly Prefix[] = []
      delete entry.own
      let refusals: readonly Refusal[] = []
      if (alive && certificate !== undefined) {
        const { origin, payload } = record
        entry.own = judgeRecord(origin, this.#fabric, certificate.payload, payload)
        const grants = entry.verdict?.grants ?? []
        const verdict = judgePrefixes(origin, this.#fabric, certificate.payload, grants, payload, {
          granted: (prefix) => elsewhere(sitesOf(this.#grants.of(prefix)), entry.site),
          lengths: (family) => lengths[family],
        })
        advertised = verdict.prefixes
        refusals = [...entry.own.refusals, ...verdict.refusals]
      }
      this.#note(entry, 'prefixes', refusals)
      for (const prefix of this.#advertised.move(entry, entry.advertised, advertised)) {
        addAll(next, this.#advertised.of(prefix))
      }
      entry.advertised = advertised
      if (++steps % step === 0) yield
    }
    // A gateway of another site or number speaks differently for the same prefixes.
    for (const entry of [...next]) {
      if (!speaking.has(entry)) continue
      if (++steps % step === 0) yield
      for (const prefix of entry.advertised) addAll(next, this.#advertised.of(prefix))
    }
    return next
  }

  /** One site a prefix. Answers what changed. */
  *#judgeSites(alive: ReadonlySet<Entry>): Generator<void, Map<Name, Gateway | undefined>> {
    const changed = new Map<Name, Gateway | undefined>()
    let steps = 0
    for (const entry of alive) {
      const { certificate, record, verdict, own } = entry
      const objections = new Objections(record?.origin ?? '', entry.name)
      let gateway: Gateway | undefined
      if (
        entry.alive &&
        certificate !== undefined &&
        record !== undefined &&
        verdict !== undefined &&
        own !== undefined
      ) {
        const shared: Prefix[] = []
        const effective = entry.advertised.filter((prefix) => {
          const claim = claimOf(entry, this.#advertised.of(prefix))
          if (!claim.stands) conflict.refuseTwoSites(objections, entry.name, prefix, claim)
          else if (claim.isShared) shared.push(prefix)
          return claim.stands
        })
        const { payload } = certificate
        gateway = gatewayOf(
          { certificate: payload, certified: verdict.certified, barred: verdict.barred },
          record.payload,
          own,
          { prefixes: effective, shared },
        )
      }
      this.#note(entry, 'sites', objections.list)
      if (++steps % step === 0) yield
      if (sameGateway(entry.gateway, gateway)) continue
      if (gateway === undefined) delete entry.gateway
      else entry.gateway = gateway
      changed.set(entry.name, gateway)
    }
    return changed
  }

  #note(entry: Entry, stage: Stage, refusals: readonly Refusal[]): void {
    if (refusals.length === 0 && entry.refusals[stage].length === 0) return
    for (const refusal of entry.refusals[stage]) this.#list.end(refusal)
    for (const refusal of refusals) this.#list.begin(refusal)
    entry.refusals[stage] = refusals
    if (Object.values(entry.refusals).some((list) => list.length > 0)) this.#refusing.add(entry)
    else this.#refusing.delete(entry)
  }
}

function addAll<T>(set: Set<T>, elements: Iterable<T>): void {
  for (const element of elements) set.add(element)
}

function rivals<K>(tenure: Tenure<K, Entry>, key: K, own: Name): conflict.Rivals | undefined {
  const holder = tenure.holder(key)
  return holder === own ? undefined : conflict.rivalsOf(own, tenure.names(key), holder)
}

function* sitesOf(entries: Iterable<Entry>): Generator<Name> {
  for (const { site } of entries) yield site
}

function openLengths(grants: readonly Grant[]): readonly number[] {
  return [
    ...new Set(grants.flatMap((grant) => (grant.maxLength === undefined ? [] : [lengthOf(grant.prefix)]))),
  ]
}

function count(counts: Map<number, number>, key: number, by: number): void {
  const sum = (counts.get(key) ?? 0) + by
  if (sum === 0) counts.delete(key)
  else counts.set(key, sum)
}

function inOrder(counts: ReadonlyMap<number, number>): readonly number[] {
  return [...counts.keys()].sort((a, b) => a - b)
}
