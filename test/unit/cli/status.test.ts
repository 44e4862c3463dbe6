import t from 'tap'
import { formatRoutes } from '../../../agent/cli/routes.ts'
import { formatGateway, formatPeers, formatStatus } from '../../../agent/cli/status.ts'
import { count, table } from '../../../agent/cli/table.ts'
import { formatAgo, formatBytes } from '../../../agent/daemon/duration.ts'
import type { PeerView } from '../../../agent/daemon/peer-view.ts'
import type { Status } from '../../../agent/daemon/status.ts'

const nowSeconds = 1_763_700_000

const up: PeerView = {
  gateway: 'gcp-a',
  site: 'gcp-eu',
  underlay: 'internet',
  device: 'ls-wg0',
  state: 'up',
  publicKey: 'KEY',
  endpoint: '192.0.2.7:51820',
  latestHandshake: nowSeconds - 9,
  receivedBytes: 1_268_777,
  sentBytes: 148,
  prefixes: 12,
}
const stale: PeerView = {
  ...up,
  gateway: 'az-a',
  state: 'stale',
  latestHandshake: nowSeconds - 4000,
  reason: 'the last handshake was 1 hour, 6 minutes ago',
  next: 'check that 192.0.2.8:51820 is up',
}

const ok: Status = {
  schema: 1,
  health: 'ok',
  summary: '1/1 tunnels up',
  version: '1.2.3',
  fabric: 'prod',
  gateway: 'aws-a',
  site: 'aws-us',
  number: 1,
  overlay: ['100.127.0.1/32'],
  dataPlane: 'kernel',
  uptimeSeconds: 61,
  stallMs: 0,
  isService: true,
  peers: [up],
  routes: 20,
  registry: { source: 'file:///r', ageSeconds: 4, unreadable: [] },
  trust: { authorities: ['KEY'], alarms: [] },
  conflicts: [],
  failures: [],
  refusals: [],
  vanished: [],
  notes: [],
}

void t.test('a healthy gateway', (t) => {
  const text = formatStatus(ok, nowSeconds)
  const lines = text.split('\n')
  t.equal(lines[0], 'ok: 1/1 tunnels up', 'health first')
  t.match(text, 'gcp-a  gcp-eu  up     192.0.2.7:51820  9 seconds ago  1.21 MiB / 148 B  12')
  t.notMatch(text, 'Problems')
  t.notMatch(text, 'wireguard-go')
  t.notMatch(text, 'UNDERLAY', 'one underlay needs no column')
  t.end()
})

void t.test('paths: what was measured, which is used, and why another is not', (t) => {
  const path = {
    condition: 'up' as const,
    standing: 'fit' as const,
    used: true,
    rttMs: 1.234,
    rttMinMs: 1,
    rttMeanMs: 1.3,
    rttP95Ms: 2,
    jitterMs: 0.25,
    loss: 0.05,
    reasons: [],
  }
  const dx = { ...up, underlay: 'dx', device: 'ls-wg8', path }
  const spare = { ...up, path: { ...path, used: false } }
  const table = formatPeers([dx, spare], nowSeconds).join('\n')
  t.match(table, /RTT +JITTER +LOSS/)
  t.match(table, /dx +up +.* 1\.23 ms +0\.250 ms +5 %/)
  t.match(table, /internet +up, spare/)
  const text = formatGateway('gcp-a', [dx, spare], ok, nowSeconds)
  t.match(text, /path: in use; round trip 1\.234 ms .*jitter 0\.25 ms, loss 5 %/)
  t.match(text, /path: not in use: dx goes first; round trip/)
  const degraded = { ...spare, path: { ...spare.path, standing: 'degraded' as const } }
  t.match(formatGateway('gcp-a', [dx, degraded], ok, nowSeconds), /path: not in use; round trip/)
  t.end()
})

