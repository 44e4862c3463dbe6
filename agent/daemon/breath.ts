/** Long pure work in pieces: a generator is driven until 10 ms are used up, then the event loop gets its turn. */
import { setImmediate as nextTurn } from 'node:timers/promises'

const turnMs = 10

/** Runs the generator to its end, the first piece at once. Throws the signal's reason when it aborts in between. */
export async function inTurns<T>(steps: Generator<unknown, T>, signal?: AbortSignal): Promise<T> {
  let since = performance.now()
  for (;;) {
    const next = steps.next()
    if (next.done === true) return next.value
    if (performance.now() - since < turnMs) continue
    await nextTurn()
    signal?.throwIfAborted()
    since = performance.now()
  }
}

/** The items of a long list in turns, `size` of them at once. */
export async function* pieces<T>(items: Iterable<T>, size: number): AsyncGenerator<readonly T[]> {
  let piece: T[] = []
  for (const item of items) {
    piece.push(item)
    if (piece.length < size) continue
    yield piece
    piece = []
    await nextTurn()
  }
  if (piece.length > 0) yield piece
}
