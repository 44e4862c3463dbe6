/** The longest time the event loop of this process was away, in ms, while `work` ran. */
import { readFileSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'

export interface Stall {
  /** By the clock. */
  readonly ms: number
  /**
   * For how much of a stall the loop's thread had a processor, in steps of 10 ms: what is left of it on a machine with
   * nothing else to do.
   */
  readonly busyMs: number
}

export async function longestStall(work: () => Promise<unknown>): Promise<number> {
  return (await longestStalls(work)).ms
}

/** The same, by the clock and by processor time. The two may be different stalls. */
export async function longestStalls(work: () => Promise<unknown>): Promise<Stall> {
  let longest = 0
  let busiest = 0
  let last = performance.now()
  let cpu = threadMs()
  const look = (): void => {
    const [now, spent] = [performance.now(), threadMs()]
    longest = Math.max(longest, now - last - 1)
    busiest = Math.max(busiest, Math.min(spent - cpu, now - last))
    last = now
    cpu = spent
  }
  const beat = setInterval(look, 1)
  await nextTurn()
  look()
  ;[longest, busiest] = [0, 0]
  await work()
  look()
  clearInterval(beat)
  return { ms: longest, busyMs: busiest }
}

/** Processor time of the main thread so far, in ms, in ticks of 10. */
function threadMs(): number {
  const fields = readFileSync(`/proc/self/task/${process.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) * 10
}

/** Processor time of this process so far, of all threads, in ms. */
export function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}