void t.test('what is wrong, why, and what to do', (t) => {
  const text = formatStatus(
    {
      ...ok,
      health: 'degraded',
      summary: '1/2 tunnels up, 5 problems',
      dataPlane: 'wireguard-go',
      peers: [up, stale],
      registry: {
        source: 'file:///r',
        unreadable: [{ code: 'registry-unreadable', object: '/r', reason: 'EACCES', next: 'chmod' }],
      },
      conflicts: [{ code: 'conflict', object: 'link ls-wg1', reason: 'is taken' }],
      failures: [
        {
          code: 'netlink',
          object: 'route 10.9.0.0/16',
          reason: 'ENOMEM',
          sinceMs: (nowSeconds - 120) * 1000,
          times: 7,
        },
      ],
      refusals: [
        {
          origin: '/r/records/x.jws',
          object: '/r/records/x.jws:3:7',
          rule: 'document',
          code: 'document-invalid',
          reason: 'expected a number',
        },
      ],
      vanished: [
        { origin: '/r/records/y.jws', object: 'record y', gateway: 'y', sinceMs: (nowSeconds - 60) * 1000 },
      ],
      notes: [{ kind: 'prefix-not-installed', object: 'prefix 10.1.0.0/16', reason: 'ours' }],
    },
    nowSeconds,
  )
  for (const part of [
    /^degraded: /,
    /ATTENTION: .*wireguard-go/,
    / {2}az-a over internet: the last handshake was 1 hour, 6 minutes ago\n {4}next: check that/,
    / {2}\/r: EACCES\n {4}next: chmod/,
    /link ls-wg1: is taken/,
    /route 10\.9\.0\.0\/16: ENOMEM; failed 7 times, first 2 minutes ago/,
    /\/r\/records\/x\.jws:3:7: refused: expected a number/,
    / {2}record y: gone from the registry since 1 minute ago, still in force/,
    /under `removed:`/,
    /prefix 10\.1\.0\.0\/16: ours/,
    /registry file:\/\/\/r: never read/,
  ]) {
    t.match(text, part)
  }
  t.end()
})

void t.test('two underlays have a column', (t) => {
  const text = formatStatus({ ...ok, peers: [up, { ...up, underlay: 'dx', device: 'ls-wg8' }] }, nowSeconds)
  t.match(text, /UNDERLAY/)
  t.end()
})

void t.test('routes', (t) => {
  const text = formatRoutes([
    {
      prefix: '10.2.0.0/16',
      type: 'unicast',
      site: 's2',
      gateways: ['a', 'b'],
      devices: ['ls-wg0', 'ls-wg1'],
      group: 1,
      mtu: 1440,
      src: '10.1.0.1',
    },
    { prefix: '100.127.0.0/16', type: 'unreachable' },
    { prefix: '10.9.0.0/16', type: 'unicast', site: 's2', reason: 'shared with s1: a is down' },
    { prefix: '10.1.0.0/16', type: 'not installed', site: 's3', reason: 'our own site originates it' },
  ])
  t.match(text, '10.2.0.0/16     s2             a,b       ls-wg0,ls-wg1  1440  10.1.0.1')
  t.match(text, '100.127.0.0/16  (unreachable)')
  t.match(
    text,
    'Of several sites, one at a time is used\n  10.9.0.0/16  site s2  shared with s1: a is down\n\n',
  )
  t.match(text, 'Not installed here\n  10.1.0.0/16  site s3  our own site originates it')
  t.end()
})

void t.test('words', (t) => {
  t.same([0, 1, 59, 60, 63, 3600, 90_061].map(formatAgo), [
    'now',
    '1 second ago',
    '59 seconds ago',
    '1 minute ago',
    '1 minute, 3 seconds ago',
    '1 hour ago',
    '1 day, 1 hour ago',
  ])
  t.same([0, 1023, 1024, 1_258_291, 5 * 2 ** 30].map(formatBytes), [
    '0 B',
    '1023 B',
    '1.00 KiB',
    '1.20 MiB',
    '5.00 GiB',
  ])
  t.equal(count(1, 'peer'), '1 peer')
  t.equal(count(0, 'peer'), '0 peers')
  t.same(
    table([
      ['a', 'bb', ''],
      ['ccc', 'd', ''],
    ]),
    ['a    bb', 'ccc  d'],
  )
  t.end()
})
