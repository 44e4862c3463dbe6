/**
 * Large fabrics for benches: `gateways` single-gateway sites sharing `prefixes` /24 or longer prefixes that do not
 * aggregate, as file-registry documents. Deterministic: the same numbers give the same fleet.
 */
import { createHash } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'

export interface FleetOptions {
  readonly gateways: number
  readonly prefixes: number
  /** Name of the first gateway, the one under test; its certificate takes this identity. */
  readonly own: { readonly gateway: string; readonly site: string; readonly identity: string }
}

export interface FleetDocument {
  readonly file: string
  readonly typ: string
  readonly payload: Record<string, unknown>
}

const fabric = 'bench'

/**
 * Prefix n of the fleet: every second /24 of 10/8 to 41/8, so that no two are siblings (nothing aggregates).
 */
export function fleetPrefix(n: number): string {
  const block = n * 2
  return `${10 + (block >> 16)}.${(block >> 8) & 255}.${block & 255}.0/24`
}

export function fleetName(n: number): string {
  return `gw-${String(n).padStart(5, '0')}`
}

/** A key nobody has the private half of: enough for a peer that never answers. */
export function fleetKey(name: string, index: number): string {
  return createHash('sha256').update(`${name} ${index}`).digest('base64')
}

export function fleetRecord(
  n: number,
  prefixes: readonly string[],
  change: Record<string, unknown> = {},
): FleetDocument {
  const gateway = fleetName(n)
  const tunnelKeys: Record<string, string> = {}
  for (let i = 0; i < 8; i++) tunnelKeys[String(i)] = fleetKey(gateway, i)
  return {
    file: `records/${gateway}.json`,
    typ: 'linkspan-record',
    payload: {
      fabric,
      serial: 1763700000000 + n,
      gateway,
      generation: 0,
      tunnelKeys,
      // TEST-NET-2 and -3 (RFC 5737): nobody is there.
      endpoints: [{ underlay: 'internet', address: `198.18.${n >> 8}.${n & 255}`, port: 51820, mtu: 1500 }],
      prefixes,
      networks: [],
      weight: 1,
      state: 'active',
      ...change,
    },
  }
}

/** Prefixes of gateway n (from 1; 0 is the one under test and has its own). */
export function prefixesOf(n: number, options: FleetOptions): string[] {
  const each = Math.floor(options.prefixes / options.gateways)
  return Array.from({ length: each }, (_, i) => fleetPrefix((n - 1) * each + i))
}

export function fleet(options: FleetOptions): FleetDocument[] {
  const documents: FleetDocument[] = [
    {
      file: 'fabric.json',
      typ: 'linkspan-fabric',
      payload: {
        fabric,
        serial: 1763700000000,
        freshUntil: 4102444800000,
        overlay: { ipv4: '100.127.0.0/16', ipv6: 'fd4c:53aa:bb00::/48' },
        underlays: [{ name: 'internet' }],
        prefer: ['internet'],
        mesh: 'all',
        networks: [],
        policy: { default: 'allow', rules: [] },
        probe: { port: 18620, intervalMs: 200, retryMs: 60, downAfter: 10, underlays: {} },
        rotation: { days: 0 },
        removed: [],
        revoked: { serials: [], identities: [] },
      },
    },
    certificate(1, options.own.gateway, options.own.site, options.own.identity, ['172.20.0.0/16']),
  ]
  for (let n = 1; n <= options.gateways; n++) {
    const prefixes = prefixesOf(n, options)
    const identity = createHash('sha256').update(fleetName(n)).digest('base64url')
    documents.push(certificate(n + 1, fleetName(n), `site-${n}`, identity, [...prefixes, spare(n)]))
    documents.push(fleetRecord(n, prefixes))
  }
  return documents
}

/** A certified prefix that gateway n does not advertise at first. */
export function spare(n: number): string {
  return `60.${n >> 8}.${n & 255}.0/24`
}

function certificate(
  number: number,
  gateway: string,
  site: string,
  identity: string,
  prefixes: readonly string[],
): FleetDocument {
  return {
    file: `certificates/${gateway}.json`,
    typ: 'linkspan-certificate',
    payload: {
      fabric,
      serial: 1763700000000 + number,
      gateway,
      number,
      site: { name: site, provider: 'bench', region: 'bench', labels: {} },
      plane: 0,
      identity,
      notBefore: 1763700000000,
      notAfter: 4102444800000,
      prefixes: prefixes.map((prefix) => ({ prefix })),
      networks: [],
      grants: [],
    },
  }
}

export async function writeFleet(directory: string, documents: readonly FleetDocument[]): Promise<void> {
  for (const folder of ['certificates', 'records', 'requests']) {
    await mkdir(path.join(directory, folder), { recursive: true })
  }
  for (const document of documents) {
    await writeFile(path.join(directory, document.file), encode(document))
  }
}

export function encode(document: FleetDocument): string {
  return JSON.stringify({ typ: document.typ, payload: document.payload })
}
