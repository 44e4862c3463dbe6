/**
 * Looks that are due once a second share one timer: each with a timer of its own would wake an idle agent at a moment of its
 * own. It runs while there is a look to take, and keeps no process alive.
 */

const secondMs = 1000

const looks = new Set<() => void>()
let timer: NodeJS.Timeout | undefined

/** Calls `look`, which must not throw, once a second from now on; answers what ends it. */
export function onceASecond(look: () => void): () => void {
  const own = (): void => {
    look()
  }
  looks.add(own)
  timer ??= setInterval(() => {
    for (const one of looks) one()
  }, secondMs).unref()
  return () => {
    looks.delete(own)
    if (looks.size > 0) return
    clearInterval(timer)
    timer = undefined
  }
}
