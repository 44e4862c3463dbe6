/**
 * Leftovers that may not go yet. What an agent finds in the kernel at its start, and no document accounts for, may still
 * carry traffic: a document is half written, a folder is being copied, somebody deleted a file. Omission is not deletion. So
 * what is left over stays until every gateway that the last run had set up is accounted for: it is back, or a document
 * says that it is to go. Whatever else has to go, drift of later days included, goes.
 *
 * A gateway that is to go does not wait for the others: its peers are removed at once, so that nobody is let in who was
 * revoked. They are known without any document, which may be gone as well: the last run gave each gateway a nexthop group,
 * the routes to its overlay addresses point at that group, and on a device those addresses are one peer's. Its routes, and
 * the guards against plaintext, may stay with the others'.
 */
import type { Name } from '../model/fabric.ts'
import { overlayTable } from '../model/kernel-number.ts'
import type { KernelObject, Peer } from '../model/kernel-object.ts'
import type { Op } from '../model/op.ts'
import type { Prefix } from '../model/prefix.ts'
import { gatewayGroupKey } from '../plan/group-id.ts'
import type { GroupIds } from '../plan/group-id.ts'
import type { RuleId } from '../trust/rulebook.ts'
import { nameOf } from './desired.ts'
import type { Events } from './event.ts'

export interface Sources {
  /** Everything of the registry can be read and understood. */
  readonly isWhole: boolean
  /** What the documents decide about a gateway: it is in the snapshot, or is to go. Undefined: they say nothing. */
  fateOf(gateway: Name): Fate | undefined
}

export type Fate = 'stays' | 'goes'

/** Rules by which a document may be refused that counted before this agent started. */
export const undecided: ReadonlySet<RuleId> = new Set<RuleId>([
  'document',
  'signature',
  'authority',
  'signer',
  'rollback',
  'equivocation',
  'stale',
  'early',
  'identity',
  'number',
  'tunnel-key',
  'certificate',
  'voucher',
  'claim-conflict',
])
/** Rules by which a gateway is refused whatever came before. */
export const decided: ReadonlySet<RuleId> = new Set<RuleId>(['removed', 'revoked', 'expired', 'plane'])

export class Leftovers {
  /** Gateways that the last run had set up, and their groups; none: not known, and then every document must be readable. */
  readonly #known: ReadonlyMap<Name, number>
  /** Undefined before the first audit. */
  #held: ReadonlySet<string> | undefined
  #released = false
  /** How many of the known were to go at the last audit. */
  #leavers = 0

  constructor(ids: GroupIds) {
    this.#known = new Map(ids.gateways.map((gateway) => [gateway, ids.idOf(gatewayGroupKey(gateway))]))
  }

  /** Nothing is held any longer, in this run. */
  get released(): boolean {
    return this.#released
  }

  /** Gateways of which the documents say nothing; what was set up for them stays. */
  missing(sources: Sources): readonly Name[] {
    if (this.#released) return []
    return [...this.#known.keys()].filter((gateway) => sources.fateOf(gateway) === undefined)
  }

  /** True where something that is wanted now stands there as a leftover: only an audit sees how it differs. */
  meets(wanted: readonly KernelObject[]): boolean {
    const held = this.#held
    if (this.#released || held === undefined || held.size === 0) return false
    return wanted.some((object) => held.has(nameOf(object)))
  }

  /** More are to go than at the last audit: the next should be soon. */
  isDue(sources: Sources): boolean {
    return this.#held !== undefined && !this.#released && this.#leaving(sources).length > this.#leavers
  }

  /**
   * The ops of an audit of `observed` without the removal of what is held. What is removed only to be made anew is no
   * leftover.
   */
  without(
    ops: readonly Op[],
    observed: Iterable<KernelObject>,
    sources: Sources,
    events: Events,
  ): readonly Op[] {
    if (this.#released) return ops
    const missing = this.missing(sources)
    this.#released = this.#known.size > 0 ? missing.length === 0 : sources.isWhole
    if (this.#released) return ops
    const before = this.#held
    const added = new Set(ops.flatMap(({ verb, object }) => (verb === 'add' ? [nameOf(object)] : [])))
    const gone = this.#leaving(sources)
    const leaving = this.#peersOf(gone, observed)
    this.#leavers = gone.length
    const held = new Set<string>()
    const kept = ops.filter(({ verb, object }) => {
      if (verb !== 'remove') return true
      const name = nameOf(object)
      if (added.has(name) || before?.has(name) === false || leaving.has(name)) return true
      held.add(name)
      return false
    })
    // Peers that should have gone with their link.
    for (const peer of leaving.values()) {
      if (held.has(`link ${peer.device}`)) kept.push({ verb: 'remove', object: peer })
    }
    if (before === undefined && held.size > 0) {
      const gateways = missing.slice(0, 8).join(', ')
      events.emit('warning', 'removals-held', {
        objects: held.size,
        ...(gateways === '' ? {} : { gateways }),
        reason: 'the registry does not say what became of what stands in the kernel',
      })
    }
    this.#held = held
    return kept
  }

  /** Gateways that are to go. */
  #leaving(sources: Sources): readonly Name[] {
    return [...this.#known.keys()].filter((gateway) => sources.fateOf(gateway) === 'goes')
  }

  /** The peers of these gateways, by name. */
  #peersOf(gateways: readonly Name[], observed: Iterable<KernelObject>): ReadonlyMap<string, Peer> {
    const peers = new Map<string, Peer>()
    if (gateways.length === 0) return peers
    const groups = new Set(gateways.map((gateway) => this.#known.get(gateway)))
    const objects = [...observed]
    const addresses = new Set<Prefix>()
    for (const object of objects) {
      if (object.kind !== 'route' || object.table !== overlayTable || object.nexthop === undefined) continue
      if (groups.has(object.nexthop)) addresses.add(object.prefix)
    }
    for (const object of objects) {
      if (object.kind !== 'allowed-ip' || !addresses.has(object.prefix)) continue
      const { device, publicKey } = object
      const peer: Peer = { kind: 'peer', device, publicKey, keepalive: 0 }
      peers.set(nameOf(peer), peer)
    }
    return peers
  }
}
