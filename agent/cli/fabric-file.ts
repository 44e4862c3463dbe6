/**
 * The fabric document as people write it: YAML, with everything optional that has a good default. The result goes through
 * the same decoder as every fabric document, and its problems are shown at their place in the YAML.
 */
import type { Fabric } from '../model/fabric.ts'
import { decode } from '../trust/decode.ts'
import type { Problem } from '../trust/decode.ts'
import { fabric } from '../trust/payload.ts'
import type { YamlFile } from './yaml.ts'

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

/** What is new in each document. */
export interface Issue {
  readonly serial: number
  /** Unix ms. */
  readonly freshUntil: number
}

/** Written by `ca fabric` and never by people: a serial that stays the same would never be taken over. */
const automatic = ['serial', 'freshUntil']

/**
 * The document of a file. What is removed or revoked by `incumbent` (the document in force) stays so, whether or not the file
 * lists it: the commands that remove and revoke write it there, and a file that knows nothing of it must not undo it.
 * Throws config-invalid with all problems of the file.
 */
export function fabricOf(
  yaml: YamlFile,
  incumbent: Fabric | undefined,
  { serial, freshUntil }: Issue,
): Fabric {
  const { value } = yaml
  const filled = isObject(value) ? { ...defaults, ...value, serial, freshUntil } : value
  if (isObject(filled) && isObject(value)) {
    const written = automatic.filter((key) => Object.hasOwn(value, key))
    const reason = 'is set by linkspan'
    const problems = written.map((key): Problem => ({
      path: [key],
      part: 'key',
      reason: `${key} ${reason}`,
      hint: 'leave it out',
    }))
    if (problems.length > 0) throw yaml.error(problems)
    for (const [key, given] of Object.entries(nested)) {
      const below = filled[key] ?? {}
      filled[key] = isObject(below) ? { ...given, ...below } : below
    }
    filled['prefer'] ??= namesOf(filled['underlays'])
  }
  const decoded = decode(fabric, filled)
  if (!('value' in decoded)) throw yaml.error(decoded)
  return incumbent === undefined ? decoded.value : withEnded(decoded.value, incumbent)
}

/** With all that ended before. */
function withEnded(fabric: Fabric, { removed, revoked }: Fabric): Fabric {
  return {
    ...fabric,
    removed: union(fabric.removed, removed),
    revoked: {
      serials: union(fabric.revoked.serials, revoked.serials),
      identities: union(fabric.revoked.identities, revoked.identities),
    },
  }
}

function union<T extends string | number>(a: readonly T[], b: readonly T[]): readonly T[] {
  return [...new Set([...b, ...a])]
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
