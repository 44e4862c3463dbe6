/**
 * What plan works from, and what it makes: a share of the desired state for each key, with notes.
 *
 * plan is pure. The same input always gives the same objects; the only thing it leaves behind is the ids that GroupIds
 * hands out, and those are functions of what was planned before, never of when.
 */
import type { Name } from '../model/fabric.ts'
import type { Snapshot } from '../model/gateway.ts'
import type { HostFacts } from '../model/host.ts'
import type { KernelObject } from '../model/kernel-object.ts'
import type { Own } from '../model/own.ts'
import type { PathState } from '../model/path-state.ts'
import type { Prefix } from '../model/prefix.ts'
import type { GroupIds } from './group-id.ts'

/** Every part is immutable but `ids`: a change is a new object, and an object that did not change is the same one. */
export interface PlanInput {
  readonly snapshot: Snapshot
  readonly own: Own
  readonly facts: HostFacts
  readonly paths: PathState
  readonly ids: GroupIds
}

/**
 * `host`: what this gateway has once. `site`: routes and guard elements of a remote site. `groups`: the nexthop groups that
 * lead to a site and its gateways. `gateway`: peers of a remote gateway and the routes to its overlay addresses. `network`:
 * a tenant network that this gateway is attached to.
 */
export type ShareKey = 'host' | `site ${Name}` | `groups ${Name}` | `gateway ${Name}` | `network ${Name}`

export type NoteKind =
  | 'own-unknown' // the snapshot does not hold this gateway yet
  | 'underlay' // an own endpoint that serves for nothing
  | 'throw-not-installed' // a range of ours that lies in the overlay's
  | 'prefix-not-installed'
  | 'prefix-shared' // which of the sites that have it is used
  | 'no-path' // to a gateway, over no underlay
  | 'underlay-not-common' // to a gateway that has a path over another underlay
  | 'all-paths-down' // the group of a site is the blackhole
  | 'outside-mesh'
  | 'withdrawn'
  | 'network-not-joined' // by us, or by a remote gateway
  | 'port-missing' // a site-side link that does not exist

/** Why something that one might expect is not there: for `status`, `routes` and events. */
export interface Note {
  readonly kind: NoteKind
  /** What it is about, e.g. `prefix 10.2.0.0/16`, `gateway aws-a`, `network lan`. */
  readonly object: string
  /** One sentence without a trailing stop. */
  readonly reason: string
  readonly site?: Name
  readonly gateway?: Name
  readonly prefix?: Prefix
}

export interface Share {
  readonly key: ShareKey
  readonly objects: readonly KernelObject[]
  readonly notes: readonly Note[]
}
