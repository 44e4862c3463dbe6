/**
 * The daemon: registry, reconciler, control socket, metrics and systemd, wired together over ports. What implements the
 * ports is chosen in cli/agent.ts.
 */
import type { Server } from 'node:http'
import { isAborted, pause } from '../pause.ts'
import type { Kernel } from '../kernel/port.ts'
import type { Config } from '../model/config.ts'
import type { KernelObject } from '../model/kernel-object.ts'
import type { GroupIds } from '../plan/group-id.ts'
import type { Registry } from '../registry/port.ts'
import { reasonOf } from '../errors.ts'
import type { Reason } from '../errors.ts'
import type { Keys, VoucherKey } from './announce.ts'
import { Canary } from './canary.ts'
import type { Reach } from './canary.ts'
import { openControl } from './control.ts'
import { Drain } from './drain.ts'
import type { Events } from './event.ts'
import { isolation, openHealth, ownStanding, unfitReason } from './health.ts'
import type { RunHook } from './hook.ts'
import type { KnownInput } from './inputs.ts'
import { covered } from './kernel-cover.ts'
import type { NameServers } from './name-server.ts'
import type { Notifier } from './notify.ts'
import { OwnPlaces } from './own-place.ts'
import { ownResolver } from './own.ts'
import { PathMemory } from './path-memory.ts'
import { Prober } from './prober.ts'
import type { StartProbes } from './prober.ts'
import { Publisher } from './publisher.ts'
import type { RegistryAddresses } from './registry-address.ts'
import { Reconciler } from './reconciler.ts'
import { Rotation } from './rotation.ts'
import type { RotatingKeys } from './rotation.ts'
import { SiteSide } from './site-side.ts'
import { StatusView } from './status.ts'
import { StatusTelling } from './status-telling.ts'
import type { Surroundings } from './surroundings.ts'
import { backoffMs } from './trouble.ts'

export interface DaemonOptions {
  readonly config: Config
  readonly keys: Keys & RotatingKeys
  /** What cloud-init left here. */
  readonly voucher?: VoucherKey | undefined
  /** The last-known-good store, and what was in it. */
  readonly known: KnownInput
  readonly registry: Registry
  readonly registryAddresses: RegistryAddresses
  /** Where the registry is given by name. */
  readonly nameServers?: NameServers | undefined
  readonly surroundings: Surroundings
  /** For people, e.g. its URL. */
  readonly registryText: string
  readonly kernel: Kernel
  /** Why nothing is written, where that is so. */
  readonly hindrance: Reason | undefined
  readonly ids: GroupIds
  readonly saveIds: (ids: GroupIds) => Promise<void>
  readonly events: Events
  readonly notifier: Notifier
  readonly startProbes: StartProbes
  readonly reach: Reach
  readonly runHook: RunHook
  readonly runDirectory: string
  /** systemd started us and would do so again. */
  readonly isService: boolean
  readonly version: string
}

/** How late a step of a rotation of keys may be. */
const rotateEveryMs = 5000
/** How late a document may begin or end. */
const tickEveryMs = 60_000

