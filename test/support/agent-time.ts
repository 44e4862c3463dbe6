/** Clocks of agents that a test can push on (time-passes.ts): all that start by it have them. */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Gateway } from './gateway.ts'

const preload = fileURLToPath(new URL('./time-passes.js', import.meta.url))
const aheadFile = '/run/ahead-ms'

export class AgentTime {
  readonly #ahead = new Map<Gateway, number>()

  /** Agents that start meanwhile are on these clocks. */
  async around<T>(work: () => Promise<T>): Promise<T> {
    process.env['NODE_OPTIONS'] = `--import=${preload}`
    process.env['LINKSPAN_TEST_AHEAD'] = aheadFile
    try {
      return await work()
    } finally {
      Reflect.deleteProperty(process.env, 'NODE_OPTIONS')
    }
  }

  /** Starts an agent again, on the same clocks. */
  start(gateway: Gateway): void {
    void this.around(() => {
      gateway.start()
      return Promise.resolve()
    })
  }

  /** So long passes for a gateway's agent: by default more than the three minutes that WireGuard's keys are good for. */
  pass(gateway: Gateway, ms = 200_000): void {
    const ahead = (this.#ahead.get(gateway) ?? 0) + ms
    this.#ahead.set(gateway, ahead)
    writeFileSync(gateway.machine.path(aheadFile), String(ahead))
  }
}
