/** Which path a gateway is used by. */
import { laneOf } from '../model/device.ts'
import type { Gateway } from '../model/gateway.ts'
import { standings } from '../model/path-state.ts'
import type { PathState, Standing } from '../model/path-state.ts'
import { currentPaths } from './lane.ts'
import type { Path } from './path.ts'

/** A path that a gateway is used by. */
export interface Way {
  readonly path: Path
  readonly standing: Standing
}

/**
 * The best path that is not down: by standing, then in the fabric's order, then by rank. A gateway whose record says that it
 * drains does so on all of them.
 */
export function choose(paths: readonly Path[], gateway: Gateway, state: PathState): Way | undefined {
  let best: (Way & { readonly rank: number }) | undefined
  for (const path of currentPaths(paths, gateway.name, state)) {
    const standing = state.standingOf(gateway.name, path.underlay, laneOf(path.device))
    if (standing === 'down') continue
    const rank = state.rankOf(gateway.name, path.underlay)
    const order = best === undefined ? -1 : compare(standing, best.standing)
    const isSame = best !== undefined && order === 0 && path.order === best.path.order
    if (order < 0 || (isSame && rank < (best?.rank ?? 0))) best = { path, standing, rank }
  }
  if (best === undefined) return undefined
  const { path, standing } = best
  const drains = gateway.state === 'draining' && compare(standing, 'draining') < 0
  return { path, standing: drains ? 'draining' : standing }
}

/** Below 0: the first is better. */
export function compare(one: Standing, other: Standing): number {
  return standings.indexOf(one) - standings.indexOf(other)
}
