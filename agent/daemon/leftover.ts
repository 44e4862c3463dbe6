/**
 * Leftovers that may not go yet. An agent that starts while some document of the registry cannot be understood finds
 * objects in the kernel that no known document accounts for: they may well be what that document asks for, and carry
 * traffic. They stay until everything can be read. Whatever else has to go, drift of later days included, goes.
 */
import type { Op } from '../model/op.ts'
import { nameOf } from './desired.ts'
import type { Events } from './event.ts'

export class Leftovers {
  #held: ReadonlySet<string> = new Set()

  /**
   * The ops without the removal of what is held; nothing is where everything can be read (`isWhole`). `first`: of the first
   * audit of a start, whose every removal is of something left over. What is removed only to be made anew is no leftover.
   */
  without(ops: readonly Op[], isWhole: boolean, first: boolean, events: Events): readonly Op[] {
    if (isWhole) this.#held = new Set()
    if (isWhole || (!first && this.#held.size === 0)) return ops
    const added = new Set(ops.flatMap(({ verb, object }) => (verb === 'add' ? [nameOf(object)] : [])))
    const held = new Set<string>()
    const kept = ops.filter(({ verb, object }) => {
      if (verb !== 'remove') return true
      const name = nameOf(object)
      if (added.has(name) || !(first || this.#held.has(name))) return true
      held.add(name)
      return false
    })
    if (first && held.size > 0) {
      events.emit('warning', 'removals-held', {
        objects: held.size,
        reason: 'some documents of the registry cannot be read, so nothing is taken for left over',
      })
    }
    this.#held = held
    return kept
  }
}
