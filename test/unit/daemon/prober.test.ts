/** The prober against an engine that only notes what it is told. */
import { mock } from 'node:test'
import t from 'tap'
import { Events } from '../../../agent/daemon/event.ts'
import { PathMemory } from '../../../agent/daemon/path-memory.ts'
import { Prober } from '../../../agent/daemon/prober.ts'
import type { PathState } from '../../../agent/model/path-state.ts'
import type { PlanInput } from '../../../agent/plan/input.ts'
import type {
  PathNews,
  ProbedPath,
  ProbeEngine,
  ProbeEvents,
  SizeTrial,
  Word,
} from '../../../agent/probe/port.ts'
import { gatewayWith, inputWith } from '../../support/plan-input.ts'

class FakeEngine implements ProbeEngine {
  readonly words: Word[] = []
  readonly paths: (readonly ProbedPath[])[] = []
  readonly trials: SizeTrial[] = []
  stopped = false
  readonly port: number
  readonly events: ProbeEvents

  constructor(port: number, word: Word, events: ProbeEvents) {
    this.port = port
    this.words.push(word)
    this.events = events
  }

  setPaths(paths: readonly ProbedPath[]): void {
    this.paths.push(paths)
  }

  ask(trials: readonly SizeTrial[]): void {
    this.trials.push(...trials)
  }

  setWord(word: Word): void {
    this.words.push(word)
  }

  counters(): never {
    throw new Error('not asked')
  }

  stop(): void {
    this.stopped = true
  }
}

const fabric = {
  underlays: [{ name: 'internet' }, { name: 'dx' }],
  prefer: ['dx', 'internet'],
  probe: { port: 18620, intervalMs: 200, retryMs: 60, downAfter: 10, underlays: { dx: { intervalMs: 50 } } },
}
const endpoints = (n: number): readonly string[] => [`internet 192.0.2.${n}`, `dx 10.9.0.${n}`]
const links = ['eth0 192.0.2.1/24 default', 'dx0 10.9.0.1/24']

function inputOf(serial = 1, weight = 1): PlanInput {
  return inputWith({
    gateways: [
      gatewayWith(1, 'aws-a', { endpoints: endpoints(1), weight }),
      gatewayWith(2, 'gcp-a', { endpoints: endpoints(2) }),
    ],
    fabric: { ...fabric, serial },
    links,
  })
}

function begin(directory: string, first = inputOf()) {
  const engines: FakeEngine[] = []
  const states: PathState[] = []
  const events = new Events()
  const state = {
    input: first,
    draining: false,
    notForwarding: false,
    handshakes: new Map<string, number>(),
    asked: 0,
  }
  const prober = new Prober({
    start: (port, word, listeners) => {
      const engine = new FakeEngine(port, word, listeners)
      engines.push(engine)
      return engine
    },
    memory: new PathMemory(directory),
    planned: () => state.input,
    setPaths: (paths) => states.push(paths),
    isDraining: () => state.draining,
    isNotForwarding: () => state.notForwarding,
    handshakes: () => {
      state.asked++
      return Promise.resolve(state.handshakes)
    },
    events,
  })
  const told = (): string[] => events.since(0).map(({ event }) => event)
  return { prober, engines, states, state, told }
}

const tick = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))

function news(id: string, state: PathNews['state'], more: Partial<PathNews> = {}): PathNews {
  return { id, state, cause: 'none', sinceMs: 1, changes: 1, ...more }
}

void t.test('every path of the plan is probed, on its device, in its own times', (t) => {
  const { prober, engines } = begin(t.testdir())
  prober.look()
  const [engine] = engines
  t.equal(engine?.port, 18620)
  t.match(engine?.paths, [
    [
      { id: 'gcp-a dx', device: 'ls-wg8', address: 'fe80::2', profile: { intervalMs: 50, retryMs: 60 } },
      { id: 'gcp-a internet', device: 'ls-wg0', address: 'fe80::2', profile: { intervalMs: 200 } },
    ],
  ])
  prober.look()
  t.equal(engine?.paths.length, 1, 'nothing new, nothing said')
  prober.close()
  t.equal(engine?.stopped, true)
  t.end()
})

