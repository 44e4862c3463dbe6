/**
 * What is known of paths, as plan asks for it. A path is (own gateway, remote gateway, underlay). Until probes say
 * otherwise, every path is fit.
 */
import type { Name } from './fabric.ts'

/**
 * `fit`: may carry traffic. `unfit`: answers, but something better is preferred: loss or latency beyond the thresholds, a
 * far agent that is silent while its kernel answers, a gateway that drains or says that it does not forward. `down`: nothing
 * comes back.
 */
export type Standing = 'fit' | 'unfit' | 'down'

export interface PathState {
  standingOf(gateway: Name, underlay: Name): Standing
  /**
   * Place among the paths to a gateway that the fabric's order leaves equal, the lowest first; it moves only when another
   * underlay is quicker by more than the dead band.
   */
  rankOf(gateway: Name, underlay: Name): number
  /** What the gateway itself said last; undefined: as in its record. */
  weightOf(gateway: Name): number | undefined
}

export const everyPathFit: PathState = {
  standingOf: () => 'fit',
  rankOf: () => 0,
  weightOf: () => undefined,
}
