/**
 * What is known of paths. A path is (own gateway, remote gateway, underlay). Until probes say otherwise, every path
 * counts as up.
 */
import type { Name } from './fabric.ts'

export interface PathState {
  /** False only where the path is known to be down. */
  isUp(gateway: Name, underlay: Name): boolean
}

export const everyPathUp: PathState = { isUp: () => true }
