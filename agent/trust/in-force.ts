/**
 * The documents in force, by subject: of each the newest that counted. What the registry no longer holds is in force all the
 * same, and since when it lacks it is kept.
 */
import type { Document, DocumentType, Signed } from '../model/document.ts'
import type { Certificate, Fabric, GatewayRecord, Name } from '../model/fabric.ts'
import type { Vanished } from './admission.ts'
import { compareText } from './refusal.ts'
import type { Sourced } from './roster-entry.ts'
import { gatewayOf, nameOf } from './subject.ts'
import type { Mark } from './subject.ts'
import { certificateBy } from './voucher.ts'

export interface Standing {
  readonly signed: Signed
  origin: string
  goneSinceMs?: number
}

type Payload<T extends DocumentType> = Extract<Document, { readonly type: T }>['payload']

export class InForce extends Map<string, Standing> {
  /** By subject: what counted last. */
  readonly #marks: ReadonlyMap<string, Mark>

  constructor(marks: ReadonlyMap<string, Mark>) {
    super()
    this.#marks = marks
  }

  get fabric(): Fabric | undefined {
    return this.#sourced('fabric', 'fabric')?.payload
  }

  *of(type: DocumentType): Generator<Signed> {
    for (const { signed } of this.values()) if (signed.document.type === type) yield signed
  }

  /** What the authority certified itself; where it never did, the voucher that was claimed. */
  certificate(gateway: Name): Sourced<Certificate> | undefined {
    const issued = this.#sourced('certificate', `certificate ${gateway}`)
    if (issued !== undefined || this.isOutranked(gateway)) return issued
    const voucher = this.voucher(gateway)
    const claim = voucher && this.#sourced('claim', `claim ${gateway} ${voucher.key}`)
    if (claim?.payload.voucher !== voucher?.serial || voucher === undefined || claim === undefined)
      return undefined
    return { origin: claim.origin, payload: certificateBy(voucher, claim.payload) }
  }

  voucher(gateway: Name): Payload<'voucher'> | undefined {
    return this.#sourced('voucher', `voucher ${gateway}`)?.payload
  }

  /** Of the identity that the gateway is certified for. */
  record(gateway: Name): Sourced<GatewayRecord> | undefined {
    const certificate = this.certificate(gateway)
    return certificate && this.#sourced('record', `record ${gateway} ${certificate.payload.identity}`)
  }

  document(type: 'certificate' | 'record' | 'voucher', gateway: Name): Document | undefined {
    if (type === 'voucher') return this.get(`voucher ${gateway}`)?.signed.document
    if (type === 'certificate') {
      const payload = this.certificate(gateway)?.payload
      return payload && { type, payload }
    }
    const payload = this.record(gateway)?.payload
    return payload && { type, payload }
  }

  /** True where the authority ever certified the gateway itself: then vouchers and claims are nothing to it. */
  isOutranked(gateway: Name): boolean {
    return this.#marks.has(`certificate ${gateway}`)
  }

  /** What the registry holds no longer, and that matters. */
  vanished(): readonly Vanished[] {
    const vanished: Vanished[] = []
    for (const { goneSinceMs, origin, signed } of this.values()) {
      if (goneSinceMs === undefined) continue
      const { document } = signed
      const gateway = gatewayOf(document)
      if (document.type === 'voucher' && this.isOutranked(document.payload.gateway)) continue
      vanished.push({
        origin,
        object: nameOf(document),
        ...(gateway === undefined ? {} : { gateway }),
        sinceMs: goneSinceMs,
      })
    }
    return vanished.sort((a, b) => compareText(a.object, b.object))
  }

  #sourced<T extends DocumentType>(type: T, subject: string): Sourced<Payload<T>> | undefined {
    const standing = this.get(subject)
    const document = standing?.signed.document
    if (standing === undefined || document?.type !== type) return undefined
    return { origin: standing.origin, payload: document.payload as Payload<T> }
  }
}
