/** The longest time the event loop of this process was away, in ms, while `work` ran. */
import { setImmediate as nextTurn } from 'node:timers/promises'

export async function longestStall(work: () => Promise<unknown>): Promise<number> {
  let longest = 0
  let last = performance.now()
  const beat = setInterval(() => {
    const now = performance.now()
    longest = Math.max(longest, now - last - 1)
    last = now
  }, 1)
  await nextTurn()
  last = performance.now()
  await work()
  longest = Math.max(longest, performance.now() - last - 1)
  clearInterval(beat)
  return longest
}
