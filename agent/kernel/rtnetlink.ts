/** Numbers of linux/rtnetlink.h, linux/if_link.h, linux/nexthop.h, linux/neighbour.h and linux/if_addr.h that the codecs use. */

export const message = {
  newLink: 16,
  delLink: 17,
  getLink: 18,
  newAddress: 20,
  delAddress: 21,
  getAddress: 22,
  newRoute: 24,
  delRoute: 25,
  getRoute: 26,
  newNeighbour: 28,
  delNeighbour: 29,
  getNeighbour: 30,
  newRule: 32,
  delRule: 33,
  getRule: 34,
  newNexthop: 104,
  delNexthop: 105,
  getNexthop: 106,
  newNetconf: 80,
} as const

/** Multicast groups (enum rtnetlink_groups). */
export const group = {
  link: 1,
  neighbour: 3,
  address4: 5,
  route4: 7,
  rule4: 8,
  address6: 9,
  route6: 11,
  rule6: 19,
  netconf4: 24,
  netconf6: 25,
  nexthop: 32,
} as const

export const family = { unspecified: 0, inet: 2, bridge: 7, inet6: 10 } as const
export const mainTable = 254
export const scope = { universe: 0, link: 253 } as const
