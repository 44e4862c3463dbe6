/** The metadata service of the VM, as agent/cloud asks it. Tests have one on a port of their own. */
import { connect } from 'node:net'
import { MetadataClient } from '../cloud/metadata-http.ts'

/** Asking takes no longer, in ms, all requests together. */
const limitMs = 10_000

/** `at`: instead of the cloud's own address. */
export function metadataClient(object: string, at: string | undefined, signal: AbortSignal): MetadataClient {
  const limited = AbortSignal.any([signal, AbortSignal.timeout(limitMs)])
  if (at === undefined) return new MetadataClient({ object, signal: limited })
  const { hostname, port } = new URL(at)
  const dial = () => connect({ host: hostname, port: Number(port) })
  return new MetadataClient({ object, signal: limited, dial })
}
