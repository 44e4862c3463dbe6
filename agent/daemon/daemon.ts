/**
 * The daemon: registry, reconciler, control socket, metrics and systemd, wired together over ports. What implements the
 * ports is chosen in cli/agent.ts.
 */
import type { Server } from 'node:http'
import type { Kernel } from '../kernel/port.ts'
import type { Config } from '../model/config.ts'
import type { Document } from '../model/document.ts'
import { formatDocument } from '../model/document.ts'
import type { GroupIds } from '../plan/group-id.ts'
import type { Registry } from '../registry/port.ts'
import { reasonOf } from '../errors.ts'
import { recordToPublish, requestOf } from './announce.ts'
import type { PublicKeys } from './announce.ts'
import { openControl } from './control.ts'
import type { Events } from './event.ts'
import type { Notifier } from './notify.ts'
import { ownResolver } from './own.ts'
import { Reconciler } from './reconciler.ts'
import { StatusView } from './status.ts'

export interface DaemonOptions {
  readonly config: Config
  readonly keys: PublicKeys
  readonly registry: Registry
  readonly registryText: string
  readonly kernel: Kernel
  readonly ids: GroupIds
  readonly idsLost: boolean
  readonly saveIds: (ids: GroupIds) => Promise<void>
  readonly events: Events
  readonly notifier: Notifier
  readonly runDirectory: string
  readonly version: string
}

/** Runs until `stop` aborts; the data plane stays as it is. */
export async function runDaemon(options: DaemonOptions, stop: AbortController): Promise<void> {
  const { config, kernel, registry, events, ids, idsLost, saveIds, notifier, runDirectory, version } = options
  const { signal } = stop
  const startedAt = performance.now()
  const announce = announcer(options, signal)
  const reconciler = new Reconciler({
    kernel,
    ids,
    idsLost,
    saveIds,
    events,
    ownOf: ownResolver(config),
    onInputs: announce,
    onTurn: () => {
      notifier.alive()
      if (reconciler.settled) notifier.ready()
    },
  })
  const view = new StatusView({
    reconciler,
    kernel,
    version,
    fabric: config.fabric,
    gateway: config.own.gateway,
    site: config.site.name,
    registry: options.registryText,
    startedAt,
  })
  const control = await openControl({
    runDirectory,
    reconciler,
    view,
    events,
    stop: () => {
      stop.abort()
    },
  })
  const metrics = await startMetrics(config, reconciler, view, version, events)
  const telling = setInterval(() => {
    view.status().then(
      ({ summary }) => {
        notifier.status(summary)
      },
      () => undefined, // the turn that fails for the same reason tells it
    )
  }, 10_000)
  telling.unref()
  events.emit('notice', 'started', { version, fabric: config.fabric, gateway: config.own.gateway, pid: process.pid })
  try {
    await Promise.all([follow(registry, reconciler, events, signal), reconciler.run(signal)])
  } finally {
    clearInterval(telling)
    notifier.stopping()
    control.close()
    control.closeAllConnections()
    metrics?.close()
    metrics?.closeAllConnections()
    await kernel.close()
    events.emit('notice', 'stopped', { dataPlane: 'stays' })
  }
}

/** A registry's watch that ends or fails is begun again; what it said stays in force. */
async function follow(
  registry: Registry,
  reconciler: Reconciler,
  events: Events,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      for await (const bag of registry.watch(signal)) reconciler.deliver(bag)
    } catch (error) {
      if (signal.aborted) return
      const { object, reason } = reasonOf(error, 'registry')
      events.emit('error', 'registry-failed', { object, reason })
      reconciler.tally.errors('registry', 1)
    }
    if (!signal.aborted) await reconciler.schedule.pause(1000, signal)
  }
}

/** Publishes request or record whenever what we should say of ourselves is not what the registry holds. */
function announcer(
  { config, keys, registry, events }: DaemonOptions,
  signal: AbortSignal,
): (reconciler: Reconciler) => Promise<void> {
  let said = ''
  let askedFor = false
  return async (reconciler) => {
    const { snapshot } = reconciler.admission
    const { gateway } = config.own
    const certificate = reconciler.documentOf('certificate', gateway)
    if (registry.publish === undefined || reconciler.registryAtMs === undefined) return
    let document: Document | undefined
    if (certificate?.type !== 'certificate') {
      if (askedFor) return
      askedFor = true
      document = requestOf(config, keys)
    } else if (certificate.payload.identity !== keys.identity) {
      events.emit('error', 'identity-mismatch', {
        gateway,
        reason: 'the certificate of this name is for another identity',
        next: `remove the certificate and run \`linkspan registry add ${gateway}\`, or give this gateway another name`,
      })
      return
    } else if (snapshot !== undefined && reconciler.facts !== undefined) {
      const record = reconciler.documentOf('record', gateway)
      document = recordToPublish({
        config,
        keys,
        fabric: snapshot.fabric,
        certificate: certificate.payload,
        record: record?.type === 'record' ? record.payload : undefined,
        own: reconciler.ownNow(snapshot.fabric, reconciler.facts),
        facts: reconciler.facts,
        nowMs: Date.now(),
      })
    }
    if (document === undefined) return
    const text = formatDocument(document)
    const content = text.replace(/"serial": [0-9]+/, '')
    if (content === said) return
    try {
      await registry.publish(Buffer.from(text), signal)
      said = content
      events.emit('notice', 'published', { document: document.type, gateway })
    } catch (error) {
      const { object, reason, next } = reasonOf(error, 'registry')
      events.emit('error', 'publish-failed', { document: document.type, object, reason, next })
      askedFor = false
      reconciler.schedule.factsDue = true
      reconciler.tally.errors('publish', 1)
    }
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
    events.emit('error', 'metrics-failed', { address, port, reason, next: 'choose another `metrics:` address' })
    return undefined
  }
}
