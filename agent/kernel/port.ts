/**
 * The kernel port: all the daemon knows of the kernel. The Linux driver implements it, and so does the fake kernel of
 * the property tests.
 */
import type { Reason } from '../errors.ts'
import type { HostFacts } from '../model/host.ts'
import type { Kind, KernelObject } from '../model/kernel-object.ts'
import type { Op, OpResult } from '../model/op.ts'

/**
 * What of the owned state somebody else may have changed, from little to all: policy rules; these, routes and nexthops; any
 * of it.
 */
export const drifts = ['rules', 'routes', 'objects'] as const
export type Drift = (typeof drifts)[number]

/**
 * A hint that somebody else changed something: never data. A Drift: owned state may have drifted, audit it. `facts`: links,
 * addresses or routes of the host changed, gather facts anew. `overflow`: events were lost, do both.
 */
export type Change = Drift | 'facts' | 'overflow'

export interface Kernel {
  /** Host facts; `routesOf`: links whose routes of table main are wanted (bound underlays). */
  facts(routesOf: readonly string[], signal: AbortSignal): Promise<HostFacts>

  /**
   * Everything that may be ours or may be in our way: links by our names, objects on them, ids and tables of our ranges,
   * table inet linkspan, and the sysctls named in `sysctls` plus all that the state directory remembers. `kinds` limits
   * the dump. Yields in chunks so that 100,000 routes never block the event loop.
   */
  observe(wanted: ObserveOptions, signal: AbortSignal): AsyncIterable<readonly KernelObject[]>

  /** Carries out ops in order; one that fails does not stop the rest. Results are in the order of the ops. */
  apply(ops: readonly Op[], signal: AbortSignal): Promise<readonly OpResult[]>

  /**
   * True where nobody but us wrote to table inet linkspan since it was last observed: an audit may then leave out
   * `ruleset` and `element`, which cost most to list.
   */
  firewallUnchanged(signal: AbortSignal): Promise<boolean>

  /** What hosts sent through our tunnels since the firewall table was made, both ways together. */
  carried(signal: AbortSignal): Promise<Carried>

  /** Changes made by others, coalesced. Ends when the signal aborts. */
  changes(signal: AbortSignal): AsyncIterable<Change>

  close(): Promise<void>
}

export interface Carried {
  readonly packets: number
  readonly bytes: number
}

export interface ObserveOptions {
  readonly sysctls: readonly string[]
  readonly kinds?: ReadonlySet<Kind>
  /**
   * Called for a WireGuard device whose process does not answer. What it gives is yielded in place of the device's peers and
   * AllowedIPs, so that nobody takes them for missing or for changed. The Device itself is missing: an op on it fails,
   * and says why.
   */
  readonly inPlaceOf?: (device: string, reason: Reason) => Iterable<KernelObject>
}
