/**
 * What is known of paths, as plan asks for it. A path is (own gateway, remote gateway, underlay), and while keys rotate also
 * the lane: which generation of ours with which of theirs. Until probes say otherwise, every path is fit.
 */
import type { Name } from './fabric.ts'
import type { PublicKey } from './key.ts'

/**
 * From best to worst; of what stands differently only the best carries traffic. `degraded`: loss or latency beyond the
 * thresholds. `silent`: the far agent is, its kernel answers. `draining`, `not-forwarding`: the far gateway says so. `down`:
 * nothing comes back; it carries nothing, whatever else there is.
 */
export const standings = ['fit', 'degraded', 'silent', 'draining', 'not-forwarding', 'down'] as const
export type Standing = (typeof standings)[number]

export interface PathState {
  /** `lane`: of the devices that it goes by (device.ts), 0 to 3. */
  standingOf(gateway: Name, underlay: Name, lane: number): Standing
  /**
   * The far end's key by which something came back on this lane: a probe was answered, or hands were shaken. Known only where
   * several lanes lead to a gateway over an underlay.
   */
  provenKeyOf(gateway: Name, underlay: Name, lane: number): PublicKey | undefined
  /**
   * Place among the paths to a gateway that the fabric's order leaves equal, the lowest first; it moves only when another
   * underlay is quicker by more than the dead band.
   */
  rankOf(gateway: Name, underlay: Name): number
  /** Bytes of the largest packet inside the tunnel, where that was found to be less than documents say; else undefined. */
  mtuOf(gateway: Name, underlay: Name, lane: number): number | undefined
  /** What the gateway itself said last; undefined: as in its record. */
  weightOf(gateway: Name): number | undefined
}

export const everyPathFit: PathState = {
  standingOf: () => 'fit',
  provenKeyOf: () => undefined,
  rankOf: () => 0,
  mtuOf: () => undefined,
  weightOf: () => undefined,
}
