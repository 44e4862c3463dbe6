/**
 * The gate: while the firewall could not be loaded, nothing may open up that it would have guarded.
 *
 * It shuts when the ruleset fails, and opens when one goes through. In between what stands stays, what takes away goes on,
 * and elements are tried, since they can only close. Nexthops and groups stay as well: routes that should have moved to
 * others still stand on them. The desired ruleset may also become again what is loaded, and then no op tells: after
 * a look at the table, ops without a ruleset may be carried out as long as no element misses its set.
 */
import type { Reason } from '../errors.ts'
import { formatObject } from '../model/op-text.ts'
import type { Op } from '../model/op.ts'

export class Gate {
  #state: 'open' | 'doubtful' | 'shut' = 'open'
  #looked = false

  /** Somebody lists the firewall, and will ask for a ruleset where it is not as it should be. */
  look(): void {
    this.#looked = true
  }

  /** Before a list of ops: true where it may be opened with reopen(), if the table is as it was last loaded. */
  mayReopen(ops: readonly Op[]): boolean {
    const looked = this.#looked
    this.#looked = false
    return this.#state === 'shut' && looked && !ops.some(isLoad)
  }

  reopen(): void {
    this.#state = 'doubtful'
  }

  get isShut(): boolean {
    return this.#state === 'shut'
  }

  holdsBack({ verb, object }: Op): boolean {
    if (this.#state !== 'shut' || object.kind === 'ruleset' || object.kind === 'element') return false
    return verb !== 'remove' || object.kind === 'nexthop' || object.kind === 'group'
  }

  /** Whether what comes of a run of ops, all of one kind, is to be told. */
  minds(run: readonly Op[]): boolean {
    const kind = run[0]?.object.kind
    return kind === 'ruleset' || kind === 'element'
  }

  /** Takes in what came of an op. */
  take(op: Op, failed: boolean): void {
    if (isLoad(op)) this.#state = failed ? 'shut' : 'open'
    else if (op.object.kind === 'element' && failed && this.#state === 'doubtful') this.#state = 'shut'
  }
}

export function heldBack({ object }: Op): Reason {
  return {
    code: 'netlink',
    object: formatObject(object),
    reason: 'held back: the firewall table could not be loaded',
    next: 'see the failure of nft table inet linkspan',
  }
}

function isLoad({ verb, object }: Op): boolean {
  return object.kind === 'ruleset' && verb !== 'remove'
}
