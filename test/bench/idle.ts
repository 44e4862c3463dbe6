/**
 * An agent with ten peers that has nothing to do, over a minute: its processor time, and how often it wakes, which says the
 * same of any machine. The peers are nobody: all paths are down, and asked for all the same.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { wakeups } from '../support/wakeups.ts'
import { figure } from './figure.ts'
import type { Figure } from './figure.ts'
import { startFleetAgent } from './fleet-agent.ts'

const seconds = 60
/** Until then code is still compiled, and handshakes of peers never heard are asked for more than once a minute. */
const settledMs = 30_000

export async function run(): Promise<Figure[]> {
  const agent = await startFleetAgent(10, 100)
  try {
    await pause(settledMs)
    const [spent, woken] = [agent.cpuSeconds(), wakeups(agent.pid)]
    await pause(seconds * 1000)
    const share = (100 * (agent.cpuSeconds() - spent)) / seconds
    const perSecond = (wakeups(agent.pid) - woken) / seconds
    return [
      figure('idle', { figure: '10 gateways, 60 s', value: share, unit: '% of a core', atMost: 0.5 }),
      figure('idle', { figure: 'wakeups of its threads', value: perSecond, unit: 'a second', atMost: 50 }),
    ]
  } finally {
    await agent.stop()
  }
}
