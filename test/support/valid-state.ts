/**
 * Is a state valid? Asked after every single op, of the fake kernel, which already refuses what Linux refuses. What is
 * added here is what Linux would let pass and linkspan must not: a moment without guard, without a route that both the
 * state before and the desired one have, or with packets on their way into a tunnel that must not go there.
 */
import { isOurs } from '../../agent/diff/ownership.ts'
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
  readonly #loopsBefore: boolean

  constructor(desired: readonly KernelObject[], before: readonly KernelObject[], ops: readonly Op[]) {
    this.#before = new Set(before.map(identity))
    this.#loopsBefore = loops(before).length > 0
    // A link that is made anew takes with it what is on it.
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
    const faults: string[] = []
    if (object.kind === 'route') faults.push(...this.#leaks(state))
    if (object.kind === 'rule' && !this.#loopsBefore) faults.push(...loops(state.objects))
    if (object.kind === 'link' || object.kind === 'ruleset') faults.push(...unguarded(state.objects))
    // Only these can take something with them.
    if (verb !== 'remove' && object.kind !== 'link' && object.kind !== 'ruleset') return faults
    for (const key of this.#kept) if (!state.has(key)) faults.push(`${key} is gone for a while`)
    return faults
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

/** What must hold whenever nobody else did damage. */
export function faultsAtRest(state: FakeState): readonly string[] {
  return [...unguarded(state.objects), ...loops(state.objects)]
}

/** VXLAN links of a VNI that the ruleset does not guard. */
function unguarded(objects: readonly KernelObject[]): readonly string[] {
  const rulesets = objects.filter((object) => object.kind === 'ruleset')
  const sets = new Set(rulesets.flatMap((ruleset) => ruleset.sets.map(({ name }) => name)))
  return objects
    .filter((object) => object.kind === 'link')
    .filter(({ vxlan }) => vxlan !== undefined && !sets.has(guardSet(4, vxlan.vni)))
    .map(({ name }) => `${name} has no guard`)
}

/** Packets enter the overlay while nothing keeps WireGuard's own ones out. */
function loops(objects: readonly KernelObject[]): readonly string[] {
  const rules = objects.filter((object) => object.kind === 'rule').filter(isOurs)
  const stops = rules.filter(({ priority }) => priority === rulePriority.stop)
  return rules
    .filter(({ priority }) => priority === rulePriority.overlay)
    .filter(({ family }) => !stops.some((stop) => stop.family === family))
    .map(({ family }) => `IPv${family} packets of WireGuard itself may enter the overlay`)
}

function remakes(ops: readonly Op[]): boolean {
  const added = new Set(ops.filter(({ verb }) => verb === 'add').map(({ object }) => identity(object)))
  return ops.some(({ verb, object }) => verb === 'remove' && added.has(identity(object)))
}

function standsOnLinks({ kind }: KernelObject): boolean {
  return kind !== 'ruleset' && kind !== 'element' && kind !== 'rule'
}
