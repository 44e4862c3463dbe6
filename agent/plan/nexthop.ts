/**
 * Nexthops: one per device, and groups of them.
 *
 * A prefix's route points at the group of exactly the gateways that originate it, so when one of them fails, or moves to
 * another underlay, one group is replaced, whatever the number of prefixes. A group never stands empty: with every path
 * down its one member is the blackhole, and the routes stay to hold the traffic back.
 */
import { deviceName } from '../model/device.ts'
import type { Gateway } from '../model/gateway.ts'
import { nexthopId } from '../model/kernel-number.ts'
import type { Nexthop, NexthopGroup } from '../model/kernel-object.ts'
import type { PathState } from '../model/path-state.ts'
import type { Local } from './local.ts'
import { choose, compare } from './choice.ts'
import { mtuOf } from './path.ts'
import type { Path } from './path.ts'
import type { HeldDevice } from './wireguard.ts'

/** IPv6 nexthops carry routes of both families; without IPv6 only IPv4 ones exist. */
function ids({ families }: Local): {
  readonly family: 4 | 6
  readonly device: (i: number) => number
  readonly blackhole: number
} {
  return families.includes(6)
    ? { family: 6, device: nexthopId.device, blackhole: nexthopId.blackhole }
    : { family: 4, device: nexthopId.device4, blackhole: nexthopId.blackhole4 }
}

/** The nexthop of each device, and the blackhole. */
export function deviceNexthops(local: Local, held: readonly HeldDevice[]): readonly Nexthop[] {
  const { family, device, blackhole } = ids(local)
  return [
    ...held.map(({ index }): Nexthop => ({
      kind: 'nexthop',
      id: device(index),
      family,
      device: deviceName(index),
    })),
    { kind: 'nexthop', id: blackhole, family, blackhole: true },
  ]
}

/** A gateway that a group leads to, with its paths. */
export interface Via {
  readonly gateway: Gateway
  readonly paths: readonly Path[]
}

/** What routes know of a group: nothing that a failover changes. */
export interface GroupRef {
  readonly id: number
  /**
   * Least of all paths, as documents say or as it was found, whatever their state, so that a failover touches no route; absent
   * where there is no path.
   */
  readonly mtu?: number
}

export function groupRef(local: Local, key: string, vias: readonly Via[]): GroupRef {
  const id = local.input.ids.idOf(key)
  const { paths: state } = local.input
  const mtus = vias.flatMap(({ gateway, paths }) => paths.map((path) => mtuOf(path, gateway.name, state)))
  return mtus.length === 0 ? { id } : { id, mtu: Math.min(...mtus) }
}

/** The gateways that stand best, each on its best path; the blackhole where all are down. */
export function groupOf(local: Local, key: string, vias: readonly Via[]): NexthopGroup {
  const { device, blackhole } = ids(local)
  const { paths: state } = local.input
  const ways = vias.flatMap(({ gateway, paths }) => {
    const way = local.self.barred === true ? undefined : choose(paths, gateway, state)
    return way === undefined ? [] : [{ gateway, ...way }]
  })
  const best = ways.map(({ standing }) => standing).sort(compare)[0]
  const members = ways
    .filter(({ standing }) => standing === best)
    .map(({ gateway, path }) => ({ id: device(path.device), weight: weightOf(gateway, state) }))
    .sort((a, b) => a.id - b.id)
  return {
    kind: 'group',
    id: local.input.ids.idOf(key),
    members: members.length > 0 ? members : [{ id: blackhole, weight: 1 }],
    of: key,
  }
}

/** True where the blackhole is its only member. */
export function isBlackhole(local: Local, { members }: NexthopGroup): boolean {
  return members[0]?.id === ids(local).blackhole
}

/** The kernel takes 1 to 256 (struct nexthop_grp holds the weight less one in a byte). */
function weightOf(gateway: Gateway, state: PathState): number {
  return Math.min(256, Math.max(1, Math.round(state.weightOf(gateway.name) ?? gateway.weight)))
}
