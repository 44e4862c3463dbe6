/**
 * Leftovers that may not go yet. What an agent finds in the kernel at its start, and no document accounts for, may still
 * carry traffic: a document is half written, a folder is being copied, somebody deleted a file. Omission is not deletion. So
 * what is left over stays until every gateway that the last run had set up is accounted for: it is back, or a document
 * says that it is to go. Whatever else has to go, drift of later days included, goes.
 */
import type { Name } from '../model/fabric.ts'
import type { Op } from '../model/op.ts'
import { nameOf } from './desired.ts'
import type { Events } from './event.ts'

export interface Sources {
  /** Everything of the registry can be read and understood. */
  readonly isWhole: boolean
  /** True where documents decide about this gateway, either way. */
  accountsFor(gateway: Name): boolean
}

export class Leftovers {
  readonly #known: readonly Name[]
  /** Undefined before the first audit. */
  #held: ReadonlySet<string> | undefined
  #released = false

  /** `known`: gateways that the last run had set up; none: not known, and then every document must be readable. */
  constructor(known: readonly Name[]) {
    this.#known = known
  }

  /** Nothing is held any longer, in this run. */
  get released(): boolean {
    return this.#released
  }

  /** Gateways of which the documents say nothing; what was set up for them stays. */
  missing(sources: Sources): readonly Name[] {
    return this.#released ? [] : this.#known.filter((gateway) => !sources.accountsFor(gateway))
  }

  /** The ops of an audit without the removal of what is held. What is removed only to be made anew is no leftover. */
  without(ops: readonly Op[], sources: Sources, events: Events): readonly Op[] {
    if (this.#released) return ops
    const missing = this.missing(sources)
    this.#released = this.#known.length > 0 ? missing.length === 0 : sources.isWhole
    if (this.#released) return ops
    const before = this.#held
    const added = new Set(ops.flatMap(({ verb, object }) => (verb === 'add' ? [nameOf(object)] : [])))
    const held = new Set<string>()
    const kept = ops.filter(({ verb, object }) => {
      if (verb !== 'remove') return true
      const name = nameOf(object)
      if (added.has(name) || before?.has(name) === false) return true
      held.add(name)
      return false
    })
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
}
