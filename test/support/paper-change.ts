/**
 * Two states of three gateways that are not there, g50 and g51 at one site and g60 at another: between them changes an
 * object of nearly every kind. In `b`, against `a`, g50 has another key, endpoint and prefixes; g51, on the second plane, is
 * not withdrawn, which makes a device and a group of two members; and g60 is on the segment `lan`.
 */
import type { Document } from '../../agent/model/document.ts'
import { address, prefix } from '../../agent/model/prefix.ts'
import { certificateDocument, recordDocument, tunnelKeysOf } from './documents.ts'
import { paperGateway } from './fault.ts'

/** For a fabric with lanFabric of pair.ts. */
export function paperChange(state: 'a' | 'b', serial: number): readonly Document[] {
  const of = { fabric: 'lab', serial }
  const shared = [prefix('10.50.0.0/16'), prefix('fd00:50::/48')]
  const site = { name: 'site-50', provider: '', region: '', labels: {} }
  const at = (last: number) => ({
    endpoints: [{ underlay: 'wan', address: address(`192.0.2.${last}`), port: 51820 }],
    tunnelKeys: tunnelKeysOf(`g${last}`),
  })
  return [
    ...paperGateway(state, serial),
    certificateDocument(51, { ...of, site, plane: 1, prefixes: shared.map((each) => ({ prefix: each })) }),
    recordDocument(51, {
      ...of,
      ...at(52),
      prefixes: shared,
      state: state === 'a' ? 'withdrawn' : 'active',
    }),
    certificateDocument(60, { ...of, networks: [{ name: 'lan' }] }),
    recordDocument(60, { ...of, ...at(60), networks: state === 'a' ? [] : [{ name: 'lan' }] }),
  ]
}
