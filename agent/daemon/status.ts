/** The answers of the control socket: status, peers, routes, plan. Plain JSON, with a schema number that only grows. */
import type { Kernel } from '../kernel/port.ts'
import type { Note } from '../plan/input.ts'
import type { Vanished } from '../trust/admission.ts'
import type { Refusal } from '../trust/refusal.ts'
import type { Reason } from '../errors.ts'
import type { EntryOf, PeerView, Seen } from './peer-view.ts'
import { isInUse, peerViews } from './peer-view.ts'
import type { SiteSide, SiteSideView } from './site-side.ts'
import type { Reconciler } from './reconciler.ts'
import type { CloudView, Surroundings } from './surroundings.ts'
import type { Waiting } from './publisher.ts'
import type { RotationView } from './rotation.ts'
import { trustView } from './trust-view.ts'
import type { TrustView } from './trust-view.ts'
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
  /** Which WireGuard makes the links. */
  readonly dataPlane: 'kernel' | 'wireguard-go'
  readonly uptimeSeconds: number
  /** Longest stall of the event loop during the agent's work so far. */
  readonly stallMs: number
  /** It runs as a service of systemd. */
  readonly isService: boolean
  readonly peers: readonly PeerView[]
  readonly routes: number
  readonly registry: {
    readonly source: string
    /** Seconds since all of it could last be read. */
    readonly ageSeconds?: number
    /** Ms that its last answer took. */
    readonly latencyMs?: number
    /** Documents that are not looked at yet, because too much came at once. */
    readonly waiting?: number
    /** What lies in our outbox and is not in the registry. */
    readonly outbox?: Waiting
    readonly unreadable: readonly Reason[]
  }
  readonly trust: TrustView
  /** Our tunnel keys: which generation, and what a rotation waits for. */
  readonly keys?: RotationView
  /** What the cloud says of this VM; absent on premises. */
  readonly cloud?: CloudView
  /** Who is active for the hosts of our site; absent where there is no hook and no second gateway. */
  readonly siteSide?: SiteSideView
  readonly conflicts: readonly Reason[]
  readonly failures: readonly Trouble[]
  /** In order, the first thousand. */
  readonly refusals: readonly Refusal[]
  /** Where there are more: how many there are, and by which rule. */
  readonly refused?: { readonly total: number; readonly byRule: Readonly<Record<string, number>> }
  readonly vanished: readonly Vanished[]
  readonly notes: readonly Note[]
}

export interface StatusOptions {
  readonly reconciler: Reconciler
  readonly kernel: Kernel
  readonly surroundings: Surroundings
  readonly entryOf?: EntryOf
  readonly rotation?: () => RotationView
  readonly version: string
  readonly fabric: string
  readonly gateway: string
  readonly site: string
  readonly registry: string
  readonly isService: boolean
  /** performance.now() of the start. */
  readonly startedAt: number
  /** What keeps us from writing anything. */
  readonly hindrance: Reason | undefined
  readonly latencyMs?: () => number | undefined
  /** What keeps us from saying of ourselves what we should. */
  readonly unpublished: () => Trouble | undefined
  readonly waiting?: () => Waiting | undefined
  readonly siteSide?: Pick<SiteSide, 'view' | 'trouble'>
}

/** A view of the peers is used again for this long, so that scrapes and people together cost one dump. */
const cachedMs = 1000
const patienceMs = 10_000

export class StatusView {
  readonly #options: StatusOptions
  #peers:
    { readonly at: number; readonly of: unknown; readonly views: Promise<readonly PeerView[]> } | undefined
  #seen: Seen = new Map()
  #silent: readonly Trouble[] = []

  constructor(options: StatusOptions) {
    this.#options = options
  }

  peers(): Promise<readonly PeerView[]> {
    const { reconciler } = this.#options
    const of = reconciler.planned
    const kept = this.#peers
    if (kept !== undefined && kept.of === of && performance.now() - kept.at < cachedMs) return kept.views
    const nowSeconds = Math.floor(Date.now() / 1000)
    const views = this.#look(nowSeconds)
    this.#peers = { at: performance.now(), of, views }
    views.catch(() => {
      this.#peers = undefined // whoever asked has the error
    })
    return views
  }

