/**
 * The reconciler against the fake kernel: whatever comes in whatever order (changed documents, a changed host, damage by
 * others, ops that fail, a kill in the middle), once things are quiet the kernel holds what the plan in force asks for,
 * what is not ours is as it was, and a second start finds nothing to do.
 */
import { strict as assert } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import type { KernelObject } from '../../agent/model/kernel-object.ts'
import { formatOp } from '../../agent/model/op-text.ts'
import { GroupIds } from '../../agent/plan/group-id.ts'
import type { PlanInput } from '../../agent/plan/input.ts'
import { historyArbitrary, parameters } from '../support/arbitraries.ts'
import { driftOf, FakeKernel } from '../support/fake-kernel.ts'
import { bystanders } from '../support/foreign.ts'
import { assertConverged, foreignText } from '../support/pass.ts'
import { Rig } from '../support/rig.ts'
import { documentsOf, gatewayName, inputOf } from '../support/world.ts'
import type { World } from '../support/world.ts'

/** What else happens at a step. */
const trouble = fc.record({
  /** An object of ours, by position, that somebody removes. */
  loses: fc.option(fc.nat(500), { nil: undefined }),
  /** How many ops from here one fails, or the agent dies. */
  fault: fc.option(
    fc.record({ after: fc.nat(40), errno: fc.constantFrom('ENOMEM', 'EBUSY', 'EINVAL', 'crash') }),
    { nil: undefined },
  ),
  audits: fc.boolean(),
  restarts: fc.constantFrom(false, false, false, true),
  /** The state directory forgets the group ids at a restart. */
  forgets: fc.boolean(),
})

const gateway = gatewayName(0, 0)

/** An agent over this kernel, and over those after it. */
class Life {
  readonly kernel: FakeKernel
  rig: Rig
  #input: PlanInput
  #ids: string | undefined

  constructor(world: World) {
    this.#input = inputOf(world)
    this.kernel = new FakeKernel(this.#input.facts, bystanders)
    this.rig = this.#born()
  }

  #born(): Rig {
    const ids =
      this.#ids === undefined ? undefined : (JSON.parse(this.#ids) as ReturnType<GroupIds['toJSON']>)
    return new Rig(this.kernel, {
      gateway,
      ids: new GroupIds(ids),
      saveIds: (saved) => {
        this.#ids = JSON.stringify(saved)
        return Promise.resolve()
      },
      ownOf: () => this.#input.own,
    })
  }

  async meet(world: World, serial = 1): Promise<void> {
    this.#input = inputOf(world, this.#input)
    this.kernel.meetHost(this.#input.facts)
    this.rig.reconciler.schedule.hostChanged()
    this.rig.deliver(documentsOf(world, serial))
    // Facts are looked at a little after the host changed; on a busy machine a timer is late.
    do await new Promise((resolve) => setTimeout(resolve, 5))
    while (!this.rig.reconciler.schedule.factsDue)
    await this.rig.turn()
  }

  restart(forgets: boolean): void {
    if (forgets) this.#ids = undefined
    this.rig = this.#born()
  }

  /** Somebody removes an object of ours, and the kernel says so. */
  async lose(victim: KernelObject): Promise<void> {
    this.kernel.lose(victim)
    const { schedule } = this.rig.reconciler
    schedule.drifted(driftOf(victim))
    do await new Promise((resolve) => setTimeout(resolve, 5))
    while (!schedule.auditDue)
    assert.equal(await this.rig.turn(), true)
  }

  /** Turns until there is nothing left to do. */
  async settle(): Promise<void> {
    this.kernel.faults.length = 0
    for (let round = 0; round < 6; round++) {
      const before = this.kernel.applied
      this.rig.reconciler.schedule.drifted()
      const ops = await this.rig.audit()
      if (ops === undefined || (ops.length === 0 && before === this.kernel.applied)) return
    }
    assert.fail('it never rests')
  }
}

t.setTimeout(0)

void t.test('it converges, whatever happens', async () => {
  const property = fc.asyncProperty(
    historyArbitrary,
    fc.array(trouble, { minLength: 5, maxLength: 5 }),
    async (worlds, troubles) => {
      const [first] = worlds
      if (first === undefined) return
      const life = new Life(first)
      const foreign = foreignText(life.kernel)
      let last = first
      for (const [i, world] of worlds.entries()) {
        const { loses, fault, audits, restarts, forgets } = troubles[i % troubles.length] ?? {}
        if (restarts === true) life.restart(forgets ?? false)
        const owned = life.kernel.owned
        const victim = loses === undefined ? undefined : owned[loses % Math.max(1, owned.length)]
        if (victim !== undefined) life.kernel.lose(victim)
        if (fault !== undefined)
          life.kernel.faults.push({ at: life.kernel.applied + fault.after, errno: fault.errno })
        await life.meet(world, i + 1)
        if (audits === true) await life.rig.audit().catch(() => undefined)
        last = world
      }
      await life.settle()
      const { planned } = life.rig.reconciler
      if (planned === undefined) return
      assertConverged(life.kernel, life.rig.desired)
      assert.equal(foreignText(life.kernel), foreign)
      assert.deepEqual(life.rig.reconciler.troubles.failures, [])

      life.restart(false)
      await life.meet(last, worlds.length)
      await life.settle()
      const seen: string[] = []
      life.kernel.afterOp = (op) => void seen.push(formatOp(op))
      life.restart(false)
      await life.meet(last, worlds.length)
      await life.settle()
      assert.deepEqual(seen, [], 'a start over a settled kernel')
    },
  )
  await fc.assert(property, parameters(60, 25))
})

void t.test('an audit for drift looks at little, and misses nothing of what drifted', async () => {
  const victims = fc.array(fc.nat(500), { minLength: 1, maxLength: 2 })
  const property = fc.asyncProperty(historyArbitrary, victims, async ([world], positions) => {
    if (world === undefined) return
    const life = new Life(world)
    await life.meet(world)
    await life.settle()
    if (life.rig.reconciler.planned === undefined) return
    for (const position of positions) {
      const routing = life.kernel.owned.filter((object) => driftOf(object) !== 'objects')
      const victim = routing[position % routing.length]
      if (victim === undefined) return
      await life.lose(victim)
      assertConverged(life.kernel, life.rig.desired)
    }
  })
  await fc.assert(property, parameters(40, 15))
})
