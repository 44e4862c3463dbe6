/** Hints from the kernel become marks in the schedule. A driver whose events end is asked again, and distrusted meanwhile. */
import { isAborted, pause } from '../pause.ts'
import { reasonOf } from '../errors.ts'
import type { Change, Kernel } from '../kernel/port.ts'
import type { Events } from './event.ts'
import type { Schedule } from './schedule.ts'
import type { Tally } from './tally.ts'
import { backoffMs } from './trouble.ts'

/** Runs until the signal aborts. */
export async function followKernel(
  kernel: Kernel,
  schedule: Schedule,
  events: Events,
  tally: Tally,
  signal: AbortSignal,
): Promise<void> {
  const note = (change: Change): void => {
    if (change === 'facts' || change === 'overflow') schedule.hostChanged()
    if (change !== 'facts') schedule.drifted(change === 'overflow' ? 'objects' : change)
    if (change !== 'overflow') return
    events.emit('warning', 'kernel-events-overflow')
    tally.error('events')
  }
  for (let round = 1; !signal.aborted; round++) {
    try {
      for await (const change of kernel.changes(signal)) note(change)
      if (isAborted(signal)) return
      throw new Error('the kernel driver ended its events')
    } catch (error) {
      if (isAborted(signal)) return
      events.emit('error', 'kernel-events-lost', { reason: reasonOf(error, 'kernel events').reason })
      note('overflow')
      await pause(backoffMs(round, Math.random), signal)
    }
  }
}
