/** A gateway while it is judged (roster.ts). */
import type { Certificate, GatewayRecord, Name } from '../model/fabric.ts'
import type { Gateway } from '../model/gateway.ts'
import type { Prefix } from '../model/prefix.ts'
import type { Validity } from './moment.ts'
import type { Refusal } from './refusal.ts'
import type { CertificateVerdict, RecordVerdict } from './rule.ts'

export interface Sourced<P> {
  readonly origin: string
  readonly payload: P
}

/** A gateway while it is judged: its documents, what it claims at each stage, and what was refused at each. */
export interface Entry {
  readonly name: Name
  certificate?: Sourced<Certificate>
  record?: Sourced<GatewayRecord>
  /** As judged last. */
  validity?: Validity
  verdict?: CertificateVerdict
  /** Keys held in the indexes. */
  identity: readonly string[]
  numbers: readonly number[]
  planes: readonly string[]
  grants: readonly Prefix[]
  /** Lengths of the grants with a maxLength, and the site for which the grants are held. */
  open: readonly number[]
  grantedTo: Name
  keys: readonly string[]
  advertised: readonly Prefix[]
  /** As Party, while the certificate stands. */
  number: number
  site: Name
  /** As Claimant. */
  shares: boolean
  distinct: boolean
  certified: boolean
  alive: boolean
  own?: RecordVerdict
  gateway?: Gateway
  readonly refusals: Record<Stage, readonly Refusal[]>
}

export type Stage = 'certificate' | 'distinct' | 'plane' | 'keys' | 'prefixes' | 'sites'

export function newEntry(name: Name): Entry {
  const none = { identity: [], numbers: [], planes: [], grants: [], open: [], keys: [], advertised: [] }
  const refusals = { certificate: [], distinct: [], plane: [], keys: [], prefixes: [], sites: [] }
  return {
    name,
    ...none,
    number: 0,
    site: '',
    shares: false,
    grantedTo: '',
    distinct: false,
    certified: false,
    alive: false,
    refusals,
  }
}
