/** What takes long and waits for nothing, in pieces: after 10 ms of them the event loop gets its turn. */
import { setImmediate as nextTurn } from 'node:timers/promises'

const turnMs = 10

/** Runs the generator to its end. Throws the signal's reason when it aborts in between. */
export async function inTurns<T>(steps: Generator<unknown, T>, signal?: AbortSignal): Promise<T> {
  for (let since = performance.now(); ;) {
    const step = steps.next()
    if (step.done === true) return step.value
    if (performance.now() - since < turnMs) continue
    await nextTurn()
    signal?.throwIfAborted()
    since = performance.now()
  }
}
