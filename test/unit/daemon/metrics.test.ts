import { request } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { openMetrics } from '../../../agent/daemon/metrics.ts'
import { fabricDocument, identityOf } from '../../support/documents.ts'
import { documents, Rig } from '../../support/rig.ts'

void t.test('metrics', async (t) => {
  const rig = new Rig()
  const { reconciler } = rig
  const view = rig.view({ latencyMs: () => 12.34 })
  const server = await openMetrics({ address: '127.0.0.1', port: 0, reconciler, view, version: '1.2.3' })
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const { port } = server.address() as AddressInfo
  const ask = (path: string, host = `127.0.0.1:${port}`): Promise<{ status: number; body: string }> =>
    new Promise((resolve, reject) => {
      const call = request({ port, path, host: '127.0.0.1', headers: { host }, agent: false }, (answer) => {
        let body = ''
        answer.on('data', (piece: Buffer) => (body += piece.toString()))
        answer.on('end', () => {
          resolve({ status: answer.statusCode ?? 0, body })
        })
      })
      call.on('error', reject)
      call.end()
    })

  t.match(await ask('/healthz'), { status: 503 }, 'no turn yet')
  t.match(await ask('/readyz'), { status: 503 })
  rig.deliver(documents(3))
  await rig.turn()
  t.match(await ask('/healthz'), { status: 200 })
  t.match(await ask('/readyz'), { status: 200 })

  const { body } = await ask('/metrics')
  for (const line of [
    'linkspan_build_info{version="1.2.3"} 1',
    'linkspan_peer_up{gateway="g2",site="s2",underlay="internet",interface="ls-wg0"} 0',
    'wireguard_latest_handshake_seconds{gateway="g2",site="s2",underlay="internet",interface="ls-wg0"} 0',
    'wireguard_received_bytes_total{gateway="g3"',
    'wireguard_sent_bytes_total{gateway="g3"',
    'linkspan_routes{type="unicast"} ',
    'linkspan_reconcile_duration_seconds_bucket{kind="audit",le="+Inf"} 1',
    'linkspan_registry_last_success_timestamp_seconds ',
    'linkspan_event_loop_stall_max_seconds ',
    'linkspan_registry_age_seconds ',
    'linkspan_registry_latency_seconds 0.0123\n',
    'linkspan_registry_unreadable 0\n',
    'linkspan_fabric_serial 1\n',
    'linkspan_fabric_stale 0\n',
    'linkspan_certificate_serial 1\n',
    'linkspan_certificate_expires_in_seconds 23',
    'linkspan_certificate_barred 0\n',
    'linkspan_record_serial 1\n',
    'linkspan_clock_leap_seconds 0\n',
    'linkspan_clock_lag_seconds 0\n',
    'process_resident_memory_bytes ',
  ]) {
    t.match(body, line)
  }
  const names = body.split('\n').flatMap((line) => /^# TYPE (\S+)/.exec(line)?.[1] ?? [])
  t.equal(new Set(names).size, names.length, 'every family once')
  t.notMatch(body, /[A-Za-z0-9+/]{43}=/, 'no key of anybody')

  const route = rig.kernel.owned.find((object) => object.kind === 'route')
  if (route === undefined) throw new Error('no route')
  rig.kernel.lose(route)
  reconciler.schedule.drifted()
  await rig.audit()
  t.match((await ask('/metrics')).body, 'linkspan_drift_repaired_total{object="route"} 1')

  for (const host of ['evil.example', 'evil.example:9586', 'localhost.evil.example']) {
    t.match(await ask('/metrics', host), { status: 403 }, `Host: ${host}`)
  }
  for (const host of ['localhost', `localhost:${port}`, '[::1]:9586']) {
    t.match(await ask('/metrics', host), { status: 200 }, `Host: ${host}`)
  }
})

void t.test('who is active at the site, and its hook', async (t) => {
  const rig = new Rig()
  const { reconciler } = rig
  const siteSide = {
    trouble: { code: 'exec' as const, object: 'hook /opt/hook', reason: 'exit code 1', sinceMs: 1, times: 3 },
    view: {
      site: 's1',
      active: 'g1',
      self: true,
      sinceMs: 1,
      unseen: [],
      hook: {
        name: 'site-active',
        program: '/opt/hook',
        running: false,
        runs: { ok: 2, failed: 3 },
        lastSuccessMs: 1_763_700_000_500,
        last: { outcome: 'failed' as const, cause: 'audit' as const, atMs: 5, ms: 7, said: 'exit code 1' },
      },
    },
  }
  const view = rig.view({ siteSide })
  rig.deliver(documents(1))
  await rig.turn()
  const { health, failures, siteSide: shown } = await view.status()
  t.equal(health, 'degraded')
  t.match(failures, [{ object: 'hook /opt/hook', times: 3 }])
  t.same(shown, siteSide.view)
  const server = await openMetrics({ address: '127.0.0.1', port: 0, reconciler, view, version: '1.2.3' })
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const { port } = server.address() as AddressInfo
  const body = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  for (const line of [
    'linkspan_site_active 1\n',
    'linkspan_hook_runs_total{hook="site-active",outcome="ok"} 2\n',
    'linkspan_hook_runs_total{hook="site-active",outcome="failed"} 3\n',
    'linkspan_hook_failing{hook="site-active"} 1\n',
    'linkspan_hook_last_success_timestamp_seconds{hook="site-active"} 1763700000.5\n',
  ]) {
    t.match(body, line)
  }
})

void t.test('a certificate that was revoked', async (t) => {
  const rig = new Rig()
  const { reconciler } = rig
  rig.deliver(documents(3))
  await rig.turn()
  rig.change(fabricDocument({ serial: 2, revoked: { serials: [], identities: [identityOf('g1')] } }))
  await rig.turn()
  const view = rig.view()
  const { trust, summary } = await view.status()
  t.match(trust.barred, /revokes/)
  t.match(summary, /^our certificate counts no more, so all peers are gone: .*revokes/)
  const server = await openMetrics({ address: '127.0.0.1', port: 0, reconciler, view, version: '1.2.3' })
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const { port } = server.address() as AddressInfo
  const answer = await fetch(`http://127.0.0.1:${port}/metrics`)
  const body = await answer.text()
  t.match(body, 'linkspan_certificate_barred 1\n')
  t.match(body, 'linkspan_documents_refused_by_rule{rule="revoked"} 1')
})
