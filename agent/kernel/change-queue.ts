/** A queue of hints in which each kind of change waits at most once: that is what coalescing is. */
import type { Change } from './port.ts'

/** `firewall`: somebody wrote to the ruleset, the generation tells whether it was us. */
export type Hint = Change | 'firewall'

export interface ChangeQueue<T> extends AsyncIterable<T> {
  push(change: T): void
}

/** Ends when the signal aborts. */
export function changeQueue(signal: AbortSignal): ChangeQueue<Hint> {
  const waiting = new Set<Hint>()
  let wake: (() => void) | undefined
  const rouse = (): void => {
    wake?.()
    wake = undefined
  }
  signal.addEventListener('abort', rouse, { once: true })
  return {
    push(change) {
      waiting.add(change)
      rouse()
    },
    async *[Symbol.asyncIterator]() {
      while (!signal.aborted) {
        const [next] = waiting
        if (next === undefined) {
          await new Promise<void>((resolve) => {
            wake = resolve
            if (signal.aborted) resolve()
          })
          continue
        }
        waiting.delete(next)
        yield next
      }
    },
  }
}
