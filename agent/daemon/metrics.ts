/**
 * Prometheus metrics on 127.0.0.1:9586. prom-client keeps the process's own metrics; series by peer are many and are
 * written out by hand from one view of the peers (10,000 series: 4 ms against 50 to 100). Series of a peer that is gone
 * go with it. Labels are names, never keys.
 */
import type { IncomingMessage, Server } from 'node:http'
import { collectDefaultMetrics, Registry } from 'prom-client'
import { httpServer, listen } from './http.ts'
import type { PathView } from './path-view.ts'
import { isInUse } from './peer-view.ts'
import type { PeerView } from './peer-view.ts'
import type { Reconciler } from './reconciler.ts'
import type { RotationView } from './rotation.ts'
import type { SiteSideView } from './site-side.ts'
import type { Status, StatusView } from './status.ts'
import type { TrustView } from './trust-view.ts'
import { durationBuckets } from './tally.ts'

export interface MetricsOptions {
  readonly address: string
  readonly port: number
  readonly reconciler: Reconciler
  readonly view: StatusView
  readonly version: string
}

/** Turns come every 10 s; one that takes this long hangs. */
const deadMs = 60_000

export async function openMetrics(options: MetricsOptions): Promise<Server> {
  const { address, port, reconciler, view, version } = options
  const registry = new Registry()
  // Its own monitor of the event loop would wake us a hundred times a second.
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 1000 })
  const server = httpServer(
    {
      'GET /metrics': async () => ({
        type: registry.contentType,
        body: [
          await registry.metrics(),
          ...own(reconciler, version),
          ...trust(view.trust()),
          ...source(view.registry()),
          ...keys(view.keys()),
          ...siteSide(view.siteSide()),
          ...tunnels(await view.peers()),
          '',
        ].join('\n'),
      }),
      'GET /healthz': () =>
        performance.now() - reconciler.tally.turnAt < deadMs
          ? { body: 'ok\n' }
          : { status: 503, body: 'no turn of the reconciler went through lately\n' },
      'GET /readyz': () =>
        reconciler.settled ? { body: 'ready\n' } : { status: 503, body: 'waiting for the first audit\n' },
    },
    // A page in somebody's browser must not read us through a name of its own (DNS rebinding).
    isLiteralHost,
  )
  await server.keepListening(() => listen(server, { host: address, port }))
  return server
}

function isLiteralHost({ headers }: IncomingMessage): boolean {
  return /^(localhost|[0-9.]+|\[[0-9a-f:]+\])(:[0-9]+)?$/i.test(headers.host ?? '')
}

type Sample = readonly [labels: Readonly<Record<string, string>>, value: number]

