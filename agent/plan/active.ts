/**
 * Which gateway of a site is the active one: the one that the site's own route table leads to, where hosts cannot spread over
 * all of them. Each gateway decides for itself, from its own view of the others, so the choice must be the same wherever the
 * views are: the lowest plane among the best.
 */
import type { Name } from '../model/fabric.ts'
import type { Gateway } from '../model/gateway.ts'
import type { PathState, Standing } from '../model/path-state.ts'
import { choose } from './choice.ts'
import type { PlanInput } from './input.ts'
import { isSiteMate, localOf } from './local.ts'
import { pathsTo } from './path.ts'

/** A gateway of the site, as we see it. */
export interface Candidate {
  readonly name: Name
  readonly plane: number
  readonly standing: Standing
  /** False where there is no path to it: then nothing is known of it, and it counts as fit. */
  readonly seen: boolean
}

/**
 * What is lost between two gateways of a site says nothing of what they forward for its hosts. A silent one still forwards,
 * but adapts to nothing any more.
 */
const ranks: Readonly<Record<Standing, number>> = {
  fit: 0,
  degraded: 0,
  silent: 1,
  draining: 2,
  'not-forwarding': 3,
  down: Infinity,
}

/** The lower the better; infinite: not to be used, whatever else there is. */
export function rankOf(standing: Standing): number {
  return ranks[standing]
}

/** The lowest plane of those that stand best. Undefined where all are down, or there is none. */
export function activeOf(candidates: readonly Candidate[]): Candidate | undefined {
  return candidates
    .filter(({ standing }) => rankOf(standing) !== Infinity)
    .toSorted((a, b) => rankOf(a.standing) - rankOf(b.standing) || a.plane - b.plane || order(a.name, b.name))
    .at(0)
}

/** The gateways of our site that are not withdrawn. Empty while we are none of them: not admitted, or barred. */
export function candidatesOf(input: PlanInput, paths: PathState, own: Standing): readonly Candidate[] {
  const local = localOf(input)
  if (local === undefined || local.self.barred === true || local.self.state === 'withdrawn') return []
  const { self } = local
  return local.site
    .filter((gateway) => isSiteMate(local, gateway))
    .map((gateway): Candidate => {
      const { name, plane } = gateway
      if (name === self.name) return { name, plane, standing: own, seen: true }
      const known = pathsTo(local, gateway).paths
      return { name, plane, standing: standingOf(known, gateway, paths), seen: known.length > 0 }
    })
}

/** That of its best path; without one its record is all there is. */
function standingOf(
  known: ReturnType<typeof pathsTo>['paths'],
  gateway: Gateway,
  paths: PathState,
): Standing {
  if (known.length === 0) return gateway.state === 'draining' ? 'draining' : 'fit'
  return choose(known, gateway, paths)?.standing ?? 'down'
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
