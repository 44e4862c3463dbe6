/**
 * The fabric document as people write it: YAML, with everything optional that has a good default. The result goes through
 * the same decoder as every fabric document, and its problems are shown at their place in the YAML.
 */
import type { Fabric } from '../model/fabric.ts'
import { decode } from '../trust/decode.ts'
import { fabric } from '../trust/payload.ts'
import type { YamlFile } from './yaml.ts'

/** After so long without a new document, gateways raise an alarm and admit no unknown gateway. */
const freshMs = 90 * 24 * 3600 * 1000

const defaults = {
  overlay: { ipv4: '100.127.0.0/16', ipv6: 'fd4c:53aa:bb00::/48' },
  underlays: [{ name: 'internet' }],
  mesh: 'all',
  networks: [],
  removed: [],
}
const nested = {
  policy: { default: 'allow', rules: [] },
  probe: { port: 18620, intervalMs: 200, retryMs: 60, downAfter: 10, underlays: {} },
  rotation: { days: 0 },
  revoked: { serials: [], identities: [] },
}

/**
 * The document that follows `last` (its serial; undefined: the first one) at `nowMs`. Throws config-invalid with all
 * problems of the file.
 */
export function fabricOf(yaml: YamlFile, last: number | undefined, nowMs: number): Fabric {
  const { value } = yaml
  const serial = Math.max((last ?? 0) + 1, nowMs)
  const filled = isObject(value) ? { serial, freshUntil: nowMs + freshMs, ...defaults, ...value } : value
  if (isObject(filled)) {
    for (const [key, given] of Object.entries(nested)) {
      const written = filled[key] ?? {}
      filled[key] = isObject(written) ? { ...given, ...written } : written
    }
    filled['prefer'] ??= namesOf(filled['underlays'])
  }
  const decoded = decode(fabric, filled)
  if ('value' in decoded) return decoded.value
  throw yaml.error(decoded)
}

/** Names of the underlays, as far as they are written as such; the decoder tells what is wrong with others. */
function namesOf(underlays: unknown): unknown[] {
  if (!Array.isArray(underlays)) return []
  return underlays.flatMap((underlay: unknown) =>
    isObject(underlay) && 'name' in underlay ? [underlay['name']] : [],
  )
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
