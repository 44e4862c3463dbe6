/** When the hook of the active gateway runs, and what it is told. */
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Test } from 'tap'
import { formatStatus } from '../../../agent/cli/status.ts'
import { Events } from '../../../agent/daemon/event.ts'
import type { HookRequest } from '../../../agent/daemon/hook.ts'
import { fitMs } from '../../../agent/daemon/site-role.ts'
import { SiteSide } from '../../../agent/daemon/site-side.ts'
import type { Standing } from '../../../agent/model/path-state.ts'
import type { Share } from '../../../agent/plan/input.ts'
import { plan } from '../../../agent/plan/share.ts'
import { Paths } from '../../support/path-state.ts'
import { gatewayWith, inputWith } from '../../support/plan-input.ts'
import { documents, Rig } from '../../support/rig.ts'

const gateways = (...prefixes: readonly string[]) => [
  gatewayWith(1, 'aws-a', { prefixes: ['10.1.0.0/16'] }),
  gatewayWith(2, 'aws-b', { plane: 1, prefixes: ['10.1.0.0/16'] }),
  gatewayWith(3, 'gcp-a', { prefixes }),
]

function begin(t: Test, self: 'aws-a' | 'aws-b', auditSeconds = 300) {
  const state = {
    nowMs: 0,
    own: 'fit' as Standing,
    down: [] as string[],
    input: inputWith({
      gateways: gateways('10.2.0.0/16', 'fd00:2::/48'),
      own: { gateway: self, site: 'aws' },
    }),
  }
  const runs: (HookRequest & { readonly program: string })[] = []
  const events = new Events()
  let shares: readonly Share[] = [...plan(state.input)]
  const siteSide = new SiteSide({
    config: {
      fabric: 'prod',
      site: { name: 'aws', provider: '', region: '', labels: {} },
      own: state.input.own,
      hooks: { siteActive: { program: '/opt/hook', limitSeconds: 60, auditSeconds } },
    },
    planned: () => state.input,
    paths: () => new Paths(state.down),
    own: () => state.own,
    shares: () => shares,
    run: (program, request) => {
      runs.push({ program, ...request })
      return Promise.resolve('2 routes')
    },
    events,
    now: () => state.nowMs,
  })
  t.teardown(() => {
    siteSide.close()
  })
  const learn = (...prefixes: readonly string[]): void => {
    state.input = inputWith({ gateways: gateways(...prefixes), own: { gateway: self, site: 'aws' } })
    shares = [...plan(state.input)]
    siteSide.look()
  }
  const told = (): string[] =>
    events
      .since(0)
      .filter(({ event }) => event.startsWith('site-'))
      .map(({ event, fields }) => `${event} ${String(fields['others'] ?? fields['reason'] ?? '')}`.trim())
  return { siteSide, state, runs, learn, told }
}

async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 3000 && !holds(); i++) await pause(10)
  if (!holds()) throw new Error('it never came to that')
}

void t.test('it runs where this gateway is active, with the prefixes of other sites', async (t) => {
  const { siteSide, state, runs, told } = begin(t, 'aws-a')
  siteSide.look()
  t.match(siteSide.view, { active: 'aws-a', self: false, hook: { program: '/opt/hook', running: false } })
  state.nowMs = fitMs
  siteSide.look()
  siteSide.look()
  t.equal(runs.length, 1)
  t.same(JSON.parse(runs[0]?.input ?? ''), {
    schema: 1,
    cause: 'takeover',
    fabric: 'prod',
    site: 'aws',
    gateway: 'aws-a',
    prefixes: ['10.2.0.0/16', 'fd00:2::/48'],
  })
  t.match(runs[0], {
    program: '/opt/hook',
    timeoutMs: 60_000,
    environment: { LINKSPAN_GATEWAY: 'aws-a', LINKSPAN_SITE: 'aws', LINKSPAN_FABRIC: 'prod' },
  })
  await until(() => siteSide.view?.hook?.running === false)
  t.match(siteSide.view, { self: true, hook: { last: { outcome: 'ok', said: '2 routes' } } })
  state.own = 'draining'
  siteSide.look()
  t.match(siteSide.view, { active: 'aws-b', self: false })
  t.same(told(), ['site-active aws-b fit', 'site-passive this gateway is draining'])
})

