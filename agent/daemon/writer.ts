/**
 * The writer: hands ops to the driver, in their order, and keeps book of what came of each.
 *
 * Ids of groups are durable before an op uses them. An op that failed is remembered as trouble and as what stands in its
 * place; the others go on.
 */
import { reasonOf } from '../errors.ts'
import type { Kernel } from '../kernel/port.ts'
import type { Op, OpResult } from '../model/op.ts'
import type { GroupIds } from '../plan/group-id.ts'
import type { Share } from '../plan/input.ts'
import type { Desired } from './desired.ts'
import type { Events } from './event.ts'
import { tellSwitches } from './shared-switch.ts'
import type { Tally } from './tally.ts'
import { tellFailures } from './telling.ts'
import type { Troubles } from './trouble.ts'

/** Ops handed to the driver at once: enough for full batches, few enough that a stop is heard in between. */
const opsAtOnce = 16_384

export interface WriterOptions {
  readonly kernel: Kernel
  readonly saveIds: (ids: GroupIds) => Promise<void>
  readonly desired: Desired
  readonly troubles: Troubles
  readonly tally: Tally
  readonly events: Events
  /** Unix ms. */
  readonly now: () => number
  /** After each batch. */
  readonly onProgress?: () => void
}

export class Writer {
  readonly #options: WriterOptions

  constructor(options: WriterOptions) {
    this.#options = options
  }

  /** What is desired from now on, of the shares that changed. */
  adopt(changes: readonly Share[]): void {
    const { desired, events } = this.#options
    tellSwitches(events, desired, changes)
    for (const change of changes) desired.set(change)
  }

  /** The results of ops that failed. Throws where it is not known which ops were carried out, and when aborted. */
  async carryOut(ops: readonly Op[], signal: AbortSignal): Promise<readonly OpResult[]> {
    const { kernel, desired, troubles, tally, events, now, onProgress } = this.#options
    const failed: OpResult[] = []
    for (let from = 0; from < ops.length; from += opsAtOnce) {
      signal.throwIfAborted()
      const batch = ops.length <= opsAtOnce ? ops : ops.slice(from, from + opsAtOnce)
      const results = await kernel.apply(batch, signal)
      tally.ops(results)
      desired.land(results)
      failed.push(...troubles.take(results, now()))
      onProgress?.()
    }
    tellFailures(events, tally, failed)
    return failed
  }

  /** A state directory that takes no writes stops nothing: ids can be recovered from the kernel. */
  async saveIds(ids: GroupIds): Promise<void> {
    if (!ids.dirty) return
    ids.dirty = false
    try {
      await this.#options.saveIds(ids)
    } catch (error) {
      ids.dirty = true
      const { object, reason, next } = reasonOf(error, 'group ids')
      this.#options.events.emit('error', 'state-not-saved', { object, reason, next })
      this.#options.tally.error('state')
    }
  }
}