function family(name: string, type: string, help: string, samples: readonly Sample[]): string[] {
  return [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} ${type}`,
    ...samples.map(([labels, value]) => line(name, labels, value)),
  ]
}

function line(name: string, labels: Readonly<Record<string, string>>, value: number): string {
  const text = Object.entries(labels).map(([label, of]) => `${label}="${escape(of)}"`)
  return `${name}${text.length === 0 ? '' : `{${text.join(',')}}`} ${value}`
}

function escape(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}

function own(reconciler: Reconciler, version: string): string[] {
  const { tally, desired, troubles, inputs } = reconciler
  const { admission, readAtMs } = inputs
  const counts = (map: ReadonlyMap<string, number>, label: string): Sample[] =>
    [...map].map(([name, value]) => [{ [label]: name }, value])
  const routes = new Map<string, number>()
  for (const { type } of desired.objectsOf('route')) routes.set(type, (routes.get(type) ?? 0) + 1)
  const ops = [...tally.done].map(([name, value]): Sample => {
    const [object = '', verb = ''] = name.split(' ')
    return [{ object, verb }, value]
  })
  return [
    ...family('linkspan_build_info', 'gauge', 'Always 1.', [[{ version }, 1]]),
    ...family('linkspan_routes', 'gauge', 'Desired routes by type.', counts(routes, 'type')),
    ...family('linkspan_kernel_operations_total', 'counter', 'Ops carried out.', ops),
    ...family(
      'linkspan_drift_repaired_total',
      'counter',
      'Objects that an audit repaired.',
      counts(tally.repaired, 'object'),
    ),
    ...family('linkspan_errors_total', 'counter', 'Errors by stage.', counts(tally.errors, 'stage')),
    ...family('linkspan_failures', 'gauge', 'Objects whose last op failed.', [
      [{}, troubles.failures.length],
    ]),
    ...family('linkspan_conflicts', 'gauge', 'Objects held by somebody else.', [
      [{}, troubles.conflicts.length],
    ]),
    ...family('linkspan_documents_refused', 'gauge', 'Refused documents.', [[{}, admission.refused.total]]),
    ...family(
      'linkspan_documents_refused_by_rule',
      'gauge',
      'Refusals by the rule that made them.',
      counts(admission.refused.byRule, 'rule'),
    ),
    ...family('linkspan_documents_vanished', 'gauge', 'Documents in force that the registry lacks.', [
      [{}, admission.vanished.length],
    ]),
    ...family('linkspan_documents_waiting', 'gauge', 'Documents not looked at yet: too much came at once.', [
      [{}, inputs.deferred.waiting],
    ]),
    ...family('linkspan_documents_deferred_total', 'counter', 'Times a document had to wait for its turn.', [
      [{}, inputs.deferred.total],
    ]),
    ...(readAtMs === undefined
      ? []
      : family(
          'linkspan_registry_last_success_timestamp_seconds',
          'gauge',
          'When the registry was last read.',
          [[{}, readAtMs / 1000]],
        )),
    ...family('linkspan_event_loop_stall_max_seconds', 'gauge', 'Longest stall of the event loop so far.', [
      [{}, reconciler.stall.maxSeconds],
    ]),
    ...family('linkspan_plans_discarded_total', 'counter', 'Plans the world outran.', [
      [{}, tally.discarded],
    ]),
    ...durations(reconciler),
  ]
}

/** Nothing where there is no value yet. */
function gauge(name: string, help: string, value: number | undefined): string[] {
  return value === undefined ? [] : family(name, 'gauge', help, [[{}, value]])
}

function source({ ageSeconds, latencyMs, unreadable }: Status['registry']): string[] {
  return [
    ...gauge('linkspan_registry_age_seconds', 'Since all of the registry could be read.', ageSeconds),
    ...gauge(
      'linkspan_registry_latency_seconds',
      'How long its last answer took.',
      latencyMs && latencyMs / 1000,
    ),
    ...gauge('linkspan_registry_unreadable', 'Parts of it that cannot be read.', unreadable.length),
  ]
}

function siteSide(view: SiteSideView | undefined): string[] {
  if (view === undefined) return []
  const { self, hook } = view
  const active = gauge(
    'linkspan_site_active',
    '1 where it is active for the hosts of its site.',
    Number(self),
  )
  if (hook === undefined) return active
  const { name, runs, last, lastSuccessMs } = hook
  return [
    ...active,
    ...family(
      'linkspan_hook_runs_total',
      'counter',
      'Runs of a hook that ended by themselves.',
      Object.entries(runs).map(([outcome, count]) => [{ hook: name, outcome }, count]),
    ),
    ...family('linkspan_hook_failing', 'gauge', '1 where its last run failed.', [
      [{ hook: name }, Number(last?.outcome === 'failed')],
    ]),
    ...(lastSuccessMs === undefined
      ? []
      : family('linkspan_hook_last_success_timestamp_seconds', 'gauge', 'When it last succeeded.', [
          [{ hook: name }, lastSuccessMs / 1000],
        ])),
  ]
}

function trust({ fabric, certificate, authorities, recordSerial, barred, clock }: TrustView): string[] {
  return [
    ...gauge('linkspan_authority_keys', 'Keys of the authority whose signatures count.', authorities.length),
    ...gauge('linkspan_fabric_serial', 'Serial of the fabric document in force.', fabric?.serial),
    ...gauge(
      'linkspan_fabric_fresh_until_timestamp_seconds',
      'When the fabric document turns stale.',
      fabric && fabric.freshUntilMs / 1000,
    ),
    ...gauge(
      'linkspan_fabric_stale',
      '1 where it should have been renewed.',
      fabric && Number(fabric.isStale),
    ),
    ...gauge('linkspan_certificate_serial', 'Serial of our certificate.', certificate?.serial),
    ...gauge(
      'linkspan_certificate_expires_in_seconds',
      'Until our certificate expires; negative once it has.',
      certificate?.secondsLeft,
    ),
    ...gauge('linkspan_certificate_barred', '1 where it counts no more.', Number(barred !== undefined)),
    ...gauge('linkspan_record_serial', 'Serial of our record in force.', recordSerial),
    ...gauge(
      'linkspan_clock_leap_seconds',
      'How far the clock leapt ahead and is not believed.',
      (clock?.leapMs ?? 0) / 1000,
    ),
    ...gauge(
      'linkspan_clock_lag_seconds',
      'How far the clock is behind what is surely past.',
      (clock?.lagMs ?? 0) / 1000,
    ),
    ...gauge(
      'linkspan_certificate_expiry_timestamp_seconds',
      'When our certificate expires.',
      certificate && certificate.notAfterMs / 1000,
    ),
  ]
}

function keys(view: RotationView | undefined): string[] {
  if (view === undefined) return []
  const { generation, ageSeconds, older } = view
  return [
    ...gauge('linkspan_key_generation', 'Generation of our newest tunnel keys.', generation),
    ...gauge('linkspan_key_age_seconds', 'Age of our newest tunnel keys.', ageSeconds),
    ...gauge(
      'linkspan_key_rotating',
      '1 while the generation before is still kept.',
      Number(older !== undefined),
    ),
  ]
}

function durations({ tally }: Reconciler): string[] {
  const name = 'linkspan_reconcile_duration_seconds'
  const lines = [`# HELP ${name} Duration of a pass or audit.`, `# TYPE ${name} histogram`]
  for (const [kind, { counts, sum, count }] of tally.durations) {
    for (const [i, bound] of durationBuckets.entries()) {
      lines.push(line(`${name}_bucket`, { kind, le: String(bound) }, counts[i] ?? 0))
    }
    lines.push(
      line(`${name}_bucket`, { kind, le: '+Inf' }, count),
      line(`${name}_sum`, { kind }, sum),
      line(`${name}_count`, { kind }, count),
    )
  }
  return lines
}