void t.test('the other one takes over when it is down, and is let go when it comes back', (t) => {
  const { siteSide, state, runs, told } = begin(t, 'aws-b')
  siteSide.look()
  state.nowMs = fitMs
  siteSide.look()
  t.equal(runs.length, 0)
  state.down = ['aws-a internet']
  siteSide.look()
  t.equal(runs.length, 1)
  state.down = []
  siteSide.look()
  t.equal(runs[0]?.signal.aborted, true, 'what still ran is killed')
  t.same(told(), ['site-active aws-a down', 'site-passive aws-a goes before'])
  t.end()
})

void t.test('prefixes that change are one run, and the same again is none', async (t) => {
  const { siteSide, state, runs, learn } = begin(t, 'aws-a')
  siteSide.look()
  state.nowMs = fitMs
  siteSide.look()
  learn('10.3.0.0/16')
  learn('10.4.0.0/16')
  learn('10.4.0.0/16', '10.5.0.0/16')
  t.equal(runs.length, 1, 'not at once')
  await until(() => runs.length === 2)
  t.match(JSON.parse(runs[1]?.input ?? ''), { cause: 'change', prefixes: ['10.4.0.0/16', '10.5.0.0/16'] })
  learn('10.5.0.0/16', '10.4.0.0/16')
  await pause(2500)
  t.equal(runs.length, 2)
})

void t.test('it runs again from time to time, and when a gateway of the site is back', async (t) => {
  const { siteSide, state, runs } = begin(t, 'aws-a', 1)
  siteSide.look()
  state.nowMs = fitMs
  siteSide.look()
  await until(() => runs.length === 2)
  t.match(JSON.parse(runs[1]?.input ?? ''), { cause: 'audit' })
  const rare = begin(t, 'aws-a')
  rare.state.down = ['aws-b internet']
  rare.siteSide.look()
  rare.state.nowMs = fitMs
  rare.siteSide.look()
  rare.state.down = []
  rare.siteSide.look()
  await until(() => rare.runs.length === 2)
  t.match(JSON.parse(rare.runs[1]?.input ?? ''), { cause: 'audit' })
})

void t.test('status says it', async (t) => {
  const rig = new Rig()
  rig.deliver(documents(1))
  await rig.turn()
  const status = await rig.view().status()
  const said = (change: object): string =>
    formatStatus(
      {
        ...status,
        gateway: 'aws-a',
        siteSide: { site: 'aws', active: 'aws-a', self: true, sinceMs: 1_000_000, unseen: [], ...change },
      },
      1060,
    )
  const hook = { name: 'site-active', program: '/opt/hook', running: false, runs: { ok: 0, failed: 0 } }
  t.match(said({}), 'for the hosts of its site: this gateway is active, since 1 minute ago\n')
  t.match(said({ self: false, hook }), 'this gateway is about to be active, since 1 minute ago\n')
  t.match(said({ hook }), 'hook site-active /opt/hook: never run\n')
  t.match(
    said({ active: 'aws-b', self: false, unseen: ['aws-b'] }),
    'aws-b is active, since 1 minute ago; no path',
  )
  t.match(said({ active: undefined, self: false }), 'no gateway is active')
  const last = { outcome: 'failed', cause: 'audit', atMs: 1_055_000, ms: 12, said: 'exit code 1' }
  t.match(
    said({ hook: { ...hook, running: true, last } }),
    'hook site-active /opt/hook: running; before that failed 5 seconds ago (audit, 12 ms): exit code 1\n',
  )
})