void t.test('another port is another engine', (t) => {
  const { prober, engines, state } = begin(t.testdir())
  prober.look()
  const { snapshot } = state.input
  const probe = { ...snapshot.fabric.probe, port: 9999 }
  state.input = { ...state.input, snapshot: { ...snapshot, fabric: { ...snapshot.fabric, probe } } }
  prober.look()
  t.same(
    engines.map(({ port, stopped }) => [port, stopped]),
    [
      [18620, true],
      [9999, false],
    ],
  )
  t.equal(engines[1]?.paths.length, 1)
  t.end()
})

void t.test('our own word', (t) => {
  const { prober, engines, state } = begin(t.testdir(), inputOf(5, 3))
  prober.look()
  const word = (): Word | undefined => engines[0]?.words.at(-1)
  t.same(word(), { draining: false, notForwarding: false, weight: 3, serial: 5 })
  const said = engines[0]?.words.length
  prober.look()
  t.equal(engines[0]?.words.length, said)
  state.draining = true
  state.notForwarding = true
  prober.look()
  t.match(word(), { draining: true, notForwarding: true })
  t.end()
})

void t.test('news of several paths are one new state, told and remembered', async (t) => {
  const directory = t.testdir()
  const { prober, engines, states, told } = begin(directory)
  prober.look()
  engines[0]?.events.onChange(news('gcp-a dx', 'down'))
  engines[0]?.events.onChange(news('gcp-a internet', 'silent'))
  await tick()
  t.equal(states.length, 1)
  t.equal(states[0]?.standingOf('gcp-a', 'dx', 0), 'down')
  t.same(told(), ['path-down', 'path-unfit'])
  const next = begin(directory)
  t.equal(next.prober.state.standingOf('gcp-a', 'dx', 0), 'down', 'the next agent knows')
  t.equal(next.prober.state.standingOf('gcp-a', 'internet', 0), 'silent')
  engines[0]?.events.onChange(news('gcp-a dx', 'up'))
  await tick()
  t.equal(told().at(-1), 'path-up')
  t.equal(begin(directory).prober.state.standingOf('gcp-a', 'dx', 0), 'fit')
})

void t.test('a memory that cannot be read or written stops nothing', async (t) => {
  const directory = t.testdir({ 'paths.json': '{"gcp-a dx":"down","x":7' })
  t.equal(begin(directory).prober.state.standingOf('gcp-a', 'dx', 0), 'fit')
  const { prober, engines, states, told } = begin(`${directory}/none`)
  prober.look()
  for (const state of ['down', 'silent'] as const) {
    engines[0]?.events.onChange(news('gcp-a dx', state))
    await tick()
  }
  t.equal(states.length, 2)
  t.equal(told().filter((event) => event === 'paths-unsaved').length, 1)
})

void t.test('a newer fabric document elsewhere is told after a while', async (t) => {
  const { prober, engines, told } = begin(t.testdir(), inputOf(5))
  prober.look()
  const word = { draining: false, notForwarding: false, weight: 1, serial: 6 }
  engines[0]?.events.onChange(news('gcp-a dx', 'up', { word }))
  await tick()
  const nothing = { rows: 0, idOf: () => undefined, value: () => 0, newsOf: () => undefined }
  engines[0]?.events.onReport(nothing)
  t.same(told(), [], 'it may be on its way')
  const now = performance.now.bind(performance)
  t.intercept(performance, 'now', { value: () => now() + 61_000 })
  engines[0]?.events.onReport(nothing)
  engines[0]?.events.onReport(nothing)
  t.same(told(), ['registry-behind'], 'once')
})

void t.test('handshakes are asked for while a path was never heard, ever less', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => {
    mock.timers.reset()
  })
  const { prober, engines, state, told } = begin(t.testdir())
  prober.look()
  engines[0]?.events.onChange(news('gcp-a internet', 'silent'))
  await tick()
  const key = state.input.snapshot.gateways.get('gcp-a')?.tunnelKeys['0'] ?? ''
  state.handshakes.set(`ls-wg0 ${key}`, 10_000)
  mock.timers.tick(1999)
  await tick()
  t.same(told(), ['path-unfit'])
  t.equal(state.asked, 0)
  mock.timers.tick(1)
  await tick()
  t.same(told(), ['path-unfit', 'probes-blocked'])
  t.equal(prober.state.standingOf('gcp-a', 'internet', 0), 'fit')
  for (const ms of [4000, 8000, 16_000, 32_000, 60_000, 60_000]) {
    const { asked } = state
    mock.timers.tick(ms - 1)
    await tick()
    t.equal(state.asked, asked, `${ms} ms`)
    mock.timers.tick(1)
    await tick()
    t.equal(state.asked, asked + 1, `${ms} ms`)
  }
  const { asked } = state
  prober.close()
  mock.timers.tick(600_000)
  await tick()
  t.equal(state.asked, asked, 'not after the end')
})