function tunnels(views: readonly PeerView[]): string[] {
  return [...peers(views), ...paths(views)]
}

function paths(views: readonly PeerView[]): string[] {
  // One series a path: a tunnel of other keys would be the same one twice.
  const probed = views.filter((view) => view.path !== undefined && isInUse(view))
  const each = (value: (path: PathView) => number | undefined): Sample[] =>
    probed.flatMap(({ gateway, site, underlay, path }): Sample[] => {
      const found = path === undefined ? undefined : value(path)
      return found === undefined ? [] : [[{ gateway, site, underlay }, found]]
    })
  const seconds = (ms: number | undefined): number | undefined => (ms === undefined ? undefined : ms / 1000)
  const gauges: readonly (readonly [string, string, (path: PathView) => number | undefined])[] = [
    ['up', '1 where the path is neither down nor unknown.', ({ condition }) => Number(!isDead(condition))],
    ['fit', '1 where nothing speaks against it.', ({ standing }) => Number(standing === 'fit')],
    ['used', '1 where traffic takes it.', ({ used }) => Number(used)],
    ['rtt_seconds', 'Smoothed round trip.', ({ rttMs }) => seconds(rttMs)],
    [
      'rtt_p95_seconds',
      'Round trip that 95 % of the last second were within.',
      (path) => seconds(path.rttP95Ms),
    ],
    [
      'jitter_seconds',
      'Smoothed variation of the round trip (RFC 3550).',
      ({ jitterMs }) => seconds(jitterMs),
    ],
    ['mtu_bytes', 'Largest packet inside the tunnel that gets through, as far as known.', ({ mtu }) => mtu],
    ['loss_ratio', 'Smoothed share of probes lost.', ({ loss }) => loss],
  ]
  return gauges.flatMap(([name, help, value]) => family(`linkspan_path_${name}`, 'gauge', help, each(value)))
}

function isDead(condition: PathView['condition']): boolean {
  return condition === 'down' || condition === 'unknown'
}

function peers(views: readonly PeerView[]): string[] {
  const each = (value: (view: PeerView) => number): Sample[] =>
    views.map((view) => [
      { gateway: view.gateway, site: view.site, underlay: view.underlay, interface: view.device },
      value(view),
    ])
  return [
    ...family(
      'linkspan_peer_up',
      'gauge',
      '1 where a handshake is fresh.',
      each(({ state }) => (state === 'up' ? 1 : 0)),
    ),
    ...family(
      'wireguard_latest_handshake_seconds',
      'gauge',
      'Unix time of the latest handshake.',
      each((view) => view.latestHandshake),
    ),
    ...family(
      'wireguard_received_bytes_total',
      'counter',
      'Bytes received from the peer.',
      each((view) => view.receivedBytes),
    ),
    ...family(
      'wireguard_sent_bytes_total',
      'counter',
      'Bytes sent to the peer.',
      each((view) => view.sentBytes),
    ),
  ]
}
