/**
 * One changed record at 1,000 gateways and 100,000 prefixes, from the file's rename to the last kernel ACK: 200 changes,
 * half of which advertise or withdraw a prefix (route, AllowedIP, guard element), half of which change weight or endpoint.
 * The agent says when its last ACK came; that the kernel has the change is looked up in the kernel. And back again: what
 * somebody else deletes there, of all that, how soon is it repaired?
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { Document } from '../../agent/model/document.ts'
import { gatewayOf } from '../../agent/trust/subject.ts'
import { fleetEndpoint, fleetRecord, prefixesOf, spare } from '../support/fleet.ts'
import { figure, median, percentile } from './figure.ts'
import type { Figure } from './figure.ts'
import { startFleetAgent } from './fleet-agent.ts'
import type { FleetAgent } from './fleet-agent.ts'
import { ip } from './ground.ts'

export const gateways = 1000
export const prefixes = 100_000
const changes = 200
/** What another hand deletes: `ip` of each; a route's prefix follows. */
const damages: readonly (readonly string[])[] = [
  ['route', 'del', 'table', '19539'],
  ['-6', 'rule', 'del', 'priority', '19531'],
  ['route', 'del', 'table', '19539'],
  ['rule', 'del', 'priority', '19530'],
  ['route', 'del', 'table', '19539'],
]

interface Pass {
  readonly id: number
  readonly at: number
  readonly event: string
  readonly fields: Readonly<Record<string, number>> & { readonly of?: string }
}

export async function run(): Promise<Figure[]> {
  const agent = await startFleetAgent(gateways, prefixes)
  try {
    const { latencies, passes, shares, wrong } = await changeTimes(agent)
    const repairs = await repairTimes()
    return [
      figure('change', {
        figure: 'file event to kernel ACK, p99',
        value: percentile(latencies, 99),
        unit: 'ms',
        atMost: 50,
        baseline: `worst ${worst(latencies)}`,
      }),
      figure('change', { figure: 'the same, median', value: median(latencies), unit: 'ms' }),
      figure('change', { figure: 'of it diff and apply, median', value: median(passes), unit: 'ms' }),
      figure('change', {
        figure: 'most shares planned for one change',
        value: shares,
        unit: 'shares',
        atMost: 4,
        baseline: `of ${2 * gateways + 1}`,
      }),
      figure('change', {
        figure: 'changes that are not in the kernel',
        value: wrong,
        unit: 'changes',
        atMost: 0,
      }),
      figure('change', {
        figure: 'repair of what another hand deleted, longest',
        value: Math.max(...repairs),
        unit: 'ms',
        atMost: 1000,
        baseline: repairs.map((ms) => ms.toFixed(0)).join(', '),
      }),
      figure('change', {
        figure: 'longest event-loop stall, cold start included',
        value: Number((await agent.ask('/status'))['stallMs']),
        unit: 'ms',
        atMost: 50,
      }),
    ]
  } finally {
    await agent.stop()
  }
}

interface Changes {
  /** From the registry to the last ACK, and of it diff and apply, in ms. */
  readonly latencies: readonly number[]
  readonly passes: readonly number[]
  /** The most that were planned for one change. */
  readonly shares: number
  /** Changes that are not in the kernel. */
  readonly wrong: number
}

/** Of an agent with `gateways` and `prefixes`. */
export async function changeTimes(agent: FleetAgent): Promise<Changes> {
  await pause(1000)
  const latencies: number[] = []
  const passes: number[] = []
  let shares = 0
  let wrong = 0
  for (let i = 0; i < changes; i++) {
    const n = 1 + (((i >> 2) * 37) % gateways)
    const { document, prefix, present } = changeOf(n, i)
    const { at, pass } = await change(agent, document)
    latencies.push(pass.at - at)
    passes.push(pass.fields['ms'] ?? 0)
    shares = Math.max(shares, pass.fields['shares'] ?? 0)
    if (pass.fields['failures'] !== 0 || (pass.fields['ops'] ?? 0) === 0) wrong++
    if (pass.fields.of?.includes(gatewayOf(document) ?? '') !== true) wrong++
    if (prefix !== undefined && (ip('route', 'show', 'table', '19539', prefix) !== '') !== present) wrong++
  }
  return { latencies, passes, shares, wrong }
}

/** Four changes a gateway in turn: advertise a prefix, another weight, withdraw the prefix, another port. */
function changeOf(
  n: number,
  i: number,
): { readonly document: Document; readonly prefix?: string; readonly present?: boolean } {
  const own = prefixesOf(n, { gateways, prefixes })
  const serial = 1763700100000 + i
  switch (i % 4) {
    case 0:
      return { document: fleetRecord(n, [...own, spare(n)], { serial }), prefix: spare(n), present: true }
    case 1:
      return { document: fleetRecord(n, [...own, spare(n)], { serial, weight: 2 }) }
    case 2:
      return { document: fleetRecord(n, own, { serial, weight: 2 }), prefix: spare(n), present: false }
    default:
      return { document: fleetRecord(n, own, { serial, weight: 2, endpoints: [fleetEndpoint(n, 51000)] }) }
  }
}

async function change(agent: FleetAgent, document: Document): Promise<{ at: number; pass: Pass }> {
  const at = await agent.registry.say(document)
  for (let tries = 0; tries < 400; tries++) {
    await pause(25)
    const { events } = (await agent.ask('/events')) as unknown as { events: readonly Pass[] }
    const pass = events.find((event) => event.event === 'pass' && event.at > at)
    if (pass !== undefined) return { at, pass }
  }
  throw new Error(`no pass followed the change of ${gatewayOf(document) ?? ''}`)
}

/** From the deletion until the kernel has it again. */
async function repairTimes(): Promise<readonly number[]> {
  const times: number[] = []
  for (const [i, damage] of damages.entries()) {
    await pause(3000)
    const [prefix = ''] = prefixesOf(100 + i, { gateways, prefixes })
    const isRoute = damage.includes('table')
    const all = (): string => (isRoute ? routeTo(prefix) : ip('-4', 'rule') + ip('-6', 'rule'))
    const whole = all()
    const began = performance.now()
    ip(...damage, ...(isRoute ? [prefix] : []))
    while (all() !== whole) {
      if (performance.now() - began > 30_000) throw new Error(`not repaired: ip ${damage.join(' ')}`)
      await pause(5)
    }
    times.push(performance.now() - began)
  }
  return times
}

/**
 * The route that the kernel would take; nothing where it has none. A look-up, not a list: one of 100,000 routes every few
 * milliseconds would be most of what is measured.
 */
function routeTo(prefix: string): string {
  try {
    return ip('route', 'get', 'fibmatch', prefix.slice(0, prefix.indexOf('/')))
  } catch {
    return ''
  }
}

export function worst(latencies: readonly number[]): string {
  const sorted = [...latencies].sort((a, b) => b - a)
  return sorted
    .slice(0, 5)
    .map((ms) => ms.toFixed(0))
    .join(', ')
}
