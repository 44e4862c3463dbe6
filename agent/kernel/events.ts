/**
 * Events: what others change. An event is a hint, never data: it says that owned state may have drifted, that facts of the
 * host changed, or that events were lost.
 *
 * The kernel drops what this agent's own socket caused, and what nobody asked for (event-filter.ts). What comes through is
 * compared with what the daemon has been told already (told.ts). A burst of 20,000 foreign routes costs a walk over
 * their bytes and nothing more.
 */
import {
  isOwnedNexthop,
  linkPattern,
  overlayTable,
  rulePriority,
  underlayTable,
} from '../model/kernel-number.ts'
import { maxUnderlays } from '../model/fabric.ts'
import { decodeAddress } from './address.ts'
import type { Addon, Subscription } from './addon.ts'
import { routeFilter, typeFilter } from './event-filter.ts'
import type { Links } from './links.ts'
import { findAttribute, forEachMessage, u32At } from './message.ts'
import type { Change } from './port.ts'
import { family, group, mainTable, message } from './rtnetlink.ts'

/** A stalled reader of the default buffer got 256 of 20,000 events; 8 MiB held all. */
const bufferBytes = 8 << 20
const routeProtocolId = 0
const netfilterProtocol = 12
const netfilterTables = 7
/** NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWGEN: one a transaction. */
const newGeneration = (10 << 8) | 15
const attribute = { oif: 4, priority: 6, table: 15, nexthopId: 1 } as const
const permanent = 0x80
const unicast = 1
const priorities: ReadonlySet<number> = new Set(Object.values(rulePriority))

export interface EventOptions {
  readonly addon: Addon
  readonly links: Links
  readonly portId: number
  readonly onChange: (change: Change) => void
  /** Links by names of ours differ from what was told. Perhaps by our own doing, half way through: look again. */
  readonly onOwnLinks: (names: ReadonlySet<string>) => void
  /** Somebody wrote to the ruleset: ours or another, the generation will tell. */
  readonly onFirewall: () => void
  /** Forwarding or rp_filter of some link was written, perhaps by ourselves. */
  readonly onSysctl: () => void
}

export function subscribeToKernel(options: EventOptions): Subscription {
  const { addon, links, portId, onChange, onOwnLinks, onFirewall, onSysctl } = options
  const take = (chunk: Uint8Array): void => {
    const news = links.take(chunk)
    // A port of a bridge of ours is a link of the host.
    const seen = { rules: false, routes: false, objects: news.foreign, facts: news.foreign, sysctl: false }
    forEachMessage(chunk, (type, _flags, _seq, _pid, start, end) => {
      switch (type) {
        case message.newRoute:
        case message.delRoute:
          if (isOverlay(tableOf(chunk, start, end))) seen.routes = true
          else seen.facts ||= isFact(chunk, start, end, links)
          return
        case message.newNexthop:
        case message.delNexthop: {
          const at = findAttribute(chunk, start + 8, end, attribute.nexthopId)
          if (at >= 0 && isOwnedNexthop(u32At(chunk, at))) seen.routes = true
          return
        }
        case message.newRule:
        case message.delRule: {
          const at = findAttribute(chunk, start + 12, end, attribute.priority)
          if (at >= 0 && priorities.has(u32At(chunk, at))) seen.rules = true
          return
        }
        case message.newAddress:
        case message.delAddress: {
          const found = decodeAddress(chunk, start, end)
          if (found === undefined) return
          const own = linkPattern.test(links.nameOf(found.ifindex) ?? '')
          const known = links.told.knowsAddress(own, found.ifindex, `${found.address}/${found.length}`)
          if (known === (type === message.newAddress)) return
          seen[own ? 'objects' : 'facts'] = true
          return
        }
        case message.delNeighbour:
          // A static FDB entry of a VXLAN link of ours that went.
          if (chunk[start] === family.bridge && ((chunk[start + 8] ?? 0) & permanent) !== 0) {
            seen.objects ||= linkPattern.test(links.nameOf(u32At(chunk, start + 4)) ?? '')
          }
          return
        case message.newNetconf:
          seen.sysctl = true
          return
      }
    })
    if (news.own.size > 0) onOwnLinks(news.own)
    if (seen.objects) onChange('objects')
    else if (seen.routes) onChange('routes')
    else if (seen.rules) onChange('rules')
    if (seen.facts) onChange('facts')
    if (seen.sysctl) onSysctl()
  }
  const groups = Object.values(group)
  const overflow = (): void => {
    onChange('overflow')
  }
  const routing = addon.subscribe(routeProtocolId, groups, bufferBytes, take, overflow, routeFilter(portId))
  const generations = typeFilter(newGeneration)
  const firewall = addon.subscribe(
    netfilterProtocol,
    [netfilterTables],
    bufferBytes,
    onFirewall,
    onFirewall,
    generations,
  )
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
  return table === overlayTable || (table >= underlayTable(0) && table < underlayTable(maxUnderlays))
}

/** A unicast route of main that is the default, or over a link whose routes were asked for. */
function isFact(chunk: Uint8Array, start: number, end: number, links: Links): boolean {
  if (chunk[start + 4] !== mainTable || chunk[start + 7] !== unicast) return false
  if (chunk[start + 1] === 0) return true
  const at = findAttribute(chunk, start + 12, end, attribute.oif)
  return at >= 0 && links.told.bound.has(u32At(chunk, at))
}
