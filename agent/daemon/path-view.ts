/** A path as people ask for it: how it stands, whether traffic takes it, and what was measured. */
import type { Name } from '../model/fabric.ts'
import type { Standing } from '../model/path-state.ts'
import type { PathEntry } from '../probe/table.ts'
import type { PathCondition } from '../probe/state.ts'
import type { Desired } from './desired.ts'

export interface PathView {
  /** By probes. */
  readonly condition: PathCondition
  readonly standing: Standing
  /** Traffic to the gateway's site, or where that has no prefixes to the gateway itself, takes it. */
  readonly used: boolean
  /** Round trip in ms: smoothed, and of the last second. Absent while nothing was measured. */
  readonly rttMs?: number
  readonly rttMinMs?: number
  readonly rttMeanMs?: number
  readonly rttP95Ms?: number
  readonly jitterMs?: number
  /** Share of probes lost, smoothed: 0-1. */
  readonly loss: number
  /** Bytes of the largest packet it carries inside the tunnel, as found, and as documents say; absent while nobody looks. */
  readonly mtu?: number
  readonly mtuByDocuments?: number
  readonly reasons: readonly string[]
}

export interface NamedPathView extends PathView {
  readonly gateway: Name
  readonly site: Name
  readonly underlay: Name
}

export function pathView(entry: PathEntry, used: boolean): PathView {
  const { verdict, quality, mtu, rttMs, rttMinMs, rttMeanMs, rttP95Ms, jitterMs } = entry
  const { condition, standing, reasons } = verdict
  const loss = condition === 'down' ? 1 : rounded(quality.loss)
  const isMeasured = condition !== 'down' && rttMs > 0
  return {
    condition,
    standing,
    used,
    ...(isMeasured
      ? {
          rttMs: rounded(rttMs),
          rttMinMs: rounded(rttMinMs),
          rttMeanMs: rounded(rttMeanMs),
          rttP95Ms: rounded(rttP95Ms),
          jitterMs: rounded(jitterMs),
        }
      : {}),
    loss,
    ...(mtu === undefined ? {} : { mtu: mtu.mtu, mtuByDocuments: mtu.documents }),
    reasons: mtu?.reason === undefined ? reasons : [...reasons, mtu.reason],
  }
}

function rounded(value: number): number {
  return Math.round(value * 1000) / 1000
}

/** All of them, by gateway and underlay. */
export function pathViews(entries: Iterable<PathEntry>, desired: Desired): readonly NamedPathView[] {
  const used = waysInUse(desired)
  return [...entries].map((entry) => {
    const { gateway, site, underlay, device } = entry
    return { gateway, site, underlay, ...pathView(entry, used.has(`${gateway} ${device}`)) }
  })
}

/** Which devices carry traffic to which gateway: `gcp-a ls-wg0`. */
export function waysInUse(desired: Desired): ReadonlySet<string> {
  const devices = new Map<number, string>()
  for (const object of desired.get('host')?.objects ?? []) {
    if (object.kind === 'nexthop' && object.device !== undefined) devices.set(object.id, object.device)
  }
  const used = new Set<string>()
  for (const { key, objects } of desired.shares) {
    if (!key.startsWith('groups ')) continue
    const groups = objects.flatMap((object) => (object.kind === 'group' ? [object] : []))
    const ofPrefixes = groups.filter(({ of }) => of?.startsWith('default ') === true)
    for (const { of = '', members } of ofPrefixes.length > 0 ? ofPrefixes : groups) {
      // `default SITE GATEWAY,...` or `gateway NAME` (plan/group-id.ts); planes keep gateways of a site on devices of their own.
      for (const gateway of of.split(' ').at(-1)?.split(',') ?? []) {
        for (const { id } of members) used.add(`${gateway} ${devices.get(id) ?? ''}`)
      }
    }
  }
  return used
}
