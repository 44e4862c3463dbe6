/**
 * When is an observed object what is desired? Compared are the fields linkspan decides; counters, texts for printing and
 * whatever the kernel adds are not. Both objects have the same kind and key.
 */
import type { Link, KernelObject, NexthopGroup, Peer, Route } from '../model/kernel-object.ts'

/** A handshake older than this, in seconds, carries no packets: REJECT_AFTER_TIME, WireGuard paper section 6.1. */
export const freshSeconds = 180

/** `nowSeconds`: Unix time, to tell fresh handshakes. */
export function isEqual(desired: KernelObject, observed: KernelObject, nowSeconds: number): boolean {
  switch (desired.kind) {
    case 'route':
      return observed.kind === 'route' && equalRoutes(desired, observed)
    case 'allowed-ip':
      return observed.kind === 'allowed-ip' && desired.publicKey === observed.publicKey
    case 'link':
      return observed.kind === 'link' && equalLinks(desired, observed)
    case 'port':
      return observed.kind === 'port' && desired.master === observed.master
    case 'device':
      return (
        observed.kind === 'device' &&
        desired.publicKey === observed.publicKey &&
        desired.listenPort === observed.listenPort &&
        desired.fwmark === observed.fwmark
      )
    case 'peer':
      return (
        observed.kind === 'peer' &&
        desired.keepalive === observed.keepalive &&
        // Only what we desired before knows.
        (observed.from === undefined || desired.from === observed.from) &&
        isEndpointRight(desired, observed, nowSeconds)
      )
    case 'nexthop':
      return (
        observed.kind === 'nexthop' &&
        desired.family === observed.family &&
        desired.device === observed.device &&
        desired.blackhole === observed.blackhole
      )
    case 'group':
      return observed.kind === 'group' && equalGroups(desired, observed)
    case 'sysctl':
      return observed.kind === 'sysctl' && desired.value === observed.value
    case 'ruleset':
      return observed.kind === 'ruleset' && desired.digest === observed.digest
    case 'element':
    case 'address':
    case 'fdb':
    case 'rule':
      return true // the key is all there is
  }
}

function equalRoutes(desired: Route, observed: Route): boolean {
  return (
    desired.nexthop === observed.nexthop &&
    desired.type === observed.type &&
    desired.mtu === observed.mtu &&
    desired.src === observed.src &&
    desired.via === observed.via &&
    desired.link === observed.link
  )
}

function equalGroups(desired: NexthopGroup, observed: NexthopGroup): boolean {
  if (observed.otherTimers === true || desired.members.length !== observed.members.length) return false
  return desired.members.every((member, i) => {
    const other = observed.members[i]
    return other?.id === member.id && other.weight === member.weight
  })
}

function equalLinks(desired: Link, observed: Link): boolean {
  return (
    !mustBeRemade(desired, observed) &&
    desired.mtu === observed.mtu &&
    desired.up === observed.up &&
    desired.group === observed.group &&
    desired.master === observed.master &&
    (desired.alias === undefined || desired.alias === observed.alias) &&
    (desired.mac === undefined || desired.mac === observed.mac)
  )
}

/** True where no message changes the one link into the other: a type is for life, and so are VNI and port of VXLAN. */
export function mustBeRemade(desired: Link, observed: Link): boolean {
  if (desired.type !== observed.type) return true
  const [a, b] = [desired.vxlan, observed.vxlan]
  if (a === undefined || b === undefined) return a !== b
  return a.vni !== b.vni || a.local !== b.local || a.port !== b.port || a.learning !== b.learning
}

/**
 * WireGuard learns where a peer really is, so an endpoint that differs is normally right: it is left alone while the
 * handshake is fresh, unless it is that peer's address on another underlay. A peer without `latestHandshake` is what we
 * ourselves desired before: then the record changed, and the new endpoint goes in.
 */
export function isEndpointRight(desired: Peer, observed: Peer, nowSeconds: number): boolean {
  if (desired.endpoint === undefined || desired.endpoint === observed.endpoint) return true
  if (observed.endpoint === undefined || observed.latestHandshake === undefined) return false
  if (nowSeconds - observed.latestHandshake >= freshSeconds) return false
  const address = addressOfEndpoint(observed.endpoint)
  return !(desired.elsewhere ?? []).some((other) => other === address)
}

function addressOfEndpoint(endpoint: string): string {
  return endpoint.slice(0, endpoint.lastIndexOf(':')).replace(/^\[|\]$/g, '')
}
