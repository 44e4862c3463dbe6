/**
 * Routes of the overlay's table, where the longest match decides: prefixes of other sites to their groups, `throw` for
 * what is ours or connected, and `unreachable` at the end of the overlay's own ranges. And the tables of bound underlays:
 * the routes that main has over that link, then nowhere.
 */
import type { Gateway } from '../model/gateway.ts'
import { overlayTable, underlayTable } from '../model/kernel-number.ts'
import type { KernelObject, Route } from '../model/kernel-object.ts'
import { familyOf, prefix, prefixOf } from '../model/prefix.ts'
import type { Family, Prefix } from '../model/prefix.ts'
import { prefixElement } from './firewall-element.ts'
import { overlayAddresses } from './local.ts'
import type { Local } from './local.ts'
import type { GroupRef } from './nexthop.ts'

/** Behind every route that main may have. */
const lastMetric = 0x7fffffff
/** What the kernel takes where a route is given no metric. */
const kernelMetric = { 4: 0, 6: 1024 } as const

/**
 * The route of a remote prefix to a group. There are 100,000 of these: each is one literal, which V8 keeps in a third of
 * the space that an object put together by spreading takes.
 */
export function prefixRoute(local: Local, { id, mtu }: GroupRef, prefix: Prefix): Route {
  const src = local.source[familyOf(prefix)]
  const nexthop = id
  if (mtu === undefined) {
    const route: Route = { kind: 'route', table: overlayTable, prefix, type: 'unicast', nexthop }
    return src === undefined ? route : { ...route, src }
  }
  return src === undefined
    ? { kind: 'route', table: overlayTable, prefix, type: 'unicast', nexthop, mtu }
    : { kind: 'route', table: overlayTable, prefix, type: 'unicast', nexthop, mtu, src }
}

/** Routes to a gateway's overlay addresses. Without `src` the kernel takes our own of the device. */
export function overlayRoutes(local: Local, gateway: Gateway, { id, mtu }: GroupRef): readonly Route[] {
  return overlayAddresses(local, gateway).map((address) => ({
    kind: 'route',
    table: overlayTable,
    prefix: prefixOf(address),
    type: 'unicast',
    nexthop: id,
    ...(mtu === undefined ? {} : { mtu }),
  }))
}

/** The overlay's ranges end here; beyond the known gateways there is nobody. */
export function overlayEnds({ overlay }: Local): readonly KernelObject[] {
  return overlay.flatMap((range): readonly KernelObject[] => [
    { kind: 'route', table: overlayTable, prefix: range, type: 'unreachable' },
    prefixElement('remote', range),
  ])
}

/** What stays out of the overlay though a remote prefix may hold it: to main, and past the egress guard. */
export function throwRoutes({ throws }: Local): readonly KernelObject[] {
  return throws.flatMap(({ prefix, guarded }): readonly KernelObject[] => {
    const route: Route = { kind: 'route', table: overlayTable, prefix, type: 'throw' }
    return guarded ? [route, prefixElement('local', prefix)] : [route]
  })
}

/** The tables of bound underlays. */
export function underlayRoutes({ sides, families, input }: Local): readonly Route[] {
  return sides.flatMap(({ u, bound }) => {
    if (bound === undefined) return []
    const table = underlayTable(u)
    const copies = new Map<string, Route>()
    for (const { prefix, link, via, metric } of input.facts.routes) {
      const key = `${prefix} ${metric}`
      // Several next hops of one prefix and metric: the first does, in any order of the dump.
      if (link !== bound || !families.includes(familyOf(prefix))) continue
      if (copies.has(key) && (copies.get(key)?.via ?? '') <= (via ?? '')) continue
      copies.set(key, {
        kind: 'route',
        table,
        prefix,
        type: 'unicast',
        link,
        ...(via === undefined ? {} : { via }),
        ...(metric === kernelMetric[familyOf(prefix)] ? {} : { metric }),
      })
    }
    return [...copies.values(), ...families.map((family) => blackhole(table, family))]
  })
}

function blackhole(table: number, family: Family): Route {
  const all = prefix(family === 4 ? '0.0.0.0/0' : '::/0')
  return { kind: 'route', table, prefix: all, type: 'blackhole', metric: lastMetric }
}