/** Runs until `stop` aborts; the data plane stays as it is. */
export async function runDaemon(options: DaemonOptions, stop: AbortController): Promise<void> {
  const { config, keys, kernel, registry, events, ids, saveIds, notifier, runDirectory, version } = options
  const { registryAddresses, nameServers, surroundings } = options
  const { gateway } = config.own
  const { signal } = stop
  const startedAt = performance.now()
  const drain = new Drain(runDirectory)
  const reconciler: Reconciler = new Reconciler({
    kernel: patient(kernel, (device) => onDevice(reconciler.desired.objects(), device)),
    gateway,
    ground: { fabric: config.fabric, authority: config.authority, self: gateway },
    known: options.known,
    ids,
    saveIds,
    events,
    ownOf: ownResolver(config, {
      registryAddresses: () => [...new Set([...registryAddresses.all, ...(nameServers?.all ?? [])])],
      cloud: () => surroundings.cloud,
      recorded: () => {
        if (!surroundings.isUncertain) return undefined
        const said = inputs.documentOf('record')
        return { endpoints: said?.type === 'record' ? said.payload.endpoints : undefined }
      },
    }),
    onInputs: () => {
      publisher.look()
    },
    onTurn: () => {
      // Ready is who works, not who has peers: a gateway may wait for its certificate for days.
      notifier.ready()
      notifier.alive()
      prober.look()
      void rotation.look()
      siteSide.look()
    },
    onProgress: () => {
      notifier.progress()
    },
  })
  const { inputs, tally } = reconciler
  const prober = new Prober({
    start: options.startProbes,
    memory: new PathMemory(runDirectory),
    planned: () => reconciler.planned,
    setPaths: (paths) => {
      reconciler.setPaths(paths)
      siteSide.look()
    },
    isDraining: () => drain.isOn,
    isNotForwarding: () => canary.isFailed || isCutOff(),
    handshakes: () => handshakeAges(kernel, signal),
    events,
  })
  reconciler.setPaths(prober.state)
  const canary: Canary = new Canary({
    targets: config.canary ?? [],
    reach: options.reach,
    onChange: () => {
      prober.look()
      siteSide.look()
    },
    events,
  })
  // The other gateways of the site cannot see it, and one that takes over for the site's hosts must know.
  const isCutOff = (): boolean => {
    const { planned } = reconciler
    return config.hooks !== undefined && planned !== undefined && isolation(planned, prober) !== undefined
  }
  const settled = (): Reconciler['planned'] => (reconciler.settled ? reconciler.planned : undefined)
  const siteSide: SiteSide = new SiteSide({
    config,
    planned: settled,
    paths: () => prober.state,
    own: () => ownStanding(settled(), prober, { isDraining: drain.isOn, isCanaryFailed: canary.isFailed }),
    shares: () => reconciler.desired.shares,
    run: options.runHook,
    events,
  })
  for (const source of [registryAddresses, nameServers, surroundings]) {
    source?.onNew(() => {
      inputs.tick() // a turn takes it in, and then the publisher looks
    })
  }
  const places = new OwnPlaces(gateway)
  const publisher = new Publisher({
    config,
    keys,
    voucher: options.voucher,
    registry,
    inputs,
    places,
    surroundings,
    isDraining: () => drain.isOn,
    events,
    tally,
    signal,
  })
  const rotation: Rotation = new Rotation({
    gateway,
    keys,
    planned: () => reconciler.planned,
    handshakes: () => handshakeAges(kernel, signal),
    hindrance: async () => {
      if (drain.isOn) return 'this gateway drains'
      if (options.hindrance !== undefined) return options.hindrance.reason
      const { health, summary } = await view.status()
      return health === 'ok' ? undefined : summary
    },
    onChange: () => {
      publisher.look()
    },
    events,
    sure: () => inputs.clock.now().sureMs,
  })
  const view: StatusView = new StatusView({
    reconciler,
    kernel,
    surroundings,
    rotation: () => rotation.view,
    entryOf: (gateway, underlay, lane) => prober.entryOf(gateway, underlay, lane),
    version,
    fabric: config.fabric,
    gateway,
    site: config.site.name,
    registry: options.registryText,
    latencyMs: () => registry.latencyMs,
    isService: options.isService,
    startedAt,
    hindrance: options.hindrance,
    unpublished: () => publisher.trouble,
    waiting: () => publisher.waiting,
    siteSide,
  })
  const stopNow = (): void => {
    stop.abort()
  }
  const onDrain = (): void => {
    prober.look()
    siteSide.look()
    publisher.look()
  }
  const control = await openControl({
    runDirectory,
    reconciler,
    view,
    events,
    kernel,
    drain,
    others: () => siteSide.others,
    rotation,
    paths: () => prober.entries(),
    onDrain,
    stop: stopNow,
  })
  events.emit('notice', 'started', { version, fabric: config.fabric, gateway, pid: process.pid })
  const work = Promise.all([
    follow(registry, reconciler, places, events, signal),
    reconciler.run(signal),
    nameServers?.follow(signal),
  ])
  // Beside the work: loading the exporter must not hold up the first handshake.
  const metrics = startMetrics(config, reconciler, view, version, events)
  const health = startHealth(config, events, () =>
    unfitReason(reconciler, prober, { isDraining: drain.isOn, isCanaryFailed: canary.isFailed }),
  )
  const ticking = setInterval(() => {
    inputs.tick()
  }, tickEveryMs)
  const rotating = setInterval(() => {
    void rotation.look()
  }, rotateEveryMs)
  const endTelling = new StatusTelling(view, notifier, events).start()
  try {
    await work
  } finally {
    stop.abort()
    endTelling()
    clearInterval(ticking)
    clearInterval(rotating)
    notifier.stopping()
    prober.close()
    canary.stop()
    siteSide.close()
    for (const server of [control, await metrics, await health]) {
      server?.close()
      server?.closeAllConnections()
    }
    await kernel.close()
    events.emit('notice', 'stopped', { dataPlane: 'stays' })
  }
}

