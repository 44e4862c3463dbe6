/** A rotation from its beginning to its end, over keys, a record and handshakes that the test moves on. */
import t from 'tap'
import { Events } from '../../../agent/daemon/event.ts'
import { Rotation } from '../../../agent/daemon/rotation.ts'
import { LinkspanError } from '../../../agent/errors.ts'
import type { PlanInput } from '../../../agent/plan/input.ts'
import type { Generation } from '../../../agent/daemon/key-store.ts'
import type { GatewayText } from '../../support/plan-input.ts'
import { gatewayWith, inputWith } from '../../support/plan-input.ts'
import { Paths } from '../../support/path-state.ts'

const startMs = 1_700_000_000_000
const day = 86_400_000

class World {
  nowMs = startMs
  input: PlanInput | undefined = this.inputOf({})
  readonly ages = new Map<string, number>()
  hindrance: string | undefined
  changes = 0
  broken = false
  readonly events = new Events()
  readonly keys = {
    newest: { number: 0, madeAtMs: startMs } satisfies Generation as Generation,
    older: undefined as (Generation & { isOffered: boolean }) | undefined,
    begin: (nowMs: number): Promise<void> => {
      if (this.broken) {
        const reason = 'no space left on device'
        return Promise.reject(new LinkspanError({ code: 'state-unreadable', object: 'keys', reason }))
      }
      this.keys.older = { ...this.keys.newest, isOffered: true }
      this.keys.newest = { number: this.keys.newest.number + 1, madeAtMs: nowMs }
      return Promise.resolve()
    },
    retire: (): Promise<void> => {
      if (this.keys.older !== undefined) this.keys.older = { ...this.keys.older, isOffered: false }
      return Promise.resolve()
    },
    forget: (): Promise<void> => {
      this.keys.older = undefined
      return Promise.resolve()
    },
  }
  readonly rotation = new Rotation({
    gateway: 'a-a',
    keys: this.keys,
    planned: () => this.input,
    handshakes: () => Promise.resolve(this.ages),
    hindrance: () => Promise.resolve(this.hindrance),
    onChange: () => {
      this.changes++
    },
    events: this.events,
    wall: () => this.nowMs,
    sure: () => this.nowMs,
    monotonic: () => this.nowMs,
  })

  inputOf(own: GatewayText, words: readonly string[] = [], days = 0): PlanInput {
    const gateways = [gatewayWith(1, 'a-a', own), gatewayWith(2, 'b-a'), gatewayWith(3, 'c-a')]
    return { ...inputWith({ gateways, fabric: { rotation: { days } } }), paths: new Paths(words) }
  }

  get told(): readonly string[] {
    return this.events.since(0).map(({ event }) => event)
  }

  async pass(ms: number): Promise<void> {
    this.nowMs += ms
    await this.rotation.look()
  }
}

void t.test('by hand, from step to step', async (t) => {
  const world = new World()
  await world.pass(0)
  t.strictSame(world.rotation.view, { generation: 0, ageSeconds: 0, phase: 'settled' })
  const [first, second] = await Promise.all([world.rotation.begin(), world.rotation.begin()])
  t.strictSame([first, second], [true, false], 'one at a time')
  t.equal(await world.rotation.begin(), false)
  t.equal(world.changes, 1, 'the publisher is told')
  t.match(world.rotation.view, { generation: 1, phase: 'announcing', older: { generation: 0 } })

  await world.pass(1000)
  t.match(world.rotation.view.waitsFor, /record with the new keys/)
  const both = { generation: 1, rotating: true }
  world.input = world.inputOf(both)
  world.ages.set('ls-wg0 b-a/0', 5000).set('ls-wg0 c-a/0', 5000).set('ls-wg32 b-a/4', 10)
  await world.pass(6000)
  t.match(world.rotation.view, { phase: 'moving', waitsFor: /2 gateways .*b-a, c-a$/ })
  t.notOk(world.told.includes('keys-moved'))

  world.input = world.inputOf(both, ['b-a internet.2 proven=b-a/4', 'c-a internet.2 proven=c-a/4'])
  await world.pass(6000)
  t.ok(world.told.includes('keys-moved'))
  world.ages.set('ls-wg0 b-a/0', 181_000)
  await world.pass(6000)
  t.match(world.rotation.view.waitsFor, /one gateway .*c-a$/)
  world.ages.set('ls-wg0 c-a/0', 181_000)
  await world.pass(6000)
  t.match(world.rotation.view.waitsFor, /they go in/, 'a start comes before handshakes')
  await world.pass(180_000)
  t.match(world.rotation.view, { phase: 'retiring' })
  t.equal(world.changes, 2)
  t.equal(world.keys.older?.isOffered, false)

  await world.pass(1000)
  t.ok(world.keys.older, 'a device of theirs may still have to be made')
  world.input = world.inputOf({ generation: 1 })
  await world.pass(1000)
  t.strictSame(world.rotation.view, { generation: 1, ageSeconds: 207, phase: 'settled' })
  t.strictSame(world.told, ['keys-begun', 'keys-moved', 'keys-retired', 'keys-deleted'])
})

