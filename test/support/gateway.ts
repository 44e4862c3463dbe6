/** A gateway of the lab: a machine with an agent. */
import type { ChildProcess } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { ask } from '../../agent/cli/client.ts'
import type { Status } from '../../agent/daemon/status.ts'
import { Machine } from './machine.ts'
import type { Outcome } from './machine.ts'
import { statusOf } from './status.ts'

const main = fileURLToPath(new URL('../../agent/main.js', import.meta.url))

/** Clock ticks a second, of /proc/PID/stat. */
const ticks = 100

export class Gateway {
  readonly machine: Machine
  readonly name: string
  log = ''
  #agent: ChildProcess | undefined

  private constructor(machine: Machine) {
    this.machine = machine
    this.name = machine.name
  }

  static async make(name: string): Promise<Gateway> {
    return new Gateway(await Machine.make(name))
  }

  /** Writes /etc/linkspan/config.yml. */
  configure(lines: readonly string[]): void {
    writeFileSync(this.machine.path('/etc/linkspan/config.yml'), `${lines.join('\n')}\n`)
  }

  start(...options: readonly string[]): void {
    const agent = this.machine.spawn(process.execPath, [main, 'agent', '--verbose', ...options], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    agent.stderr?.on('data', (chunk: Buffer) => {
      this.log += chunk.toString()
    })
    this.#agent = agent
  }

  /** Pid of the agent process itself; nsenter execs, so it is the child's. */
  get pid(): number {
    return this.#agent?.pid ?? 0
  }

  /** That the agent used so far. */
  get cpuSeconds(): number {
    const fields = readFileSync(`/proc/${this.pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')
    return (Number(fields[11]) + Number(fields[12])) / ticks
  }

  get running(): boolean {
    return this.#agent !== undefined && this.#agent.exitCode === null && this.#agent.signalCode === null
  }

  /** Ends the agent and waits; resolves with its exit code, or null where a signal ended it. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    const agent = this.#agent
    if (agent === undefined || !this.running) return agent?.exitCode ?? null
    const exit = new Promise((resolve) => agent.once('exit', resolve))
    agent.kill(signal)
    await exit
    return agent.exitCode
  }

  signal(signal: NodeJS.Signals): void {
    this.#agent?.kill(signal)
  }

  cli(...args: readonly string[]): Outcome {
    return this.machine.attempt(process.execPath, main, ...args)
  }

  /** What the agent answers on its control socket; throws `not-running` where there is none. */
  ask(target: string): Promise<unknown> {
    return ask(this.machine.path('/run/linkspan'), target)
  }

  /** Undefined where no agent answers. */
  status(): Promise<Status | undefined> {
    return statusOf(this.machine.path('/run/linkspan'))
  }

  /** Waits until so many tunnels are up and the agent is settled. */
  async untilUp(tunnels: number, seconds = 60): Promise<Status> {
    let status: Status | undefined
    for (let i = 0; i < seconds * 5; i++) {
      status = await this.status()
      const up = status?.peers.filter(({ state }) => state === 'up').length ?? 0
      if (status !== undefined && status.health !== 'waiting' && up >= tunnels) return status
      await pause(200)
    }
    throw new Error(`${this.name} has not ${tunnels} tunnels up: ${JSON.stringify(status)}\n${this.log}`)
  }

  /** Waits for a line of the log. */
  async untilLogged(text: string, seconds = 30): Promise<void> {
    for (let i = 0; i < seconds * 20; i++) {
      if (this.log.includes(text)) return
      await pause(50)
    }
    throw new Error(`${this.name} did not log "${text}":\n${this.log}`)
  }
}
