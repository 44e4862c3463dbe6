/** The answers of the control socket: status, peers, routes, plan. Plain JSON, with a schema number that only grows. */
import type { Kernel } from '../kernel/port.ts'
import type { Route } from '../model/kernel-object.ts'
import { overlayTable } from '../model/kernel-number.ts'
import type { Note } from '../plan/input.ts'
import type { Vanished } from '../trust/ledger.ts'
import type { Refusal } from '../trust/refusal.ts'
import type { Reason } from '../errors.ts'
import type { PeerView } from './peer-view.ts'
import { peerViews } from './peer-view.ts'
import type { Reconciler } from './reconciler.ts'
import type { Trouble } from './trouble.ts'

export const schema = 1

export type Health = 'ok' | 'degraded' | 'waiting'

export interface Status {
  readonly schema: typeof schema
  readonly health: Health
  /** One sentence. */
  readonly summary: string
  readonly version: string
  readonly fabric: string
  readonly gateway: string
  readonly site: string
  readonly number?: number
  readonly overlay: readonly string[]
  /** `kernel` or `wireguard-go`. */
  readonly dataPlane: string
  readonly uptimeSeconds: number
  readonly peers: readonly PeerView[]
  readonly routes: number
  readonly registry: { readonly source: string; readonly ageSeconds?: number; readonly unreadable: readonly Reason[] }
  readonly conflicts: readonly Reason[]
  readonly failures: readonly Trouble[]
  readonly refusals: readonly Refusal[]
  readonly vanished: readonly Vanished[]
  readonly notes: readonly Note[]
}

export interface StatusOptions {
  readonly reconciler: Reconciler
  readonly kernel: Kernel
  readonly version: string
  readonly fabric: string
  readonly gateway: string
  readonly site: string
  readonly registry: string
  /** performance.now() of the start. */
  readonly startedAt: number
}

/** Seconds for which a view of the peers is used again, so that scrapes and people together cost one dump. */
const cachedMs = 1000

export class StatusView {
  readonly #options: StatusOptions
  #peers: { readonly at: number; readonly views: Promise<readonly PeerView[]> } | undefined

  constructor(options: StatusOptions) {
    this.#options = options
  }

  peers(): Promise<readonly PeerView[]> {
    const { reconciler, kernel } = this.#options
    if (this.#peers !== undefined && performance.now() - this.#peers.at < cachedMs) return this.#peers.views
    const nowSeconds = Math.floor(Date.now() / 1000)
    const views = peerViews(reconciler, kernel, nowSeconds, AbortSignal.timeout(10_000))
    this.#peers = { at: performance.now(), views }
    views.catch(() => {
      this.#peers = undefined // whoever asked has the error
    })
    return views
  }

  async status(): Promise<Status> {
    const { reconciler, version, fabric, gateway, site, registry, startedAt } = this.#options
    const peers = await this.peers()
    const { snapshot, refusals, vanished } = reconciler.admission
    const { troubles, desired, facts, registryAtMs, unreadable } = reconciler
    const self = snapshot?.gateways.get(gateway)
    const overlay = [...desired.objects()].flatMap((object) =>
      object.kind === 'address' && !object.address.startsWith('fe80:') ? [object.address] : [],
    )
    const up = peers.filter(({ state }) => state === 'up').length
    const { failures, conflicts } = troubles
    const problems = failures.length + conflicts.length + refusals.length + unreadable.length
    const health: Health =
      snapshot === undefined || self === undefined || !reconciler.settled
        ? 'waiting'
        : up < peers.length || problems > 0
          ? 'degraded'
          : 'ok'
    return {
      schema,
      health,
      summary: this.#summary(health, up, peers.length, problems),
      version,
      fabric,
      gateway,
      site: self?.site.name ?? site,
      ...(self === undefined ? {} : { number: self.number }),
      overlay: [...new Set(overlay)],
      dataPlane: facts?.features.wireguard === false ? 'wireguard-go' : 'kernel',
      uptimeSeconds: Math.round((performance.now() - startedAt) / 1000),
      peers,
      routes: desired.count('route'),
      registry: {
        source: registry,
        ...(registryAtMs === undefined ? {} : { ageSeconds: Math.round((Date.now() - registryAtMs) / 1000) }),
        unreadable,
      },
      conflicts,
      failures,
      refusals,
      vanished,
      notes: [...desired.notes()],
    }
  }

  #summary(health: Health, up: number, all: number, problems: number): string {
    const { reconciler, gateway } = this.#options
    const { snapshot } = reconciler.admission
    if (health === 'waiting') {
      if (snapshot === undefined) return 'the registry holds no fabric document yet'
      if (!snapshot.gateways.has(gateway)) {
        return reconciler.documentOf('certificate', gateway) === undefined
          ? `waiting for a certificate: run \`linkspan registry add ${gateway}\` where the registry is kept`
          : 'waiting for our own record to come back from the registry'
      }
      return 'the first audit is not done yet'
    }
    const tunnels = `${up} of ${all} tunnels up`
    return problems === 0 ? tunnels : `${tunnels}, ${problems} ${problems === 1 ? 'problem' : 'problems'}`
  }

  routes(): readonly RouteView[] {
    const { reconciler } = this.#options
    const groups = new Map<number, { members: readonly number[]; of?: string }>()
    const devices = new Map<number, string>()
    const routes: Route[] = []
    for (const object of reconciler.desired.objects()) {
      if (object.kind === 'group') {
        const members = object.members.map(({ id }) => id)
        groups.set(object.id, { members, ...(object.of === undefined ? {} : { of: object.of }) })
      } else if (object.kind === 'nexthop') {
        devices.set(object.id, object.device ?? 'blackhole')
      } else if (object.kind === 'route' && object.table === overlayTable) routes.push(object)
    }
    const views: RouteView[] = routes.map(({ prefix, type, nexthop, mtu, src }) => {
      const group = nexthop === undefined ? undefined : groups.get(nexthop)
      return {
        prefix,
        type,
        ...(group === undefined ? {} : { devices: group.members.map((id) => devices.get(id) ?? String(id)) }),
        ...(group?.of === undefined ? {} : { to: group.of }),
        ...(nexthop === undefined ? {} : { group: nexthop }),
        ...(mtu === undefined ? {} : { mtu }),
        ...(src === undefined ? {} : { src }),
      }
    })
    for (const { kind, prefix, reason, site } of reconciler.desired.notes()) {
      if (kind !== 'prefix-not-installed' || prefix === undefined) continue
      views.push({ prefix, type: 'not installed', reason, ...(site === undefined ? {} : { to: site }) })
    }
    return views
  }
}

export interface RouteView {
  readonly prefix: string
  readonly type: Route['type'] | 'not installed'
  readonly devices?: readonly string[]
  readonly to?: string
  readonly group?: number
  readonly mtu?: number
  readonly src?: string
  readonly reason?: string
}
