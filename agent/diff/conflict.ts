/**
 * Conflicts: a desired object whose name, id, priority or route somebody else holds. It is refused with a reason that
 * names both, and left out together with all that needs it, so that nothing of ours ever points at a thing that is not:
 * what sits on a link goes with the link, a group loses members, and a group without members becomes the blackhole
 * nexthop, since a prefix we cannot reach must not leak (fail closed). All else goes on.
 */
import type { Reason } from '../errors.ts'
import { formatObject } from '../model/op-text.ts'
import { rulePriority } from '../model/kernel-number.ts'
import { carriedKinds } from '../model/kernel-object.ts'
import type { KernelObject, Kind, Link, Nexthop, NexthopGroup, Route, Rule } from '../model/kernel-object.ts'
import { carrierOf } from './ownership.ts'
import type { KeyedState } from './keyed.ts'

/**
 * Takes conflicting objects and their dependents out of `desired` and says why. `ours`: observed rules that are ours;
 * a rule already in place is no conflict.
 */
export function leaveOutConflicts(
  desired: KeyedState,
  foreign: readonly KernelObject[],
  ourRules: readonly Rule[],
): Reason[] {
  const conflicts: Conflict[] = []
  for (const holder of foreign) {
    for (const object of inTheWayOf(holder, desired, ourRules))
      conflicts.push({ object, holder, leftOut: -1 })
  }
  if (conflicts.length === 0) return []
  new Withdrawal(desired).withdraw(conflicts)
  return conflicts.map(reasonOfConflict)
}

interface Conflict {
  readonly object: KernelObject
  readonly holder: KernelObject
  /** Objects left out because of it, itself not counted. */
  leftOut: number
}

/** Desired objects that cannot be because of a foreign one. */
function inTheWayOf(
  holder: KernelObject,
  { byKind }: KeyedState,
  ourRules: readonly Rule[],
): readonly KernelObject[] {
  switch (holder.kind) {
    case 'link':
      return some(byKind.link.get(holder))
    case 'nexthop':
      return some(byKind.nexthop.get(holder) ?? byKind.group.get({ ...holder, kind: 'group', members: [] }))
    case 'group':
      return some(byKind.group.get(holder) ?? byKind.nexthop.get({ ...holder, kind: 'nexthop', family: 6 }))
    case 'route':
      return some(byKind.route.get(holder))
    case 'rule':
      // Rules of one priority are tried in order of age, so one of somebody else's may answer before ours.
      return [...byKind.rule.values()].filter(
        (rule) =>
          rule.family === holder.family &&
          rule.priority === holder.priority &&
          !ourRules.some((our) => isSameRule(our, rule)),
      )
    default:
      return []
  }
}

function some<T>(value: T | undefined): readonly T[] {
  return value === undefined ? [] : [value]
}

function isSameRule(a: Rule, b: Rule): boolean {
  return (
    a.family === b.family &&
    a.priority === b.priority &&
    a.action === b.action &&
    a.table === b.table &&
    a.fwmark === b.fwmark &&
    a.fwmask === b.fwmask
  )
}

/** Takes objects out of the desired state, level by level: links, what is on them, nexthops, groups, routes; rules. */
class Withdrawal {
  readonly #desired: KeyedState
  readonly #links = new Map<string, Conflict>()
  readonly #ids = new Map<number, Conflict>()
  readonly #addresses = new Map<string, Conflict>()

  constructor(desired: KeyedState) {
    this.#desired = desired
  }

