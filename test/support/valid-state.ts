/**
 * Is a state valid? Asked after every single op, of the fake kernel, which already refuses what Linux refuses. What is
 * added here is what Linux would let pass and linkspan must not: a moment without guard, without a route that both the
 * state before and the desired one have, or with packets on their way into a tunnel that must not go there.
 */
import { guardSet } from '../../agent/plan/firewall-element.ts'
import { overlayTable, rulePriority } from '../../agent/model/kernel-number.ts'
import type { KernelObject, Route } from '../../agent/model/kernel-object.ts'
import type { Op } from '../../agent/model/op.ts'
import { contains } from '../../agent/model/prefix.ts'
import { identity } from './fake-state.ts'
import type { FakeState } from './fake-state.ts'

/** What stays what it was: objects that both states have, and the rest of what must hold on the way. */
export class Watch {
  readonly #kept: ReadonlySet<string>
  readonly #throws: readonly Route[]
  readonly #before: ReadonlySet<string>

  /** `remakes`: some link is made anew, and takes with it what is on it. */
  constructor(desired: readonly KernelObject[], before: readonly KernelObject[], ops: readonly Op[]) {
    this.#before = new Set(before.map(identity))
    const remade = remakes(ops)
    this.#kept = new Set(
      desired
        .filter((object) => !remade || !standsOnLinks(object))
        .map(identity)
        .filter((key) => this.#before.has(key)),
    )
    this.#throws = desired
      .filter((object) => object.kind === 'route')
      .filter((route) => route.table === overlayTable && route.type !== 'unicast')
  }

  /** What is wrong with the state after this op; empty: nothing. */
  faults(state: FakeState, { verb, object }: Op): readonly string[] {
    if (object.kind === 'route') return this.#leaks(state)
    const faults: string[] = object.kind === 'link' || object.kind === 'ruleset' ? this.#unguarded(state) : []
    // Only these can take something with them.
    if (verb !== 'remove' && object.kind !== 'link' && object.kind !== 'ruleset') return faults
    for (const key of this.#kept) if (!state.has(key)) faults.push(`${key} is gone for a while`)
    return faults
  }

  #unguarded(state: FakeState): string[] {
    const sets = new Set([...state.of('ruleset')].flatMap((ruleset) => ruleset.sets.map(({ name }) => name)))
    return [...state.of('link')]
      .filter((link) => link.vxlan !== undefined && !sets.has(guardSet(4, link.vxlan.vni)))
      .map(({ name }) => `${name} has no guard`)
  }

  /** A new route into a tunnel covers a range that must stay out, whose own route is not there yet. */
  #leaks(state: FakeState): readonly string[] {
    const missing = this.#throws.filter((route) => !state.has(identity(route)))
    if (missing.length === 0) return []
    return [...state.of('route')]
      .filter((route) => route.table === overlayTable && route.type === 'unicast')
      .filter((route) => !this.#before.has(identity(route)))
      .flatMap((route) =>
        missing
          .filter((out) => contains(route.prefix, out.prefix))
          .map((out) => `${route.prefix} takes ${out.prefix} into a tunnel`),
      )
  }
}

/** What must hold whenever nobody else did damage: the guard of VXLAN links, and the rule that prevents loops. */
export function faultsAtRest(state: FakeState): readonly string[] {
  const faults: string[] = []
  const sets = new Set([...state.of('ruleset')].flatMap((ruleset) => ruleset.sets.map(({ name }) => name)))
  for (const { name, vxlan } of state.of('link')) {
    if (vxlan !== undefined && !sets.has(guardSet(4, vxlan.vni))) faults.push(`${name} has no guard`)
  }
  const rules = [...state.of('rule')]
  for (const { family, priority } of rules) {
    if (priority !== rulePriority.overlay) continue
    if (!rules.some((rule) => rule.family === family && rule.priority === rulePriority.stop)) {
      faults.push(`IPv${family} packets of WireGuard itself may enter the overlay`)
    }
  }
  return faults
}

function remakes(ops: readonly Op[]): boolean {
  const added = new Set(ops.filter(({ verb }) => verb === 'add').map(({ object }) => identity(object)))
  return ops.some(({ verb, object }) => verb === 'remove' && added.has(identity(object)))
}

function standsOnLinks({ kind }: KernelObject): boolean {
  return kind !== 'ruleset' && kind !== 'element' && kind !== 'rule'
}
