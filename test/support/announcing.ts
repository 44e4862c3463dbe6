/** What gateway g1 of site s1 is known by to who speaks for it: its keys, and a configuration with nothing special in it. */
import type { Config } from '../../agent/model/config.ts'
import type { Document } from '../../agent/model/document.ts'
import { prefix } from '../../agent/model/prefix.ts'
import { sealDocument } from '../../agent/trust/parse.ts'
import { authority, identityKeyOf, identityOf, tunnelKeysOf } from './documents.ts'

export const ownKeys = {
  identity: identityOf('g1'),
  generation: 0,
  tunnelKeys: () => tunnelKeysOf('g1'),
  seal: (document: Document) => sealDocument(document, identityKeyOf('g1')),
  claimProof: () => '',
}

export function ownConfig(change: Pick<Config, 'registry'> & Partial<Config>): Config {
  return {
    file: '/etc/linkspan/config.yml',
    fabric: 'prod',
    authority,
    site: { name: 's1', provider: '', region: '', labels: {} },
    own: { gateway: 'g1', site: 's1', exclude: [], networks: [], services: [], registryAddresses: [] },
    prefixes: [prefix('10.1.0.0/16')],
    metrics: false,
    ...change,
  }
}
