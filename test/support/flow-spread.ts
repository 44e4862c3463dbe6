/** Which device each flow of a meter leaves a gateway by, as the gateway's own kernel counts them: one set element a flow. */
import type { Machine } from './machine.ts'

const table = 'inet flow_spread'

/** Devices by source port. A flow that moved while it was counted has several. */
export type Spread = ReadonlyMap<number, readonly string[]>

/** Counts from now on what goes to that UDP port. */
export function countFlows(machine: Machine, port: number): void {
  machine.attempt('nft', 'delete', 'table', ...table.split(' '))
  machine.run('nft', `add table ${table}`)
  machine.run('nft', `add set ${table} flows { typeof meta oifname . udp sport; flags dynamic; size 65536; }`)
  machine.run('nft', `add chain ${table} out { type filter hook postrouting priority 300; }`)
  machine.run(
    'nft',
    `add rule ${table} out oifname "ls-wg*" udp dport ${port} add @flows { oifname . udp sport }`,
  )
}

/** What was seen since then, or since this was last asked. */
export function takeFlows(machine: Machine): Spread {
  const listed = machine.run('nft', 'list', 'set', ...table.split(' '), 'flows')
  machine.run('nft', 'flush', 'set', ...table.split(' '), 'flows')
  const spread = new Map<number, readonly string[]>()
  for (const [, device = '', flow] of listed.matchAll(/"(ls-wg[0-9]+)" \. ([0-9]+)/g)) {
    spread.set(Number(flow), [...(spread.get(Number(flow)) ?? []), device].sort())
  }
  return spread
}

/** Share of the flows that leave by this device: 0-1. */
export function shareOf(spread: Spread, device: string): number {
  return [...spread.values()].filter((devices) => devices.join() === device).length / spread.size
}

/** Flows that leave by another device than before, of those that left by none of `gone`. */
export function movedOthers(before: Spread, after: Spread, gone: string): readonly number[] {
  return [...before]
    .filter(([flow, devices]) => devices.join() !== gone && devices.join() !== after.get(flow)?.join())
    .map(([flow]) => flow)
}
