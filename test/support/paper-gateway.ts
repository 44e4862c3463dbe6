/** A gateway on paper: the documents of one that is not there, in a fabric over the one underlay `wan`. */
import type { Document } from '../../agent/model/document.ts'
import type { GatewayRecord } from '../../agent/model/fabric.ts'
import { address, prefix } from '../../agent/model/prefix.ts'
import { certificateDocument, recordDocument } from './documents.ts'

/** Number `number` of the fabric `lab`, with 10.NUMBER.0.0/16. */
export function paperGateway(
  number: number,
  serial: number,
  change: Partial<GatewayRecord> = {},
): readonly Document[] {
  const endpoints = [{ underlay: 'wan', address: address(`192.0.2.${number}`), port: 51820 }]
  const { prefixes = [prefix(`10.${number}.0.0/16`)] } = change
  return [
    certificateDocument(number, {
      fabric: 'lab',
      serial,
      prefixes: prefixes.map((each) => ({ prefix: each })),
      site: { name: `site-${number}`, provider: '', region: '', labels: {} },
    }),
    recordDocument(number, { fabric: 'lab', serial, endpoints, ...change }),
  ]
}
