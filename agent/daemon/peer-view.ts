/** Peers as people ask for them: one row a gateway and underlay, with why it is not up and what to do. */
import { freshSeconds } from '../diff/equal.ts'
import type { Reason } from '../errors.ts'
import type { Kernel } from '../kernel/port.ts'
import type { Device, Peer } from '../model/kernel-object.ts'
import { keyOf } from '../model/kernel-object.ts'
import { laneOf, underlayOf } from '../model/device.ts'
import type { Gateway } from '../model/gateway.ts'
import type { Standing } from '../model/path-state.ts'
import { laneRoles } from '../plan/lane.ts'
import type { LaneRole } from '../plan/lane.ts'
import { localOf } from '../plan/local.ts'
import { pathsTo } from '../plan/path.ts'
import type { PathEntry } from '../probe/table.ts'
import { mtuAdvice } from './path-mtu.ts'
import { pathView, waysInUse } from './path-view.ts'
import type { PathView } from './path-view.ts'
import type { Reconciler } from './reconciler.ts'
import { formatAgo } from './duration.ts'

/**
 * Of the tunnel while no probe tells more: `connecting`, `stale`, `missing`; else how its path stands, `up` where it is fit.
 * While keys rotate there are several tunnels a path: besides the one in use those that wait for the far end to take the new
 * keys up (`rekeying`), and those of old keys that rest (`retiring`).
 */
export type PeerState =
  'up' | 'connecting' | 'stale' | 'missing' | 'rekeying' | 'retiring' | Exclude<Standing, 'fit'>

export interface PeerView {
  readonly gateway: string
  readonly site: string
  readonly underlay: string
  readonly device: string
  readonly state: PeerState
  readonly publicKey: string
  readonly endpoint?: string
  /** Unix seconds; 0: never. */
  readonly latestHandshake: number
  readonly receivedBytes: number
  readonly sentBytes: number
  readonly prefixes: number
  /** Absent where nothing is probed. */
  readonly path?: PathView
  readonly reason?: string
  readonly next?: string
}

const kinds = new Set(['device', 'peer'] as const)

/** Peers as they were last seen, by key. */
export type Seen = ReadonlyMap<string, Peer>

export interface PeersSeen {
  readonly views: readonly PeerView[]
  readonly seen: Seen
  /** Of devices that could not be asked: what is shown of their peers is from `before`. */
  readonly silent: readonly Reason[]
}

/** What probes know of a path. */
export type EntryOf = (gateway: string, underlay: string, lane: number) => PathEntry | undefined

/** False for a tunnel of keys that are not used yet, or no more: it says nothing of how the peer is. */
export function isInUse({ state }: Pick<PeerView, 'state'>): boolean {
  return state !== 'rekeying' && state !== 'retiring'
}

/** Live view; dumps devices and peers. `before`: what the last one saw. */
export async function peerViews(
  reconciler: Reconciler,
  entryOf: EntryOf,
  kernel: Kernel,
  before: Seen,
  nowSeconds: number,
  signal: AbortSignal,
): Promise<PeersSeen> {
  const observed = new Map<string, Peer>()
  const silent = new Map<string, Reason>()
  const inPlaceOf = (device: string, reason: Reason): readonly Peer[] => {
    silent.set(device, reason)
    return [...before.values()].filter((peer) => peer.device === device)
  }
  const devices = new Map<string, Device>()
  for await (const part of kernel.observe({ sysctls: [], kinds, inPlaceOf }, signal)) {
    for (const object of part) {
      if (object.kind === 'peer') observed.set(keyOf(object), object)
      else if (object.kind === 'device') devices.set(object.name, object)
    }
  }
  const { snapshot } = reconciler.inputs.admission
  const views: PeerView[] = []
  const used = waysInUse(reconciler.desired)
  for (const object of desiredPeers(reconciler)) {
    if (object.gateway === undefined) continue
    const gateway = snapshot?.gateways.get(object.gateway)
    const live = observed.get(keyOf(object))
    const index = Number(object.device.slice('ls-wg'.length))
    const u = underlayOf(index)
    const latestHandshake = live?.latestHandshake ?? 0
    const silence = silent.get(object.device)
    const underlay = snapshot?.fabric.underlays[u]?.name ?? String(u)
    const entry = entryOf(object.gateway, underlay, laneOf(index))
    const path =
      entry === undefined ? undefined : pathView(entry, used.has(`${object.gateway} ${object.device}`))
    const tunnel = silence === undefined ? stateOf(live, latestHandshake, nowSeconds) : 'stale'
    const role = gateway === undefined ? 'current' : roleOf(reconciler, gateway, index)
    const state = tunnel === 'missing' || role === 'current' ? withPath(tunnel, path) : stateByRole[role]
    const endpoint = live?.endpoint ?? object.endpoint
    views.push({
      gateway: object.gateway,
      site: gateway?.site.name ?? '',
      underlay,
      device: object.device,
      state,
      publicKey: object.publicKey,
      ...(endpoint === undefined ? {} : { endpoint }),
      latestHandshake,
      receivedBytes: live?.received ?? 0,
      sentBytes: live?.sent ?? 0,
      prefixes: gateway?.prefixes.length ?? 0,
      ...(path === undefined ? {} : { path }),
      ...(silence === undefined
        ? explain(object, devices.get(object.device), state, path, latestHandshake, nowSeconds)
        : { reason: `${object.device}: ${silence.reason}; what is shown is older`, ...nextOf(silence) }),
    })
  }
  views.sort((a, b) => compare(a.gateway, b.gateway) || compare(a.device, b.device))
  return { views, seen: observed, silent: [...silent.values()] }
}

