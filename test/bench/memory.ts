/** Resident memory of the agent, settled and after audits, with few and with many peers. */
import { setTimeout as pause } from 'node:timers/promises'
import { figure } from './figure.ts'
import type { Figure } from './figure.ts'
import { startFleetAgent } from './fleet-agent.ts'
import { request } from 'node:http'

const cases = [
  { gateways: 10, prefixes: 100, atMost: 90 },
  { gateways: 1000, prefixes: 100_000, atMost: 220 },
] as const

export async function run(): Promise<Figure[]> {
  const figures: Figure[] = []
  for (const { gateways, prefixes, atMost } of cases) {
    const agent = await startFleetAgent(gateways, prefixes)
    try {
      let most = 0
      for (let audits = 0; audits < 3; audits++) {
        await post('/audit')
        for (let i = 0; i < 20; i++) {
          await pause(250)
          most = Math.max(most, agent.rssMB())
        }
      }
      const name = `RSS at ${gateways} gateways, ${prefixes.toLocaleString('en-US')} prefixes`
      figures.push(figure('memory', { figure: name, value: most, unit: 'MB', atMost }))
    } finally {
      await agent.stop()
    }
  }
  return figures
}

function post(target: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const call = request(
      { socketPath: '/run/linkspan/linkspan.sock', path: target, method: 'POST' },
      (answer) => {
        answer.resume()
        answer.on('end', resolve)
      },
    )
    call.on('error', reject)
    call.end()
  })
}