  withdraw(conflicts: readonly Conflict[]): void {
    for (const conflict of conflicts) this.#take(conflict.object, conflict)
    this.#takePorts()
    for (const kind of carriedKinds) {
      this.#takeWhere(kind, (object) => this.#links.get(carrierOf(object) ?? ''))
    }
    for (const group of [...this.#desired.byKind.group.values()]) this.#reduce(group)
    this.#takeRoutes()
    this.#takeOverlayRules(conflicts)
  }

  #take(object: KernelObject, conflict: Conflict): void {
    if (this.#desired.of(object.kind).take(object) === undefined) return
    conflict.leftOut++
    if (object.kind === 'link') this.#links.set(object.name, conflict)
    else if (object.kind === 'nexthop' || object.kind === 'group') this.#ids.set(object.id, conflict)
    else if (object.kind === 'address') this.#addresses.set(withoutLength(object.address), conflict)
  }

  #takeWhere(kind: Kind, cause: (object: KernelObject) => Conflict | undefined): void {
    for (const object of [...this.#desired.of(kind).values()]) {
      const conflict = cause(object)
      if (conflict !== undefined) this.#take(object, conflict)
    }
  }

  /** Links of ours that are ports of a bridge that cannot be. */
  #takePorts(): void {
    this.#takeWhere('link', (link) => this.#links.get((link as Link).master ?? ''))
  }

  #reduce(group: NexthopGroup): void {
    const members = group.members.filter(({ id }) => !this.#ids.has(id))
    if (members.length === group.members.length) return
    const last = group.members[0]
    const cause = last === undefined ? undefined : this.#ids.get(last.id)
    const blackhole = this.#blackhole()
    if (members.length > 0) this.#desired.set({ ...group, members })
    else if (blackhole !== undefined)
      this.#desired.set({ ...group, members: [{ id: blackhole.id, weight: 1 }] })
    else if (cause !== undefined) this.#take(group, cause)
  }

  #blackhole(): Nexthop | undefined {
    const blackholes = [...this.#desired.byKind.nexthop.values()].filter(({ blackhole }) => blackhole)
    // An IPv6 nexthop serves routes of both families, an IPv4 one only its own.
    return blackholes.find(({ family }) => family === 6) ?? blackholes[0]
  }

  /** Routes by an id that cannot be, and routes from an address that is now on no link of ours. */
  #takeRoutes(): void {
    for (const { address } of this.#desired.byKind.address.values()) {
      this.#addresses.delete(withoutLength(address))
    }
    if (this.#ids.size === 0 && this.#addresses.size === 0) return
    this.#takeWhere('route', (object) => {
      const { nexthop, src } = object as Route
      const byId = nexthop === undefined ? undefined : this.#ids.get(nexthop)
      return byId ?? (src === undefined ? undefined : this.#addresses.get(src))
    })
  }

  /** Without the rules that exempt WireGuard's own packets, those would enter the overlay and loop. */
  #takeOverlayRules(conflicts: readonly Conflict[]): void {
    for (const conflict of conflicts) {
      const { object } = conflict
      if (object.kind !== 'rule' || object.priority === rulePriority.overlay) continue
      this.#takeWhere('rule', (other) => {
        const rule = other as Rule
        const needsIt = rule.family === object.family && rule.priority === rulePriority.overlay
        return needsIt ? conflict : undefined
      })
    }
  }
}

function withoutLength(address: string): string {
  return address.slice(0, address.lastIndexOf('/'))
}

function reasonOfConflict({ object, holder, leftOut }: Conflict): Reason {
  const consequence =
    leftOut <= 0
      ? ''
      : `; left out with it: ${leftOut} ${leftOut === 1 ? 'object that needs it' : 'objects that need it'}`
  return {
    code: 'conflict',
    object: formatObject(object),
    reason: `somebody else has ${describe(holder)}${consequence}`,
    next: nextStep(holder),
  }
}

/** The foreign object, with what tells that it is not ours. */
function describe(holder: KernelObject): string {
  const name = formatObject(holder)
  switch (holder.kind) {
    case 'link':
      return `${name} (type ${holder.type}, group ${holder.group})`
    case 'group':
      return holder.otherType === true ? `${name} (not resilient)` : name + protocolOf(holder)
    case 'nexthop':
    case 'route':
    case 'rule':
      return name + protocolOf(holder)
    default:
      return name
  }
}

function protocolOf({ protocol }: { readonly protocol?: number }): string {
  return protocol === undefined ? '' : ` (protocol ${protocol})`
}

function nextStep(holder: KernelObject): string {
  switch (holder.kind) {
    case 'link':
      return `rename it (ip link set dev ${holder.name} name NEW) or delete it`
    case 'nexthop':
    case 'group':
      return 'find out who made it (ip nexthop show) and give it another id'
    case 'rule':
      return 'give that rule another priority (ip rule show)'
    default:
      return `remove it (ip route show table ${holder.kind === 'route' ? holder.table : 'all'})`
  }
}
