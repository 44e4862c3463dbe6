/** How often a process wakes: unlike its processor time, that does not depend on what else the machine does. */
import { readdirSync, readFileSync } from 'node:fs'

/** How often the threads of a process have gone to sleep so far (proc(5): voluntary_ctxt_switches). */
export function wakeups(pid: number): number {
  return readdirSync(`/proc/${pid}/task`)
    .map((thread) => readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8'))
    .reduce((sum, status) => sum + Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1]), 0)
}