  /** A device that cannot be asked is shown as it was last seen. */
  async #look(nowSeconds: number): Promise<readonly PeerView[]> {
    const { reconciler, kernel } = this.#options
    const signal = AbortSignal.timeout(patienceMs)
    const { views, seen, silent } = await peerViews(
      reconciler,
      this.#options.entryOf ?? (() => undefined),
      kernel,
      this.#seen,
      nowSeconds,
      signal,
    )
    this.#seen = seen
    this.#silent = silent.map((reason) => {
      const before = this.#silent.find(({ object }) => object === reason.object)
      return { ...reason, sinceMs: before?.sinceMs ?? nowSeconds * 1000, times: (before?.times ?? 0) + 1 }
    })
    return views
  }

  trust(): TrustView {
    return trustView(this.#options.reconciler.inputs, this.#options.gateway)
  }

  siteSide(): SiteSideView | undefined {
    return this.#options.siteSide?.view
  }

  registry(): Status['registry'] {
    const { reconciler, registry: source, latencyMs } = this.#options
    const { readAtMs, unreadable, deferred } = reconciler.inputs
    const took = latencyMs?.()
    const outbox = this.#options.waiting?.()
    return {
      source,
      ...(readAtMs === undefined
        ? {}
        : { ageSeconds: Math.max(0, Math.round((Date.now() - readAtMs) / 1000)) }),
      ...(took === undefined ? {} : { latencyMs: Math.round(took * 10) / 10 }),
      ...(deferred.waiting === 0 ? {} : { waiting: deferred.waiting }),
      ...(outbox === undefined ? {} : { outbox }),
      unreadable,
    }
  }

  async status(): Promise<Status> {
    const { reconciler, version, fabric, gateway, site, startedAt } = this.#options
    const peers = await this.peers()
    const { troubles, desired, inputs, settled } = reconciler
    const { snapshot, refusals, refused, vanished } = inputs.admission
    const self = snapshot?.gateways.get(gateway)
    const told = new Set(troubles.failures.map(({ object }) => object))
    const failures = [
      ...this.#general(),
      ...this.#silent.filter(({ object }) => !told.has(object)), // a turn may not have met it yet
      ...troubles.failures,
    ]
    const { conflicts } = troubles
    // Who is taken out of service on purpose is no trouble.
    const used = peers.filter(isInUse)
    const up = used.filter(({ state }) => state === 'up' || state === 'draining').length
    const problems = failures.length + conflicts.length + refused.total + inputs.unreadable.length
    const unreachable = [...desired.notes()].some(
      ({ kind }) => kind === 'no-path' || kind === 'all-paths-down',
    )
    const isWaiting = self === undefined || !settled
    const health: Health = isWaiting
      ? 'waiting'
      : up < used.length || problems > 0 || unreachable
        ? 'degraded'
        : 'ok'
    const trust = this.trust()
    const cloud = this.#options.surroundings.view
    const siteSide = this.siteSide()
    const state = isWaiting ? this.#waitingFor() : tunnels(up, used.length, problems)
    return {
      schema,
      health,
      summary: [...trust.alarms.slice(0, 1), state].join('; '),
      version,
      fabric,
      gateway,
      site: self?.site.name ?? site,
      ...(self === undefined ? {} : { number: self.number }),
      overlay: this.#overlay(),
      dataPlane: inputs.facts?.features.wireguard === false ? 'wireguard-go' : 'kernel',
      uptimeSeconds: Math.round((performance.now() - startedAt) / 1000),
      stallMs: Math.round(reconciler.stall.maxSeconds * 1000),
      isService: this.#options.isService,
      peers,
      routes: desired.count('route'),
      registry: this.registry(),
      trust,
      ...this.#keys(),
      ...(cloud === undefined ? {} : { cloud }),
      ...(siteSide === undefined ? {} : { siteSide }),
      conflicts,
      failures,
      refusals,
      ...(refused.total === refusals.length
        ? {}
        : { refused: { total: refused.total, byRule: Object.fromEntries(refused.byRule) } }),
      vanished,
      notes: [...desired.notes()],
    }
  }

  keys(): RotationView | undefined {
    return this.#options.rotation?.()
  }

  #keys(): Pick<Status, 'keys'> {
    const keys = this.keys()
    return keys === undefined ? {} : { keys }
  }

  /** Troubles that are those of no kernel object. */
  *#general(): Generator<Trouble> {
    const { hindrance, unpublished, startedAt, reconciler } = this.#options
    const since = { sinceMs: Math.round(performance.timeOrigin + startedAt), times: 1 }
    if (hindrance !== undefined) yield { ...hindrance, ...since }
    for (const gateway of reconciler.missing) {
      yield {
        code: 'registry-unreadable',
        object: `gateway ${gateway}`,
        reason: 'the registry lacks its certificate or record; what was set up for it stays',
        next: 'restore its documents, or list it under `removed` in the fabric document',
        ...since,
      }
    }
    const { memory } = reconciler.inputs
    for (const trouble of [unpublished(), this.#options.siteSide?.trouble, memory?.trouble]) {
      if (trouble !== undefined) yield trouble
    }
  }

  #overlay(): readonly string[] {
    const addresses = new Set<string>()
    for (const object of this.#options.reconciler.desired.get('host')?.objects ?? []) {
      if (object.kind === 'address' && !object.address.startsWith('fe80:')) addresses.add(object.address)
    }
    return [...addresses]
  }

  #waitingFor(): string {
    const { reconciler, gateway } = this.#options
    const { inputs, settled } = reconciler
    const { snapshot } = inputs.admission
    if (snapshot?.gateways.has(gateway) === true) return 'the first audit is not done yet'
    const stays = settled ? '; what is set up stays as it is' : ''
    if (snapshot === undefined) {
      return inputs.unreadable.length > 0
        ? `the registry cannot be read${stays}`
        : `the registry holds no fabric document yet${stays}`
    }
    if (inputs.documentOf('certificate') === undefined) {
      const waiting = this.#options.waiting?.()
      const request = waiting?.document === 'request' ? waiting.path : gateway
      return `no certificate yet: run \`linkspan ca issue ${request}\` where the authority is${stays}`
    }
    const isOwn = (refusal: Refusal): boolean => refusal.gateway === gateway
    const refused = inputs.ownRefusals.length > 0 || inputs.admission.refusals.some(isOwn)
    return refused
      ? `our own documents are refused${stays}`
      : `our own record is not back from the registry yet${stays}`
  }
}

function tunnels(up: number, all: number, problems: number): string {
  const text = `${up}/${all} tunnels up`
  return problems === 0 ? text : `${text}, ${problems} ${problems === 1 ? 'problem' : 'problems'}`
}