void t.test('of paths that were heard no handshakes are asked for', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => {
    mock.timers.reset()
  })
  const { prober, engines, state } = begin(t.testdir())
  prober.look()
  const row = { idOf: () => 'gcp-a dx', value: () => 7, newsOf: () => undefined }
  engines[0]?.events.onChange(news('gcp-a dx', 'up'))
  engines[0]?.events.onReport({ rows: 1, ...row })
  mock.timers.tick(60_000)
  await tick()
  t.equal(state.asked, 0)
  prober.close()
})

/** Until nothing is due: timers of 0 and more ms go off as they come. */
async function settle(ms = 0): Promise<void> {
  for (let i = 0; i < 3; i++) {
    await tick()
    mock.timers.tick(i === 0 ? Math.max(1, ms) : 1)
  }
  await tick()
}

void t.test(
  'a path that comes up is asked for its MTU, and what is found is told, kept and known next time',
  async (t) => {
    mock.timers.enable({ apis: ['setTimeout'] })
    t.teardown(() => {
      mock.timers.reset()
    })
    const directory = t.testdir()
    const { prober, engines, states, told } = begin(directory)
    prober.look()
    const [engine] = engines
    await settle()
    t.same(engine?.trials, [], 'nothing is up')
    engine?.events.onChange(news('gcp-a dx', 'silent'))
    engine?.events.onChange(news('gcp-a internet', 'up'))
    await settle()
    t.match(engine?.trials, [{ id: 'gcp-a internet', trial: 1, size: 1440, tries: 12 }])
    engine?.events.onVerdict?.('gcp-a internet', 1, 'lost')
    await settle()
    t.equal(states.at(-1)?.mtuOf('gcp-a', 'internet', 0), 1280)
    t.equal(states.at(-1)?.mtuOf('gcp-a', 'dx', 0), undefined)
    t.equal(told().at(-1), 'path-mtu-lowered')
    t.match(engine?.trials.at(-1), { trial: 2, size: 1280 })
    const count = states.length
    engine?.events.onVerdict?.('gcp-a internet', 2, 'void')
    await settle()
    t.equal(states.length, count, 'no news without a verdict')
    t.match(prober.entryOf('gcp-a', 'internet', 0)?.mtu, { mtu: 1280, documents: 1440 })

    const next = begin(directory)
    t.equal(next.prober.state.mtuOf('gcp-a', 'internet', 0), 1280, 'the next agent knows before it looks')
    next.prober.look()
    t.equal(next.prober.state.mtuOf('gcp-a', 'internet', 0), 1280)
    t.same([next.states.length, next.told()], [0, []], 'nothing to be told')
    next.engines[0]?.events.onChange(news('gcp-a internet', 'up'))
    await settle()
    t.match(next.engines[0]?.trials, [{ size: 1280 }])
    const asked = next.engines[0]?.trials.length
    next.prober.close()
    await settle(600_000)
    t.equal(next.engines[0]?.trials.length, asked, 'not after the end')
    prober.close()
  },
)

void t.test('a memory of MTUs that are none', (t) => {
  const mtus = { 'gcp-a dx': 12, 'gcp-a internet': '1328', 'gcp-a wan': 1312.5, 'gcp-a lan': 1328 }
  const directory = t.testdir({ 'paths.json': JSON.stringify({ standings: {}, proven: {}, mtus }) })
  t.same([...new PathMemory(directory).read().mtus], [['gcp-a lan', 1328]])
  const old = t.testdir({ 'paths.json': JSON.stringify({ standings: { 'gcp-a dx': 'down' }, proven: {} }) })
  t.equal(new PathMemory(old).read().standings.get('gcp-a dx'), 'down', 'of a version that kept none')
  t.end()
})