void t.test('what is down carries nothing by old keys', async (t) => {
  const world = new World()
  await world.rotation.begin()
  const both = { generation: 1, rotating: true }
  const [down, moved] = [['c-a internet', 'c-a internet.2'], 'b-a internet.2 proven=b-a/4']
  world.input = world.inputOf(both, [...down, 'b-a internet', 'b-a internet.2'])
  await world.pass(6000)
  t.notOk(world.told.includes('keys-moved'), 'all are: that says nothing')
  world.input = world.inputOf(both, down)
  await world.pass(6000)
  t.notOk(world.told.includes('keys-moved'), 'one sends by the old keys')
  world.input = world.inputOf(both, [...down, moved])
  await world.pass(6000)
  t.ok(world.told.includes('keys-moved'))
})

void t.test(
  'who never hears of the new keys holds them up for a day at most, and that is said',
  async (t) => {
    const world = new World()
    await world.rotation.begin()
    world.input = world.inputOf({ generation: 1, rotating: true })
    world.ages.set('ls-wg0 c-a/0', 5000)
    for (let hour = 0; hour < 23; hour++) await world.pass(3_600_000)
    t.match(world.rotation.view, { phase: 'moving', waitsFor: /c-a$/ })
    await world.pass(3_600_000)
    await world.pass(6000)
    t.equal(world.rotation.view.phase, 'retiring')
    t.match(
      world.events.since(0).find(({ event }) => event === 'keys-retired'),
      { level: 'warning', fields: { stillUsedBy: 'c-a' } },
    )
  },
)

void t.test('the schedule: when it is due, and never while something speaks against it', async (t) => {
  const world = new World()
  world.input = world.inputOf({}, [], 30)
  await world.pass(26 * day)
  t.strictSame(world.told, [])
  t.type(world.rotation.view.nextAtMs, 'number')
  world.hindrance = 'this gateway drains'
  await world.pass(4 * day)
  t.equal(world.rotation.view.generation, 0)
  t.match(world.rotation.view.waitsFor, /is due and waits: this gateway drains/)
  await world.pass(120_000)
  t.strictSame(world.told, ['rotation-waits'], 'said once')
  world.hindrance = undefined
  await world.pass(1000)
  t.equal(world.rotation.view.generation, 0, 'not asked all the time')
  await world.pass(60_000)
  t.match(world.rotation.view, { generation: 1, phase: 'announcing' })
  t.match(world.events.since(0).at(-1), { event: 'keys-begun', fields: { by: 'schedule' } })
})

void t.test('without a record in force nobody would hear of it', async (t) => {
  const world = new World()
  for (const input of [undefined, world.inputOf({ barred: true })]) {
    world.input = input
    await t.rejects(world.rotation.begin(), { code: 'registry-unreadable' })
  }
  t.equal(world.keys.newest.number, 0)
})

void t.test('what cannot be kept is said once, and tried again', async (t) => {
  const world = new World()
  world.broken = true
  await t.rejects(world.rotation.begin(), { code: 'state-unreadable' })
  world.input = world.inputOf({}, [], 1)
  await world.pass(2 * day)
  await world.pass(120_000)
  t.strictSame(world.told, ['rotation-failed'])
  t.match(world.rotation.view.waitsFor, /no space left/)
  world.broken = false
  await world.pass(120_000)
  t.equal(world.rotation.view.generation, 1)
})