/** A gateway's share begins with its peers, or soon comes to them; its prefixes are many and are passed over. */
function* desiredPeers({ desired }: Reconciler): Generator<Peer> {
  for (const { key, objects } of desired.shares) {
    if (!key.startsWith('gateway ')) continue
    for (const object of objects) if (object.kind === 'peer') yield object
  }
}

const stateByRole = { newer: 'rekeying', older: 'retiring' } as const

function roleOf({ planned }: Reconciler, gateway: Gateway, device: number): LaneRole {
  const local = planned === undefined ? undefined : localOf(planned)
  if (local === undefined) return 'current'
  const { paths } = pathsTo(local, gateway)
  return laneRoles(paths, gateway.name, local.input.paths).get(device) ?? 'current'
}

/** Answers to probes are news of this second, a handshake may be minutes old. */
function withPath(tunnel: PeerState, path: PathView | undefined): PeerState {
  if (path === undefined || tunnel === 'missing' || path.condition === 'unknown') return tunnel
  if (path.standing !== 'fit') return tunnel === 'connecting' ? tunnel : path.standing
  return path.condition === 'up' ? 'up' : tunnel
}

function stateOf(live: Peer | undefined, handshake: number, nowSeconds: number): PeerState {
  if (live === undefined) return 'missing'
  if (handshake === 0) return 'connecting'
  return nowSeconds - handshake < freshSeconds ? 'up' : 'stale'
}

function explain(
  { endpoint, device }: Peer,
  live: Device | undefined,
  state: PeerState,
  path: PathView | undefined,
  handshake: number,
  nowSeconds: number,
): Pick<PeerView, 'reason' | 'next'> {
  const port = live?.listenPort ?? 0
  switch (state) {
    case 'up':
    case 'degraded':
    case 'draining':
    case 'not-forwarding':
      return pathReason(path)
    case 'down':
      return {
        reason: path?.reasons.join('; ') ?? '',
        next: `check that ${endpoint ?? 'the gateway'} is up and that UDP ${port} still comes in here`,
      }
    case 'silent':
      return { reason: path?.reasons.join('; ') ?? '', next: 'see there what `linkspan status` says' }
    case 'rekeying':
      return { reason: 'waits until the far end takes up the new keys; the ones before are in use till then' }
    case 'retiring':
      return { reason: 'of keys that retire once nobody uses them any more' }
    case 'missing':
      return {
        reason: `${device} does not hold this peer`,
        next: 'see the errors below; an audit repairs it',
      }
    case 'connecting':
      return endpoint === undefined
        ? {
            reason: 'no handshake yet: it is behind NAT, so we wait to be called',
            next: `let UDP ${port} in here, and check that its agent runs`,
          }
        : {
            reason: `no handshake yet with ${endpoint}`,
            next: `let UDP out to ${endpoint} and UDP ${port} in here, and check that its agent runs`,
          }
    case 'stale':
      return {
        reason: `the last handshake was ${formatAgo(nowSeconds - handshake)}`,
        next: `check that ${endpoint ?? 'the gateway'} is up and that UDP ${port} still comes in here`,
      }
  }
}

function pathReason(path: PathView | undefined): Pick<PeerView, 'reason' | 'next'> {
  const { reasons = [], mtu = 0, mtuByDocuments = 0 } = path ?? {}
  if (reasons.length === 0) return {}
  return { reason: reasons.join('; '), ...(mtu < mtuByDocuments ? { next: mtuAdvice } : {}) }
}

function nextOf({ next }: Reason): Pick<PeerView, 'next'> {
  return next === undefined ? {} : { next }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
