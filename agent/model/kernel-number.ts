/**
 * The names, ids and numbers by which linkspan's kernel objects are recognised after a restart. One place, because two
 * definitions of "ours" delete somebody else's objects sooner or later. diff/ownership.ts applies them.
 */

/** Link group of every owned link ("LS"). */
export const linkGroup = 0x4c53
export const linkPattern = /^ls-(wg([0-9]|[1-5][0-9]|6[0-3])|(vx|br|vrf)[0-9]{1,8})$/

/** rtnetlink protocol of our routes and rules (free in rtnetlink.h and iproute2's rt_protos). */
export const routeProtocol = 76
/** Nexthops carry RTPROT_KERNEL: systemd-networkd 252 deletes groups of any other. */
export const nexthopProtocol = 2

/** Routing table of the default network. */
export const overlayTable = 19539
/** Table of underlay number u where it is bound to a link. */
export const underlayTable = (u: number): number => 19540 + u

export const rulePriority = {
  /** WireGuard's own packets to main, or to the table of their underlay. */
  underlay: 19529,
  /** WireGuard's own packets that found no route: nowhere. */
  stop: 19530,
  /** Everybody else's packets into the overlay table. */
  overlay: 19531,
} as const

export const underlayMark = (u: number): number => 0x4c5300 + u
export const underlayMarkMask = 0xffffff00

export const nexthopId = {
  /** Device nexthop of ls-wg<i>: an IPv6 nexthop, which serves both families. */
  device: (i: number): number => 0x4c000000 + i,
  /** The same as an IPv4 nexthop, where the host has IPv6 disabled. */
  device4: (i: number): number => 0x4c000040 + i,
  blackhole: 0x4c0000fe,
  blackhole4: 0x4c0000ff,
  firstGroup: 0x4c001000,
  last: 0x4cffffff,
} as const

export function isOwnedNexthop(id: number): boolean {
  return id >= 0x4c000000 && id <= nexthopId.last
}

export const groupBuckets = 64
/**
 * Of resilient groups, in seconds. A gateway that comes back is given buckets that were idle for so long at once; after the
 * second time the busy ones as well. With the kernel's 120 and never, the third of a busy site comes back and carries nothing.
 * (Beside a single one it has its half at once: the kernel keeps no account of buckets where there is no choice.)
 */
export const groupTimers = { idle: 10, unbalanced: 30 } as const

/** What hosts sent through tunnels by way of this gateway, in either direction. */
export const carriedCounter = 'carried'
export const nftTable = 'linkspan'
export const vxlanPort = 4789
