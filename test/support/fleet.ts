/**
 * Large fabrics for benches: `gateways` single-gateway sites sharing `prefixes` /24 or longer prefixes that do not
 * aggregate, as file-registry documents. Deterministic: the same numbers give the same fleet.
 */
import { createHash } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Document } from '../../agent/model/document.ts'
import type { GatewayRecord } from '../../agent/model/fabric.ts'
import { parsePublicKey } from '../../agent/model/key.ts'
import type { PublicKey } from '../../agent/model/key.ts'
import { address, prefix } from '../../agent/model/prefix.ts'
import type { Prefix } from '../../agent/model/prefix.ts'
import { certificateOf, fabricOf, identityOf, placeOf, recordOf, sealed } from './documents.ts'

export interface FleetOptions {
  readonly gateways: number
  readonly prefixes: number
  /** Name of the first gateway, the one under test; its certificate takes this identity. */
  readonly own: { readonly gateway: string; readonly site: string; readonly identity: string }
}

export const fleetFabric = 'bench'
const fewGateways = 100
const rareProbe = { port: 18620, intervalMs: 60_000, retryMs: 60_000, downAfter: 100, underlays: {} }
/** Every document of the fleet is of this moment and valid from then on. */
const since = 1763700000000
const anyCertificate = certificateOf(1)
const anyRecord = recordOf(1)

/**
 * Prefix n of the fleet: every second /24 of 10/8 to 41/8, so that no two are siblings (nothing aggregates).
 */
export function fleetPrefix(n: number): Prefix {
  const block = n * 2
  return prefix(`${10 + (block >> 16)}.${(block >> 8) & 255}.${block & 255}.0/24`)
}

export function fleetName(n: number): string {
  return `gw-${String(n).padStart(5, '0')}`
}

/** A key nobody has the private half of: enough for a peer that never answers. */
export function fleetKey(name: string, index: number): PublicKey {
  const key = parsePublicKey(createHash('sha256').update(`${name} ${index}`).digest('base64'))
  if (key === undefined) throw new TypeError('not a key')
  return key
}

/** The record of gateway n, signed by the identity of its name (documents.ts). */
export function fleetRecord(
  n: number,
  prefixes: readonly Prefix[],
  change: Partial<GatewayRecord> = {},
): Document {
  const gateway = fleetName(n)
  const tunnelKeys = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [i, fleetKey(gateway, i)]))
  const payload = {
    ...anyRecord,
    fabric: fleetFabric,
    serial: since + n,
    gateway,
    tunnelKeys,
    endpoints: [fleetEndpoint(n)],
    prefixes,
    ...change,
  }
  return { type: 'record', payload }
}

/** The record of the gateway under test, where no agent writes it. */
export function ownRecord(own: FleetOptions['own'], change: Partial<GatewayRecord>): Document {
  return {
    type: 'record',
    payload: { ...anyRecord, fabric: fleetFabric, serial: since, gateway: own.gateway, ...change },
  }
}

/** In 198.18.0.0/15, which is for benches (RFC 2544): nobody is there. */
export function fleetEndpoint(n: number, port = 51820): GatewayRecord['endpoints'][number] {
  return { underlay: 'internet', address: address(`198.18.${n >> 8}.${n & 255}`), port, mtu: 1500 }
}

/** Prefixes of gateway n (from 1; 0 is the one under test and has its own). */
export function prefixesOf(n: number, options: Pick<FleetOptions, 'gateways' | 'prefixes'>): Prefix[] {
  const each = Math.floor(options.prefixes / options.gateways)
  return Array.from({ length: each }, (_, i) => fleetPrefix((n - 1) * each + i))
}

/** The fabric document first. */
export function fleet(options: FleetOptions): Document[] {
  const { gateway, site, identity } = options.own
  const documents: Document[] = [
    {
      type: 'fabric',
      payload: fabricOf({
        fabric: fleetFabric,
        serial: since,
        freshUntil: 4102444800000,
        networks: [],
        // Nobody of a fleet on paper answers: hundreds of tunnels that are called all the time are what no gateway has.
        ...(options.gateways > fewGateways ? { probe: rareProbe } : {}),
      }),
    },
    certificate(1, gateway, site, identity, [prefix('172.20.0.0/16')]),
  ]
  for (let n = 1; n <= options.gateways; n++) {
    const prefixes = prefixesOf(n, options)
    const name = fleetName(n)
    documents.push(certificate(n + 1, name, `site-${n}`, identityOf(name), [...prefixes, spare(n)]))
    documents.push(fleetRecord(n, prefixes))
  }
  return documents
}

/** A certified prefix that gateway n does not advertise at first. */
export function spare(n: number): Prefix {
  return prefix(`60.${n >> 8}.${n & 255}.0/24`)
}

function certificate(
  number: number,
  gateway: string,
  site: string,
  identity: string,
  prefixes: readonly Prefix[],
): Document {
  const payload = {
    ...anyCertificate,
    fabric: fleetFabric,
    serial: since + number,
    gateway,
    number,
    site: { name: site, provider: 'bench', region: 'bench', labels: {} },
    identity,
    notBefore: since,
    prefixes: prefixes.map((each) => ({ prefix: each })),
  }
  return { type: 'certificate', payload }
}

/** Signed and in their places. */
export async function writeFleet(directory: string, documents: readonly Document[]): Promise<void> {
  for (const folder of ['certificates', 'records', 'requests']) {
    await mkdir(path.join(directory, folder), { recursive: true })
  }
  for (const document of documents) {
    await writeFile(path.join(directory, placeOf(document)), sealed(document))
  }
}
