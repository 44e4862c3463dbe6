/**
 * What this gateway says of itself: its request while it has no certificate, its record once it has one. Written only
 * when it differs from what the registry holds, with the next serial (DESIGN "Trust").
 */
import type { Config } from '../model/config.ts'
import type { Document, Voucher } from '../model/document.ts'
import type { Certificate, Endpoint, Fabric, GatewayRecord } from '../model/fabric.ts'
import type { HostFacts } from '../model/host.ts'
import type { PublicKey } from '../model/key.ts'
import type { Own } from '../model/own.ts'
import type { Prefix } from '../model/prefix.ts'
import { contains, lengthOf } from '../model/prefix.ts'
import { sidesOf } from '../plan/underlay.ts'

/** What the key store shows of itself. */
export interface Keys {
  readonly identity: string
  readonly generation: number
  tunnelKeys(underlays: number): Record<string, PublicKey>
  /** A document as it travels, signed by the identity. */
  seal(document: Document): string
  /** The identity's word that it claims a voucher. */
  claimProof(voucher: Voucher): string
}

export type PublicKeys = Omit<Keys, 'seal' | 'claimProof'>

/** The one-time key of a voucher, from the file that it came in. */
export interface VoucherKey {
  readonly file: string
  /** Its public half, as vouchers name it. */
  readonly key: string
  /** A document as it travels, signed by it. */
  seal(document: Document): string
}

/** The same bytes each time, so that it does not matter how often it is said. */
export function claimOf(voucher: Voucher, keys: Pick<Keys, 'identity' | 'claimProof'>): Document {
  const { fabric, gateway, serial } = voucher
  const payload = { fabric, serial, gateway, voucher: serial, identity: keys.identity }
  return { type: 'claim', payload: { ...payload, proof: keys.claimProof(voucher) } }
}

export function requestOf(config: Config, keys: PublicKeys): Document {
  return {
    type: 'request',
    payload: {
      fabric: config.fabric,
      gateway: config.own.gateway,
      identity: keys.identity,
      site: config.site,
      prefixes: config.prefixes,
      networks: config.own.networks.map(({ name }) => ({ name })),
    },
  }
}

export interface Standing {
  readonly config: Config
  readonly keys: PublicKeys
  readonly fabric: Fabric
  readonly certificate: Certificate
  /** Own record as the registry holds it. */
  readonly record: GatewayRecord | undefined
  readonly own: Own
  readonly facts: HostFacts
  readonly isDraining: boolean
  readonly nowMs: number
}

/** The record to publish, or undefined where the registry's is right. */
export function recordToPublish(standing: Standing): Document | undefined {
  const { config, keys, fabric, certificate, record, own, facts, isDraining, nowMs } = standing
  const mtus = new Map(sidesOf(own, fabric, facts).map(({ name, mtu }) => [name, mtu]))
  const endpoints = own.endpoints
    .filter(({ underlay }) => fabric.underlays.some(({ name }) => name === underlay))
    .map(({ underlay, address, port, mtu }): Endpoint => {
      const known = mtu ?? mtus.get(underlay)
      return {
        underlay,
        ...(address === undefined ? {} : { address }),
        port,
        ...(known === undefined ? {} : { mtu: known }),
      }
    })
  const used = new Set(
    endpoints.map(({ underlay }) => fabric.underlays.findIndex(({ name }) => name === underlay)),
  )
  const tunnelKeys = Object.fromEntries(
    Object.entries(keys.tunnelKeys(fabric.underlays.length)).filter(([i]) => used.has((Number(i) >> 3) & 3)),
  )
  const granted = new Set(certificate.networks.map(({ name }) => name))
  const wanted: Omit<GatewayRecord, 'serial'> = {
    fabric: fabric.fabric,
    gateway: own.gateway,
    generation: keys.generation,
    tunnelKeys,
    endpoints,
    prefixes: advertised(config.prefixes, certificate),
    networks: own.networks.filter(({ name }) => granted.has(name)).map(({ name }) => ({ name })),
    weight: record?.weight ?? 1,
    // Who left the fabric does not come back by itself.
    state: record?.state === 'withdrawn' ? 'withdrawn' : isDraining ? 'draining' : 'active',
  }
  if (record !== undefined && sameRecord(record, wanted)) return undefined
  return { type: 'record', payload: { ...wanted, serial: Math.max((record?.serial ?? 0) + 1, nowMs) } }
}

/** What is configured as far as it is certified; where nothing is configured, all that is certified. */
function advertised(configured: readonly Prefix[], { prefixes }: Certificate): readonly Prefix[] {
  if (configured.length === 0) return prefixes.map(({ prefix }) => prefix)
  return configured.filter((wanted) =>
    prefixes.some(
      ({ prefix, maxLength }) =>
        contains(prefix, wanted) && lengthOf(wanted) <= (maxLength ?? lengthOf(prefix)),
    ),
  )
}

function sameRecord(record: GatewayRecord, wanted: Omit<GatewayRecord, 'serial'>): boolean {
  return canonical({ ...record, serial: 0 }) === canonical({ ...wanted, serial: 0 })
}

/** Nothing but its serial, if that, tells one from the other. */
export function sameContent(one: Document, other: Document): boolean {
  return (
    one.type === other.type &&
    canonical({ ...one.payload, serial: 0 }) === canonical({ ...other.payload, serial: 0 })
  )
}

/** JSON with keys in order. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) =>
    typeof member === 'object' && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  )
}
