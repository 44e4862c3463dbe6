/** What the tests of kill -9 share: counting writes, and a look at the kernel that leaves out what comes by chance. */
import { dump } from './dump.ts'
import type { Runner } from './dump.ts'
import type { Gateway } from './gateway.ts'

/** Stops an agent with failpoint.ts that has not died; its writes. */
export async function writesOf(gateway: Gateway): Promise<number> {
  await gateway.stop()
  await gateway.untilLogged('failpoint writes=')
  return Number(/failpoint writes=([0-9]+)/.exec(gateway.log)?.[1])
}

/**
 * The dump without what comes by chance when links are made (their MAC addresses, and who was first on a bridge) and by
 * history: a group that had gone comes back under another id, so that its members name it here.
 */
export function look(machine: Runner): readonly string[] {
  const lines = dump(machine)
  const members = new Map<string, string>()
  for (const line of lines) {
    const [, id, group] = /^nexthop\tid (\d+) group (\S+)/.exec(line) ?? []
    if (id !== undefined && group !== undefined) members.set(id, group)
  }
  return lines.map((line) => {
    const named = line.replace(/\b(id|nhid) (\d+)/, (text, word: string, id: string) => {
      const group = members.get(id)
      return group === undefined ? text : `${word} ${group}`
    })
    if (!/lan0|ls-(vx|br)/.test(line)) return named
    return named
      .replace(/([0-9a-f]{1,2}:){5}[0-9a-f]{1,2}/g, 'MAC')
      .replace(/ (port_id|port_no|designated_port) \S+/g, '')
  })
}
