/**
 * Events: what others change. An event is a hint, never data: it says that owned state may have drifted, that facts of the
 * host changed, or that events were lost.
 *
 * What this agent's own socket caused carries its port id in nlmsg_pid and is passed over. So is what nobody asked for:
 * foreign routes outside main, statistics of links, learned neighbours. A burst of 20,000 foreign routes costs a walk over
 * their bytes and nothing more.
 */
import { isOwnedNexthop, linkPattern, overlayTable, rulePriority, underlayTable } from '../model/kernel-number.ts'
import type { Addon, Subscription } from './addon.ts'
import type { Links } from './links.ts'
import { findAttribute, forEachMessage, u32At } from './message.ts'
import type { Change } from './port.ts'
import { family, group, mainTable, message } from './rtnetlink.ts'

/** A stalled reader of the default buffer got 256 of 20,000 events; 8 MiB held all. */
const bufferBytes = 8 << 20
const routeProtocolId = 0
const netfilterProtocol = 12
const netfilterTables = 7
const attribute = { table: 15, priority: 6, nexthopId: 1 } as const
const permanent = 0x80

export interface EventOptions {
  readonly addon: Addon
  readonly links: Links
  readonly portId: number
  readonly onChange: (change: Change) => void
  /** Somebody wrote to the ruleset: ours or another, the generation will tell. */
  readonly onFirewall: () => void
}

export function subscribeToKernel({ addon, links, portId, onChange, onFirewall }: EventOptions): Subscription {
  const take = (chunk: Uint8Array): void => {
    let objects = false
    let facts = false
    forEachMessage(chunk, (type, _flags, _seq, pid, start, end) => {
      if (pid === portId) return
      switch (type) {
        case message.newRoute:
        case message.delRoute: {
          const table = tableOf(chunk, start, end)
          // Local and broadcast routes come and go with addresses, which are told of by themselves.
          if (isOverlay(table)) objects = true
          else if (table === mainTable && chunk[start + 7] === 1) facts = true
          return
        }
        case message.newNexthop:
        case message.delNexthop: {
          const at = findAttribute(chunk, start + 8, end, attribute.nexthopId)
          if (at >= 0 && isOwnedNexthop(u32At(chunk, at))) objects = true
          return
        }
        case message.newRule:
        case message.delRule: {
          const at = findAttribute(chunk, start + 12, end, attribute.priority)
          const priority = at < 0 ? 0 : u32At(chunk, at)
          if (Object.values(rulePriority).some((own) => own === priority)) objects = true
          return
        }
        case message.newAddress:
        case message.delAddress:
          if (linkPattern.test(links.nameOf(u32At(chunk, start + 4)) ?? '')) objects = true
          else facts = true
          return
        case message.delNeighbour:
          // A static FDB entry of a VXLAN link of ours that went.
          if (chunk[start] === family.bridge && ((chunk[start + 8] ?? 0) & permanent) !== 0) {
            if (linkPattern.test(links.nameOf(u32At(chunk, start + 4)) ?? '')) objects = true
          }
          return
      }
    })
    for (const name of links.take(chunk)) {
      // A port that leaves or joins, or a link of ours: objects. Anything else is a fact; a port is both.
      if (linkPattern.test(name)) objects = true
      else objects = facts = true
    }
    if (objects) onChange('objects')
    if (facts) onChange('facts')
  }
  const overflow = (): void => {
    onChange('overflow')
  }
  const groups = [
    group.link,
    group.neighbour,
    group.address4,
    group.address6,
    group.route4,
    group.route6,
    group.rule4,
    group.rule6,
    group.nexthop,
  ]
  const routing = addon.subscribe(routeProtocolId, groups, bufferBytes, take, overflow)
  const firewall = addon.subscribe(netfilterProtocol, [netfilterTables], bufferBytes, onFirewall, onFirewall)
  return {
    close() {
      routing.close()
      firewall.close()
    },
  }
}

function tableOf(chunk: Uint8Array, start: number, end: number): number {
  const at = findAttribute(chunk, start + 12, end, attribute.table)
  return at < 0 ? (chunk[start + 4] ?? 0) : u32At(chunk, at)
}

function isOverlay(table: number): boolean {
  return table === overlayTable || (table >= underlayTable(0) && table <= underlayTable(3))
}
