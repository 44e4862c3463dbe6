/**
 * The gateways of a site, each of which decides for itself whether it is the active one. Whatever happened, and in whatever
 * order each of them heard of it: once all know the same and some time went by, exactly one is active, and it is the lowest
 * plane among the best.
 */
import { strict as assert } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { fitMs, silentMs, SiteRole } from '../../agent/daemon/site-role.ts'
import type { Standing } from '../../agent/model/path-state.ts'
import { standings } from '../../agent/model/path-state.ts'
import { activeOf, rankOf } from '../../agent/plan/active.ts'
import type { Candidate } from '../../agent/plan/active.ts'
import { parameters } from '../support/arbitraries.ts'

// LINKSPAN_RUNS may ask for hours.
t.setTimeout(0)

/** What happens to a gateway, and to what each of them hears of it in which order. */
type Step =
  | { readonly kind: 'turn'; readonly of: number; readonly standing: Standing }
  | { readonly kind: 'hear'; readonly by: number; readonly of: number }
  | { readonly kind: 'wait'; readonly ms: number }

function stepArbitrary(count: number): fc.Arbitrary<Step> {
  const one = fc.nat({ max: count - 1 })
  return fc.oneof(
    fc.record({ kind: fc.constant('turn' as const), of: one, standing: fc.constantFrom(...standings) }),
    fc.record({ kind: fc.constant('hear' as const), by: one, of: one }),
    fc.record({ kind: fc.constant('wait' as const), ms: fc.nat({ max: 2 * silentMs }) }),
  )
}

const storyArbitrary = fc
  .integer({ min: 1, max: 4 })
  .chain((count) => fc.tuple(fc.constant(count), fc.array(stepArbitrary(count), { maxLength: 40 })))

class Site {
  readonly #names: readonly string[]
  readonly #truth: Standing[]
  /** By who sees, then by whom it sees. */
  readonly #views: Standing[][]
  readonly #roles: SiteRole[]
  readonly #active: boolean[]
  #nowMs = 1000

  constructor(count: number) {
    this.#names = Array.from({ length: count }, (_, i) => `gw-${i}`)
    this.#truth = this.#names.map(() => 'fit')
    this.#views = this.#names.map(() => [...this.#truth])
    this.#roles = this.#names.map((name) => new SiteRole(name))
    this.#active = this.#names.map(() => false)
    this.#all()
  }

  take(step: Step): void {
    if (step.kind === 'wait') this.#wait(step.ms)
    else if (step.kind === 'turn') {
      this.#truth[step.of] = step.standing
      this.#hear(step.of, step.of)
    } else this.#hear(step.by, step.of)
  }

  /** All know the same, and enough time goes by. */
  settle(): void {
    for (const by of this.#names.keys()) for (const of of this.#names.keys()) this.#hear(by, of)
    this.#wait(silentMs + fitMs + 1)
  }

  /** Whose agents run: one that is silent or down decides nothing. */
  get active(): readonly string[] {
    return this.#names.filter((_, i) => this.#runs(i) && this.#active[i] === true)
  }

  /** Who must be it; undefined where nobody is left who could know. */
  get due(): string | undefined {
    return activeOf(this.#candidates(this.#truth))?.name
  }

  get running(): readonly string[] {
    return this.#names.filter((_, i) => this.#runs(i))
  }

  #runs(i: number): boolean {
    return this.#truth[i] !== 'silent' && this.#truth[i] !== 'down'
  }

  #candidates(view: readonly Standing[]): readonly Candidate[] {
    return this.#names.map((name, plane) => ({ name, plane, standing: view[plane] ?? 'down', seen: true }))
  }

  #hear(by: number, of: number): void {
    this.#views[by]![of] = this.#truth[of]!
    this.#look(by)
  }

  /** A role asks to be looked at again, and is. */
  #look(by: number): number {
    const role = this.#roles[by]!.look(this.#candidates(this.#views[by]!), this.#nowMs)
    this.#active[by] = role.isActive
    return role.againMs ?? Infinity
  }

  #wait(ms: number): void {
    for (const end = this.#nowMs + ms; this.#nowMs < end;) {
      const next = Math.min(...this.#names.map((_, i) => this.#look(i)))
      this.#nowMs = Math.min(end, this.#nowMs + Math.max(1, next))
    }
    this.#all()
  }

  #all(): void {
    for (const i of this.#names.keys()) this.#look(i)
  }
}

void t.test('once all know the same, exactly one is active: the lowest of the best', (t) => {
  const property = fc.property(storyArbitrary, ([count, steps]) => {
    const site = new Site(count)
    for (const step of steps) site.take(step)
    site.settle()
    const { due, running, active } = site
    if (due === undefined || !running.includes(due)) assert.deepEqual(active, [])
    else assert.deepEqual(active, [due])
  })
  fc.assert(property, parameters(500, 50))
  t.pass('holds')
  t.end()
})

void t.test('the choice depends on nothing but what stands', (t) => {
  const candidates = fc.uniqueArray(
    fc.record({
      name: fc.stringMatching(/^[a-z]{1,4}$/),
      plane: fc.nat({ max: 3 }),
      standing: fc.constantFrom(...standings),
      seen: fc.boolean(),
    }),
    { selector: ({ name }) => name, maxLength: 4 },
  )
  const property = fc.property(candidates, (all) => {
    const chosen = activeOf(all)
    assert.equal(activeOf(all.toReversed())?.name, chosen?.name)
    if (chosen === undefined) assert(all.every(({ standing }) => standing === 'down'))
    for (const other of all) {
      assert(rankOf(other.standing) >= rankOf(chosen?.standing ?? 'down'))
      const isAsGood = rankOf(other.standing) === rankOf(chosen?.standing ?? 'down')
      assert(!isAsGood || chosen === undefined || other.plane >= chosen.plane)
    }
  })
  fc.assert(property, parameters(500, 50))
  t.pass('holds')
  t.end()
})
