/**
 * Lanes: while keys rotate, several pairs of devices lead to a gateway over one underlay, a generation of ours with a
 * generation of theirs each. Traffic goes by the newest lane that anything ever came back by, and by the oldest until one has:
 * the far end may not have heard of our new keys yet, or we not of its own.
 *
 *   newest  ╌╌ probed ╌╌▶ answered ─▶ in use ─▶ down: a lane behind it that is proven, if there is one
 *   oldest  ── in use ──────────────▶ idle: no keepalive, no probes, so that nobody shakes hands on it any more
 *
 * An idle lane still takes in what the far end sends by it. When both ends let it rest, its last handshake grows old, and
 * that is how the owner of the old keys learns that nobody needs them (daemon/rotation-step.ts).
 */
import { laneOf } from '../model/device.ts'
import type { Name } from '../model/fabric.ts'
import type { PathState } from '../model/path-state.ts'
import type { Path } from './path.ts'

export interface Lanes {
  /** The one that traffic goes by, where the underlay is chosen. */
  readonly current: Path
  /** Older ones, while the current one is of use. */
  readonly idle: readonly Path[]
}

/** `paths`: those to a gateway over one underlay, the newest lane first; at least one. */
export function lanesOf(paths: readonly [Path, ...Path[]], gateway: Name, state: PathState): Lanes {
  const [newest] = paths
  if (paths.length === 1) return { current: newest, idle: [] }
  const proven = paths.filter(
    ({ underlay, device, publicKey }) => state.provenKeyOf(gateway, underlay, laneOf(device)) === publicKey,
  )
  const live = proven.find((path) => !isDown(path, gateway, state))
  if (live !== undefined) return { current: live, idle: paths.slice(paths.indexOf(live) + 1) }
  // Where one was proven and is down, all are most likely: a lane that nothing is known of is no better.
  return { current: proven[0] ?? paths.at(-1) ?? newest, idle: [] }
}

/** How a lane stands to the one in use. */
export type LaneRole = 'newer' | 'current' | 'older'

/** The role of each path, by device. */
export function laneRoles(
  paths: readonly Path[],
  gateway: Name,
  state: PathState,
): ReadonlyMap<number, LaneRole> {
  const current = currentPaths(paths, gateway, state)
  const roles = new Map<number, LaneRole>()
  for (const [i, { u, device }] of paths.entries()) {
    const at = paths.findIndex((path) => path.u === u && current.includes(path))
    roles.set(device, i < at ? 'newer' : i > at ? 'older' : 'current')
  }
  return roles
}

/** The lanes over each underlay, in order of the paths. */
function eachLanes(paths: readonly Path[], gateway: Name, state: PathState): readonly Lanes[] {
  const byUnderlay = new Map<number, [Path, ...Path[]]>()
  for (const path of paths) {
    const known = byUnderlay.get(path.u)
    if (known === undefined) byUnderlay.set(path.u, [path])
    else known.push(path)
  }
  return [...byUnderlay.values()].map((group) => lanesOf(group, gateway, state))
}

/** Paths that traffic may take, one an underlay. The same array where no keys rotate. */
export function currentPaths(paths: readonly Path[], gateway: Name, state: PathState): readonly Path[] {
  return isContested(paths) ? eachLanes(paths, gateway, state).map(({ current }) => current) : paths
}

/** Paths that rest. */
export function idlePaths(paths: readonly Path[], gateway: Name, state: PathState): ReadonlySet<Path> {
  if (!isContested(paths)) return none
  return new Set(eachLanes(paths, gateway, state).flatMap(({ idle }) => idle))
}

/** True where some underlay has several lanes; those of one underlay stand together. */
export function isContested(paths: readonly Path[]): boolean {
  return paths.some(({ u }, i) => i > 0 && paths[i - 1]?.u === u)
}

const none: ReadonlySet<Path> = new Set()

export function isDown({ underlay, device }: Path, gateway: Name, state: PathState): boolean {
  return state.standingOf(gateway, underlay, laneOf(device)) === 'down'
}
