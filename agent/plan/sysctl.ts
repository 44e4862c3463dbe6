/**
 * Sysctls that forwarding needs, and the one that WireGuard changes of itself: the kernel's sets all.send_redirects to 0
 * as a link goes up (drivers/net/wireguard/device.c, wg_open). Planned, it is remembered and put back by `down`. IPv4
 * forwards per link, so only ours and the site's are switched on. IPv6 forwards only by `all.forwarding`, and that makes
 * a link with accept_ra 1 deny router advertisements: its default route would go at once. With 2 it keeps it, so 2 comes
 * first.
 */
import { deviceName } from '../model/device.ts'
import type { HostLink } from '../model/host.ts'
import type { Sysctl } from '../model/kernel-object.ts'
import { familyOf } from '../model/prefix.ts'
import type { Local } from './local.ts'
import type { HeldDevice } from './wireguard.ts'

const sendRedirects = 'net/ipv4/conf/all/send_redirects'

export function sysctls(local: Local, held: readonly HeldDevice[]): readonly Sysctl[] {
  const { facts } = local.input
  const devices = held.map(({ index }) => deviceName(index))
  const exists = (name: string): boolean => facts.links.some((link) => link.name === name)
  const forwarding = unique([...devices, ...local.siteLinks.filter(exists)])
  const loose = unique([...devices, ...local.sides.flatMap(({ links }) => links)])
  return [
    ...forwarding.map((link) => sysctl(`net/ipv4/conf/${link}/forwarding`, '1')),
    // Loose: a reply may come by another underlay, and an endpoint may lie inside a remote prefix.
    ...loose.map((link) => sysctl(`net/ipv4/conf/${link}/rp_filter`, '2')),
    sysctl(sendRedirects, '0'),
    // Addresses and ports choose the member of a group: flows spread, packets of one flow stay together.
    sysctl('net/ipv4/fib_multipath_hash_policy', '1'),
    ...(facts.ipv6
      ? [
          sysctl('net/ipv6/fib_multipath_hash_policy', '1'),
          ...facts.links
            .filter(listensToRouters)
            .map(({ name }) => sysctl(`net/ipv6/conf/${name}/accept_ra`, '2')),
          sysctl('net/ipv6/conf/all/forwarding', '1'),
        ]
      : []),
  ]
}

/** 2 as well, which it is from our first pass on. Where the value is not known: every link that has IPv6. */
function listensToRouters({ acceptRa, addresses }: HostLink): boolean {
  if (acceptRa !== undefined) return acceptRa === 1 || acceptRa === 2
  return addresses.some(({ address }) => familyOf(address) === 6)
}

function sysctl(name: string, value: string): Sysctl {
  return { kind: 'sysctl', name, value }
}

function unique(names: readonly string[]): readonly string[] {
  return [...new Set(names)].sort()
}
