/** A queue of hints in which each kind of change waits at most once: that is what coalescing is. */
import type { Change } from './port.ts'

/** Beside changes: what our own doing may have caused. Ruleset, owned links or sysctls are looked at before it counts. */
export type Hint = Change | 'firewall' | 'links' | 'sysctl'

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
