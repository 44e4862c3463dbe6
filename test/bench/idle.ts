/** Processor time of an agent with ten peers that has nothing to do, over a minute. */
import { setTimeout as pause } from 'node:timers/promises'
import { figure } from './figure.ts'
import type { Figure } from './figure.ts'
import { startFleetAgent } from './fleet-agent.ts'

const seconds = 60

export async function run(): Promise<Figure[]> {
  const agent = await startFleetAgent(10, 100)
  try {
    await pause(3000)
    const before = agent.cpuSeconds()
    await pause(seconds * 1000)
    const share = (100 * (agent.cpuSeconds() - before)) / seconds
    return [figure('idle', { figure: '10 gateways, 60 s', value: share, unit: '% of a core', atMost: 0.5 })]
  } finally {
    await agent.stop()
  }
}