/** A kernel in which a device that cannot be asked counts as it should be: neither news nor a repair comes of silence. */
function patient(kernel: Kernel, believed: (device: string) => Iterable<KernelObject>): Kernel {
  return covered(kernel, {
    observe: (wanted, signal) => kernel.observe({ inPlaceOf: believed, ...wanted }, signal),
  })
}

function* onDevice(objects: Iterable<KernelObject>, device: string): Generator<KernelObject> {
  for (const object of objects) {
    if ((object.kind === 'peer' || object.kind === 'allowed-ip') && object.device === device) yield object
  }
}

/** ms since each tunnel last shook hands, by device and public key. */
async function handshakeAges(kernel: Kernel, signal: AbortSignal): Promise<ReadonlyMap<string, number>> {
  const ages = new Map<string, number>()
  const nowMs = Date.now()
  for await (const part of kernel.observe({ sysctls: [], kinds: new Set(['peer'] as const) }, signal)) {
    for (const object of part) {
      if (object.kind !== 'peer') continue
      const { device, publicKey, latestHandshake = 0 } = object
      if (latestHandshake > 0) ages.set(`${device} ${publicKey}`, nowMs - latestHandshake * 1000)
    }
  }
  return ages
}

/** A registry's watch that ends or fails is begun again; what it said stays in force. */
async function follow(
  registry: Registry,
  reconciler: Reconciler,
  places: OwnPlaces,
  events: Events,
  signal: AbortSignal,
): Promise<void> {
  for (let round = 1; !signal.aborted; round++) {
    try {
      for await (const bag of registry.watch(signal)) {
        round = 1
        places.take(bag)
        await reconciler.deliver(bag)
      }
    } catch (error) {
      if (isAborted(signal)) return
      const { object, reason, next } = reasonOf(error, 'registry')
      events.emit('error', 'registry-failed', { object, reason, next })
      reconciler.tally.error('registry')
    }
    await pause(backoffMs(round, Math.random), signal)
  }
}

async function startHealth(
  { health }: Config,
  events: Events,
  unfit: () => string | undefined,
): Promise<Server | undefined> {
  if (health === undefined) return undefined
  const { address, port } = health
  try {
    return await openHealth({ address, port, unfit })
  } catch (error) {
    // Load balancers that cannot ask take us for down; tunnels go on.
    const { reason } = reasonOf(error, 'health')
    const next = 'choose another `health:` address, one that this gateway has on the side of its site'
    events.emit('error', 'health-failed', { address, port, reason, next })
    return undefined
  }
}

async function startMetrics(
  config: Config,
  reconciler: Reconciler,
  view: StatusView,
  version: string,
  events: Events,
): Promise<Server | undefined> {
  if (config.metrics === false) return undefined
  const { openMetrics } = await import('./metrics.ts')
  try {
    return await openMetrics({ ...config.metrics, reconciler, view, version })
  } catch (error) {
    // A scrape that is not possible stops no packet.
    const { reason } = reasonOf(error, 'metrics')
    const { address, port } = config.metrics
    events.emit('error', 'metrics-failed', {
      address,
      port,
      reason,
      next: 'choose another `metrics:` address',
    })
    return undefined
  }
}
