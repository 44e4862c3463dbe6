/** Waiting that ends with an AbortSignal. */

/** Resolves after `ms`, or as soon as the signal aborts. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    signal.addEventListener('abort', end, { once: true })
    if (signal.aborted) end()
  })
}

/** Through a function, because the compiler takes an aborted signal to stay as it was across an await. */
export function isAborted(signal: AbortSignal): boolean {
  return signal.aborted
}
