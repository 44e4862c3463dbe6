/** A pair of gateways whose keys rotate, and traffic through it: both ways, IPv4, IPv6 and a stretched network. */
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import type { KeysView } from '../../agent/daemon/control.ts'
import { AgentTime } from './agent-time.ts'
import type { Gateway } from './gateway.ts'
import type { Machine } from './machine.ts'
import { Meter } from './meter.ts'
import { addLan, lanConfig, lanFabric, makePair } from './pair.ts'
import type { Pair } from './pair.ts'

export interface Lost {
  readonly flow: string
  readonly sent: number
  readonly lost: number
  readonly gapMs: number
}

export class RotatingPair {
  readonly pair: Pair
  readonly #lan: readonly [Machine, Machine]
  readonly #time: AgentTime
  #meters: readonly (readonly [string, Meter])[] = []

  private constructor(pair: Pair, lan: readonly [Machine, Machine], time: AgentTime) {
    this.pair = pair
    this.#lan = lan
    this.#time = time
  }

  /** `fabric`: more lines of the fabric document; `before`: called before the agents start. */
  static async make(
    directory: string,
    fabric: readonly string[] = [],
    before: (pair: Pair) => void = () => undefined,
  ): Promise<RotatingPair> {
    const time = new AgentTime()
    let lan: readonly [Machine, Machine] | undefined
    const pair = await time.around(() =>
      makePair(directory, {
        isProbed: true,
        fabric: [...lanFabric, ...fabric],
        config: lanConfig,
        before: async (made) => {
          lan = await addLan(made)
          before(made)
        },
      }),
    )
    if (lan === undefined) throw new Error('no lan')
    return new RotatingPair(pair, lan, time)
  }

  /** Starts an agent again, on the same clocks. */
  start(gateway: Gateway): void {
    this.#time.start(gateway)
  }

  /** Three minutes and more pass for a gateway's agent. */
  passTime(gateway: Gateway): void {
    this.#time.pass(gateway)
  }

  /** `perSecond`: packets of each flow of the default network over IPv4; a fifth of it over each of the others. */
  async startTraffic(perSecond: number): Promise<void> {
    const { leftHost, rightHost } = this.pair
    const few = Math.ceil(perSecond / 5)
    const flows: readonly (readonly [string, Machine, Machine, string, number, number])[] = [
      ['left to right', leftHost, rightHost, '10.2.0.10', perSecond, 9000],
      ['right to left', rightHost, leftHost, '10.1.0.10', perSecond, 9001],
      ['left to right, IPv6', leftHost, rightHost, 'fd00:2::10', few, 9002],
      ['right to left, IPv6', rightHost, leftHost, 'fd00:1::10', few, 9003],
      ['lan', this.#lan[0], this.#lan[1], '192.168.50.2', few, 9004],
    ]
    for (const [, from, , address] of flows) {
      if (!(await from.reaches(address))) throw new Error(`${address} cannot be reached`)
    }
    this.#meters = await Promise.all(
      flows.map(async ([flow, from, to, address, rate, port]) => {
        const meter = await Meter.start(from, to, address, { perSecond: rate, port, flows: 4 })
        return [flow, meter] as const
      }),
    )
  }

  async stopTraffic(): Promise<readonly Lost[]> {
    return Promise.all(
      this.#meters.map(async ([flow, meter]) => {
        const { sent, lost, gapMs } = await meter.stop()
        return { flow, sent, lost, gapMs }
      }),
    )
  }
}

/** Key files but the identity's. */
export function keyFiles({ machine }: Gateway): readonly string[] {
  return readdirSync(machine.path('/var/lib/linkspan/keys'))
    .filter((name) => name !== 'identity.pem')
    .sort()
}

/** Generation and number of keys of a gateway's record, as it lies in the registry. */
export function recorded({ pair }: Pick<RotatingPair, 'pair'>, gateway: Gateway): string {
  return recordedIn(pair.lab.registry, gateway)
}

/** The same of any registry's directory. */
export function recordedIn(registry: string, { name }: Gateway): string {
  const [, payload = ''] = readFileSync(`${registry}/records/${name}.jws`, 'utf8').split('.')
  const { generation, tunnelKeys } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as {
    generation: number
    tunnelKeys: Record<string, string>
  }
  return `${generation}, ${Object.keys(tunnelKeys).length} keys`
}

export async function keysOf(gateway: Gateway): Promise<KeysView | undefined> {
  try {
    return (await gateway.ask('/keys')) as KeysView
  } catch {
    return undefined
  }
}

/** Waits until it is so; throws with what was last seen. */
export async function until(
  what: string,
  isSo: () => boolean | Promise<boolean>,
  seconds = 60,
): Promise<void> {
  const end = performance.now() + seconds * 1000
  while (performance.now() < end) {
    if (await isSo()) return
    await pause(20)
  }
  throw new Error(`it did not come to be: ${what}`)
}
